//! The table of nodes: the bad ones first, each with why, since when, and what to do.

use std::fmt::Write;

use super::html::{Column, NOTHING, Row, ago, ago_of, date, escape, table};
use crate::{
    observation::view::{Files, Seen, View},
    tasks::integrity::FailedFile,
    verdict::{Verdict, order},
};

const COLUMNS: [Column; 8] = [
    Column("Node", false),
    Column("State", false),
    Column("Since", false),
    Column("Last check", false),
    Column("Last transfer", false),
    Column("Keep-alive", false),
    Column("Agents", true),
    Column("Address", false),
];

/// Files that are named in a row.
const NAMED: usize = 5;

/// The colour of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Colour {
    Good,
    /// It needs no hand yet.
    Busy,
    Bad,
}

impl Colour {
    pub(super) fn of(verdict: &Verdict) -> Self {
        match verdict {
            verdict if verdict.is_in_sync() => Self::Good,
            Verdict { remedy: None, .. } => Self::Busy,
            Verdict { remedy: Some(_), .. } => Self::Bad,
        }
    }

    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
        }
    }
}

pub(super) fn write(out: &mut String, view: &View) {
    let mut nodes: Vec<&Seen> = view.nodes.iter().collect();
    let place = |node: &&Seen| (node.verdict.state, node.node_type.clone(), node.name.clone());
    nodes.sort_by(|a, b| {
        let (a, b) = (place(a), place(b));
        order((a.0, &a.1, &a.2), (b.0, &b.1, &b.2))
    });
    out.push_str("<h2>Nodes</h2>\n");
    out.push_str(&table("nodes", &COLUMNS, nodes.into_iter().map(|node| row(node, view))));
}

fn row(node: &Seen, view: &View) -> Row<{ COLUMNS.len() }> {
    let (now, verdict, files) = (view.now, &node.verdict, node.files.as_ref());
    let known = |text: String| if text.is_empty() { NOTHING.to_owned() } else { text };
    let cells = [
        format!("<b>{}</b> <small>{} {}</small>", escape(&node.name), escape(&node.node_type), escape(&node.version)),
        format!("<span class=\"state {}\">{}</span>", Colour::of(verdict).class(), verdict.state),
        verdict.since.map_or_else(|| NOTHING.to_owned(), date),
        ago_of(files.and_then(|files| files.checked), now),
        ago_of(files.and_then(|files| files.sent), now),
        ago(node.keep_alive),
        node.agents.map_or_else(|| NOTHING.to_owned(), |agents| agents.to_string()),
        known(escape(&node.address)),
    ];
    Row { cells, below: below(verdict, files) }
}

/// What is to be said of a node that is not in sync, or that is in doubt.
fn below(verdict: &Verdict, files: Option<&Files>) -> String {
    let Verdict { reason, remedy, .. } = verdict;
    let mut text = String::new();
    let mut say = |what: &str, sentence: &Option<String>, more: String| {
        if let Some(sentence) = sentence {
            // Writing to a string cannot fail.
            let _ = write!(text, "<p><b>{what}:</b> {}.</p>{more}", escape(sentence));
        }
    };
    let what = if verdict.is_in_sync() { "Doubtful" } else { "Why" };
    say(what, reason, files.map(other_failures).unwrap_or_default());
    say("What to do", remedy, String::new());
    text
}

/// Files that could not be written, but the first, which the reason names.
fn other_failures(Files { applied, .. }: &Files) -> String {
    let line = |FailedFile { path, reason }: &FailedFile| format!("<li>{}: {}</li>", escape(path), escape(reason));
    let mut lines: String = applied.failures.iter().take(NAMED).skip(1).map(line).collect();
    if applied.failed > NAMED {
        // As above.
        let _ = write!(lines, "<li>and {} more</li>", applied.failed - NAMED);
    }
    if lines.is_empty() { lines } else { format!("<ul>{lines}</ul>") }
}
