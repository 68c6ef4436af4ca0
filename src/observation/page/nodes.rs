//! The table of nodes.

use std::fmt::Write;

use super::html::{Column, NOTHING, ago, ago_of, date, escape, table};
use crate::{
    observation::view::{Files, Seen, View},
    system::human,
    tasks::integrity::{Failed, status::Sending},
};

const COLUMNS: [Column; 8] = [
    Column("Node", false),
    Column("State", false),
    Column("In sync since", false),
    Column("Last check", false),
    Column("Last transfer", false),
    Column("Keep-alive", false),
    Column("Agents", true),
    Column("Address", false),
];

/// Files that are named in a row.
const NAMED: usize = 5;

/// What is to be said of a node in a word or two.
pub(super) enum State {
    Good(String),
    /// It needs no hand yet.
    Busy(String),
    Bad(String),
}

impl State {
    pub(super) fn of(node: &Seen) -> Self {
        if node.connected.is_none() {
            return Self::Bad("not connected".to_owned());
        }
        let Some(Files { standing, sending, applied, behind_since, held, .. }) = &node.files else {
            return Self::Good("serves".to_owned());
        };
        if held.is_some() {
            return Self::Bad("deletions held back".to_owned());
        }
        if let Some(Sending { files, of, bytes }) = sending {
            return Self::Busy(format!("receives {files} of {of} files, {}", human::bytes(*bytes)));
        }
        match (applied.failed, standing.since, standing.behind.sum()) {
            (1.., ..) => Self::Bad(format!("{} failed", human::files(applied.failed))),
            (_, Some(_), _) if let Some(since) = behind_since => Self::Busy(format!("behind since {}", date(*since))),
            (_, Some(_), _) => Self::Good("in sync".to_owned()),
            (_, None, 0) => Self::Busy("not checked yet".to_owned()),
            (_, None, behind) => Self::Busy(format!("{} behind", human::files(behind))),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// Its colour.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Good(_) => "good",
            Self::Busy(_) => "busy",
            Self::Bad(_) => "bad",
        }
    }

    fn badge(&self) -> String {
        let (Self::Good(text) | Self::Busy(text) | Self::Bad(text)) = self;
        format!("<span class=\"state {}\">{text}</span>", self.class())
    }
}

pub(super) fn write(out: &mut String, view: &View) {
    out.push_str("<h2>Nodes</h2>\n");
    out.push_str(&table("nodes", &COLUMNS, view.nodes.iter().map(|node| row(node, view))));
}

fn row(node: &Seen, view: &View) -> [String; COLUMNS.len()] {
    let now = view.now;
    let files = node.files.as_ref();
    let name =
        format!("<b>{}</b> <small>{} {}</small>", escape(&node.name), escape(&node.node_type), escape(&node.version));
    let mut state = State::of(node).badge();
    if node.connected.is_none()
        && let Some(since) = node.verdict.since
    {
        // Writing to a string cannot fail.
        let _ = write!(state, " <small>since {}</small>", date(since));
    }
    if let Some(files) = files {
        state.push_str(&failures(files));
    }
    let known = |text: String| if text.is_empty() { NOTHING.to_owned() } else { text };
    let since = files.filter(|files| files.behind_since.is_none()).and_then(|files| files.standing.since);
    let since = since.filter(|_| node.connected.is_some());
    [
        name,
        state,
        since.map_or_else(|| NOTHING.to_owned(), date),
        ago_of(files.and_then(|files| files.checked), now),
        ago_of(files.and_then(|files| files.sent), now),
        ago(node.keep_alive),
        node.agents.map_or_else(|| NOTHING.to_owned(), |agents| agents.to_string()),
        known(escape(&node.address)),
    ]
}

fn failures(Files { applied, held, .. }: &Files) -> String {
    let line = |Failed { path, reason }: &Failed| format!("<li>{}: {}</li>", escape(path), escape(reason));
    let mut lines: String = applied.failures.iter().take(NAMED).map(line).collect();
    if let Some(held) = held {
        let _ = write!(lines, "<li>{held}: <code>cluster_control --confirm-deletions</code> lets it go</li>");
    }
    if applied.failed > NAMED {
        let _ = write!(lines, "<li>and {} more</li>", applied.failed - NAMED);
    }
    if lines.is_empty() { lines } else { format!("<ul>{lines}</ul>") }
}
