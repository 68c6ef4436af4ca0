//! `/`: the node for people. One document that needs nothing else, no script, and no wide screen.

mod failover;
mod html;
mod nodes;
mod tasks;

use std::fmt::Write;

use super::{health::Health, view::View};
use crate::{
    config::NodeType,
    election::Known,
    system::human,
    verdict::{State, sum},
};
use html::{NOTHING, date, escape};
use nodes::Colour;

const STYLE: &str = include_str!("style.css");

/// How often a browser asks again, in seconds.
const REFRESH: u32 = 10;

/// The document.
pub(super) fn page(view: &View, health: &Health, known: &Known) -> String {
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
    nodes::write(&mut out, view);
    facts(&mut out, view, known);
    failover::write(&mut out, known, view.now);
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
    let colour = view.nodes.iter().map(|node| Colour::of(&node.verdict)).max().unwrap_or(Colour::Good);
    let is_lonely = view.authority.is_some() && view.nodes.len() == 1;
    let is_doubtful = view.own().verdict.is_in_sync() && view.own().verdict.reason.is_some();
    let class = match colour {
        _ if !health.is_good() => Colour::Bad.class(),
        Colour::Good if is_doubtful => Colour::Busy.class(),
        _ if is_lonely => "idle",
        colour => colour.class(),
    };
    let _ = writeln!(out, "<section class=\"verdict {class}\">\n<p>{}.</p>", sentence(view, is_lonely));
    for reason in health.reasons() {
        let _ = writeln!(out, "<p>Not healthy: {}.</p>", escape(reason));
    }
    out.push_str("</section>\n");
}

fn sentence(view: &View, is_lonely: bool) -> String {
    let states = view.nodes.iter().map(|node| node.verdict.state);
    match (view.node.cluster.node_type, view.nodes.len()) {
        (NodeType::Worker, _) => format!("This worker is {}", view.own().verdict.state),
        (NodeType::Master, _) if is_lonely => "This master has no worker".to_owned(),
        (NodeType::Master, all) if states.clone().all(|state| state == State::InSync) => {
            format!("All {all} nodes are in sync")
        }
        (NodeType::Master, _) => sum(states),
    }
}

/// How long this worker has been connected to its master.
fn connected(view: &View) -> String {
    let since = view.own().connected.map(|since| view.now.duration_since(since).unwrap_or_default());
    since.map_or_else(|| NOTHING.to_owned(), human::span)
}

/// Numbers that belong to no row of a table.
fn facts(out: &mut String, view: &View, known: &Known) {
    let metrics = &view.node.metrics;
    out.push_str("<dl>\n");
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    if let Some(authority) = &view.authority {
        fact("Synchronised files", authority.files.to_string());
        fact("Changes since start", authority.generation.to_string());
    } else {
        let configured = || view.node.cluster.nodes.first().map_or_else(String::new, |master| escape(master));
        let followed = &known.term.claim.master;
        fact("Master", if followed.is_empty() { configured() } else { escape(followed) });
        fact("Connected for", connected(view));
    }
    if known.term.claim.term > 0 {
        fact("Changes of master", known.term.claim.term.to_string());
    }
    fact("Running for", human::span(metrics.uptime()));
    fact("Received", human::bytes(metrics.link.received.get()));
    fact("Sent", human::bytes(metrics.link.sent.get()));
    out.push_str("</dl>\n");
}
