//! How a node stands: the one judgement that `cluster_control`, `/metrics`, `/health` and the page show.
//!
//! ```text
//! master: known nodes ──► Verdict of each ──┬─► Listed ─► get_health, member "verdicts" ─► cluster_control
//! worker: its own files ─► its own Verdict ─┴─► observation
//! ```
//! | state | a node that |
//! |---|---|
//! | `away` | was connected once, is not now, and was not forgotten |
//! | `behind` | has not shown that it has the present files of the master |
//! | `joining` | is connected, and no check of its files has ended yet |
//! | `in sync` | has shown that it has the present files; the master itself |
//!
//! A remedy says what a person is to do. Without one, the nodes get on by themselves.

mod files;
mod natural;

use std::{cmp::Ordering, fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::system::clock::iso_utc;
pub use files::{NOT_CHECKED, NOT_CONFIRMED, NOT_SHOWN, of_files};
pub use natural::natural;

/// How a node stands, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Not connected.
    #[serde(rename = "away")]
    Away,
    /// Connected, without the present files of the master.
    #[serde(rename = "behind")]
    Behind,
    /// Connected, and not compared with the master yet.
    #[serde(rename = "joining")]
    Joining,
    /// It has the present files.
    #[serde(rename = "in sync")]
    InSync,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Away, Self::Behind, Self::Joining, Self::InSync];

    /// The word for it, everywhere.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Behind => "behind",
            Self::Joining => "joining",
            Self::InSync => "in sync",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// The judgement of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub state: State,
    /// Since when, wall clock of the node that judges; none if that is not known.
    pub since: Option<SystemTime>,
    /// Why it is not in sync, as a sentence without its end. Of one that is: what is doubtful of it, if anything is.
    pub reason: Option<String>,
    /// What a person is to do, as a sentence without its end; none if nobody is to do anything.
    pub remedy: Option<String>,
}

impl Verdict {
    /// Of a node with nothing to be said against it.
    pub const fn in_sync(since: Option<SystemTime>) -> Self {
        Self { state: State::InSync, since, reason: None, remedy: None }
    }

    /// Of any other node.
    pub fn bad(state: State, since: Option<SystemTime>, reason: impl Into<String>) -> Self {
        Self { state, since, reason: Some(reason.into()), remedy: None }
    }

    /// The same, with what a person is to do.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Whether the node is in sync.
    pub fn is_in_sync(&self) -> bool {
        self.state == State::InSync
    }
}

/// A node and its verdict, as `get_health` tells of it: an item of its member `verdicts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The node.
    pub name: String,
    /// `master` or `worker`, as the node said itself.
    #[serde(rename = "type")]
    pub role: String,
    /// The version that it stated last.
    pub version: String,
    /// The address that it was last seen at.
    pub ip: String,
    /// How it stands.
    pub state: State,
    /// [`Verdict::since`], as in the dates of `get_health`.
    pub since: Option<String>,
    /// [`Verdict::reason`].
    pub reason: Option<String>,
    /// [`Verdict::remedy`].
    pub remedy: Option<String>,
}

impl Listed {
    /// A node with these four words of its own, and its verdict.
    pub fn new([name, role, version, ip]: [String; 4], verdict: Verdict) -> Self {
        let Verdict { state, since, reason, remedy } = verdict;
        Self { name, role, version, ip, state, since: since.map(iso_utc), reason, remedy }
    }

    /// The order in which people look at nodes: the worst first, then the master, then by name.
    pub fn order(&self, other: &Self) -> Ordering {
        order((self.state, &self.role, &self.name), (other.state, &other.role, &other.name))
    }
}

/// The order of [`Listed::order`], of nodes with these states, types and names.
pub fn order(one: (State, &str, &str), other: (State, &str, &str)) -> Ordering {
    let is_worker = |(_, role, _): (State, &str, &str)| role != "master";
    one.0.cmp(&other.0).then(is_worker(one).cmp(&is_worker(other))).then_with(|| natural(one.2, other.2))
}

/// `38 of 40 in sync, 1 away, 1 behind`.
pub fn sum(states: impl IntoIterator<Item = State>) -> String {
    let mut counts = [0_usize; State::ALL.len()];
    states.into_iter().for_each(|state| counts[state as usize] += 1);
    let all: usize = counts.iter().sum();
    let mut text = format!("{} of {all} in sync", counts[State::InSync as usize]);
    for state in State::ALL.into_iter().filter(|state| *state != State::InSync && counts[*state as usize] > 0) {
        text.push_str(&format!(", {} {state}", counts[state as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 2.7: the bad ones are seen first, and w2 before w10.
    #[test]
    fn the_worst_come_first_then_the_master_then_by_name() {
        let node = |name: &str, role: &str, state| (state, role.to_owned(), name.to_owned());
        let mut nodes = [
            node("w10", "worker", State::InSync),
            node("a", "worker", State::InSync),
            node("m", "master", State::InSync),
            node("w2", "worker", State::InSync),
            node("w3", "worker", State::Joining),
            node("w9", "worker", State::Behind),
            node("w1", "worker", State::Away),
        ];
        nodes.sort_by(|a, b| order((a.0, &a.1, &a.2), (b.0, &b.1, &b.2)));
        let names: Vec<&str> = nodes.iter().map(|node| node.2.as_str()).collect();
        assert_eq!(names, ["w1", "w9", "w3", "m", "a", "w2", "w10"]);
        assert_eq!(sum(nodes.iter().map(|node| node.0)), "4 of 7 in sync, 1 away, 1 behind, 1 joining");
        assert_eq!(sum([State::InSync]), "1 of 1 in sync");
    }

    #[test]
    fn a_listed_node_travels_in_the_words_of_people() {
        let verdict = Verdict::bad(State::Away, Some(SystemTime::UNIX_EPOCH), "why").with_remedy("do");
        let listed = Listed::new(["w1", "worker", "4.14.7", "::1"].map(str::to_owned), verdict);
        let text = r#"{"name":"w1","type":"worker","version":"4.14.7","ip":"::1","state":"away","since":"1970-01-01T00:00:00.000000Z","reason":"why","remedy":"do"}"#;
        assert_eq!(serde_json::to_string(&listed).unwrap(), text);
        assert_eq!(serde_json::from_str::<Listed>(text).unwrap(), listed);
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.text());
        }
    }
}
