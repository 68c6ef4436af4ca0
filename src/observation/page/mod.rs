//! `/`: the node for people. One document that needs nothing else, no script, and no wide screen.

mod html;
mod nodes;
mod tasks;

use std::fmt::Write;

use super::{health::Health, view::View};
use crate::{config::NodeType, system::human};
use html::{NOTHING, date, escape};
use nodes::State;

const STYLE: &str = include_str!("style.css");

/// How often a browser asks again, in seconds.
const REFRESH: u32 = 10;

/// The document.
pub(super) fn page(view: &View, health: &Health) -> String {
    let cluster = &view.node.cluster;
    let (name, own) = (escape(&cluster.name), view.own());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n\
         <title>{name}: {node}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>Cluster {name}</h1>\n\
         <p>As the {node_type} <b>{node}</b> sees it at {now}</p>\n</header>\n<main>\n",
        node = escape(&own.name),
        node_type = cluster.node_type,
        now = date(view.now),
    );
    verdict(&mut out, view, health);
    facts(&mut out, view);
    nodes::write(&mut out, view);
    tasks::write(&mut out, view);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "</main>\n<footer>wazuh-clusterd {} · renewed every {REFRESH} s · <a href=\"/metrics\">metrics</a> · \
         <a href=\"/health\">health</a></footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    out
}

/// One sentence on the whole, and what is wrong with this node.
fn verdict(out: &mut String, view: &View, health: &Health) {
    let workers = view.nodes.iter().filter(|node| node.files.is_some() || node.connected.is_none());
    let states: Vec<State> = workers.map(State::of).collect();
    let (good, all) = (states.iter().filter(|state| state.is_good()).count(), states.len());
    let text = match (view.node.cluster.node_type, all) {
        (NodeType::Master, 0) => "No worker is connected.".to_owned(),
        (NodeType::Master, 1) if good == all => "The worker is in sync.".to_owned(),
        (NodeType::Master, _) if good == all => format!("All {all} workers are in sync."),
        (NodeType::Master, _) => format!("{good} of {all} workers in sync."),
        (NodeType::Worker, _) if good == all => "This worker is in sync.".to_owned(),
        (NodeType::Worker, _) => "This worker is not in sync.".to_owned(),
    };
    let has = |class| states.iter().any(|state| state.class() == class);
    let class = match () {
        () if !health.is_good() || has("bad") => "bad",
        () if has("busy") => "busy",
        () => "good",
    };
    let _ = writeln!(out, "<section class=\"verdict {class}\">\n<p>{text}</p>");
    for reason in health.reasons() {
        let _ = writeln!(out, "<p>Not healthy: {}.</p>", escape(reason));
    }
    out.push_str("</section>\n");
}

/// How long this worker has been connected to its master.
fn connected(view: &View) -> String {
    let since = view.own().connected.map(|since| view.now.duration_since(since).unwrap_or_default());
    since.map_or_else(|| NOTHING.to_owned(), human::span)
}

/// Numbers that belong to no row of a table.
fn facts(out: &mut String, view: &View) {
    let metrics = &view.node.metrics;
    out.push_str("<dl>\n");
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    if let Some(authority) = &view.authority {
        fact("Synchronised files", authority.files.to_string());
        fact("Changes since start", authority.generation.to_string());
    } else {
        fact("Master", view.node.cluster.nodes.first().map_or_else(String::new, |master| escape(master)));
        fact("Connected for", connected(view));
    }
    fact("Running for", human::span(metrics.uptime()));
    fact("Received", human::bytes(metrics.link.received.get()));
    fact("Sent", human::bytes(metrics.link.sent.get()));
    out.push_str("</dl>\n");
}
