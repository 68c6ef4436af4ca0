//! Who may follow the master, and what a former master had alone; nothing in a cluster that has neither.

use std::{fmt::Write, time::SystemTime};

use super::{
    html::{Column, NOTHING, Row, ago_of, date, escape, table},
    nodes::Colour,
};
use crate::{
    election::{Known, Place, Seen, Status},
    term,
};

const COLUMNS: [Column; 4] =
    [Column("Candidate", false), Column("State", false), Column("Address", false), Column("Master since", false)];

pub(super) fn write(out: &mut String, Known { term, failover }: &Known, now: SystemTime) {
    if failover.is_none() && term.diverged.is_empty() && term.former.is_none() {
        return;
    }
    out.push_str("<h2>Failover</h2>\n");
    let mut say = |colour: Colour, sentence: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "<section class=\"verdict {}\"><p>{}</p></section>", colour.class(), escape(&sentence));
    };
    if let Some(status) = failover {
        let (colour, sentence) = sum(status);
        say(colour, sentence);
    }
    diverged(term, say);
    if let Some(status) = failover.as_ref().filter(|status| status.error.is_none()) {
        out.push_str(&table("candidates", &COLUMNS, status.candidates.iter().map(|seen| row(status, seen, now))));
    }
}

/// Whether the master may die now.
fn sum(status: &Status) -> (Colour, String) {
    let next: Vec<&str> = status
        .candidates
        .iter()
        .filter(|seen| status.place(seen) == Place::MayFollow)
        .map(|seen| seen.name.as_str())
        .collect();
    match (&status.error, &status.master, &*next) {
        (Some(error), ..) => (Colour::Bad, format!("etcd cannot be asked: {error}. Without it nobody follows.")),
        (None, None, _) => (Colour::Bad, "Nobody is the master.".to_owned()),
        (None, Some(master), []) => (Colour::Bad, format!("Nobody would follow {}, if it failed now.", master.node)),
        (None, Some(master), next) => (
            Colour::Good,
            format!("{} would follow {} within about {} s.", next.join(" or "), master.node, status.ttl + 1),
        ),
    }
}

fn diverged(term: &term::Status, mut say: impl FnMut(Colour, String)) {
    if let Some(former) = term.former {
        say(
            Colour::Busy,
            format!("What this node has alone as the master of term {former} is set aside with the next files."),
        );
    }
    for kept in &term.diverged {
        say(
            Colour::Bad,
            format!(
                "{} files that this node had alone as the master of term {} are in {}; its list names them. Copy what is wanted to \
                 the master, then remove that directory.",
                kept.files, kept.term, kept.path
            ),
        );
    }
}

fn row(status: &Status, seen: &Seen, now: SystemTime) -> Row<{ COLUMNS.len() }> {
    let place = status.place(seen);
    let colour = match place {
        Place::Leads | Place::MayFollow => Colour::Good,
        Place::Behind => Colour::Busy,
        Place::WasInSync | Place::Away => Colour::Bad,
    };
    let master = status.master.as_ref().filter(|_| place == Place::Leads);
    let cells = [
        format!("<b>{}</b> <small>{}</small>", escape(&seen.name), escape(seen.version.as_deref().unwrap_or_default())),
        format!("<span class=\"state {}\">{place}</span>", colour.class()),
        seen.address.as_deref().map_or_else(|| NOTHING.to_owned(), escape),
        master.map_or_else(
            || NOTHING.to_owned(),
            |master| format!("{}, {}", date(master.since()), ago_of(Some(master.since()), now)),
        ),
    ];
    let below =
        seen.hindrance.as_deref().map_or_else(String::new, |why| format!("<p><b>Why:</b> {}.</p>", escape(why)));
    Row { cells, below }
}
