//! How failover stands, for people and programs (`spec/protocol.md` 13.12).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Candidate, Hindrance};
use crate::{
    arbiter::{Failure, Folder, Key, Switch},
    system::json,
    term,
};

/// How long an order to hand over stands.
const ORDER: Duration = Duration::from_secs(60);

/// What a node knows of the succession of masters.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The terms.
    #[serde(flatten)]
    pub term: term::Status,
    /// How failover stands; none if this node is no candidate.
    #[serde(default)]
    pub failover: Option<Status>,
}

/// How failover stands.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Who has the key of the master at etcd; none if nobody has, or etcd cannot be asked.
    pub master: Option<Master>,
    /// For how many seconds this node acts as the master without another renewal; none if it does not.
    pub acts_for: Option<f64>,
    /// Seconds of silence after which another candidate follows.
    pub ttl: u64,
    /// All candidates.
    pub candidates: Vec<Seen>,
    /// Why this node could not be the master now; none if it could, or is.
    pub hindrance: Option<String>,
    /// Why etcd cannot be asked; none if it can.
    pub error: Option<String>,
}

/// The master, as etcd has it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Master {
    /// Its name.
    pub node: String,
    /// Where workers reach it.
    pub address: String,
    /// Since when, in seconds since 1970, by its clock.
    pub since: u64,
}

/// A candidate, as etcd has it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Whether it was there within the TTL.
    pub is_there: bool,
    /// Whether it may follow the present master.
    pub may_follow: bool,
    /// Where workers would reach it.
    pub address: Option<String>,
    /// The version of its daemon.
    pub version: Option<String>,
    /// Why it could not be the master now.
    pub hindrance: Option<String>,
}

/// How a candidate stands, in the words of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has the key.
    Leads,
    /// It would be the next one.
    MayFollow,
    /// It has not all files, or a hindrance.
    Behind,
    /// It would be the next one if it came back now.
    WasInSync,
    /// It is not there.
    Away,
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(match self {
            Self::Leads => "is the master",
            Self::MayFollow => "may follow",
            Self::Behind => "is there, and not in sync",
            Self::WasInSync => "was in sync, and is away",
            Self::Away => "is away",
        })
    }
}

impl Status {
    /// How one of the candidates stands.
    pub fn place(&self, seen: &Seen) -> Place {
        match (seen.is_there, seen.may_follow) {
            _ if self.master.as_ref().is_some_and(|master| master.node == seen.name) => Place::Leads,
            (true, true) => Place::MayFollow,
            (true, false) => Place::Behind,
            (false, true) => Place::WasInSync,
            (false, false) => Place::Away,
        }
    }
}

impl Master {
    /// Since when it is the master, by its clock.
    pub fn since(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.since)).unwrap_or(UNIX_EPOCH)
    }
}

impl Candidate {
    /// How failover stands. It asks etcd.
    pub fn status(&self) -> Status {
        let hindrance = self.hindrance().map(|why| why.to_string());
        let acts_for = self.deadline().map(|deadline| deadline.left().as_secs_f64()).filter(|left| *left > 0.0);
        let own = Status { acts_for, ttl: self.ttl().as_secs(), hindrance, ..Status::default() };
        match self.look() {
            Ok((master, candidates)) => Status { master, candidates, ..own },
            Err(failure) => Status { error: Some(failure.to_string()), ..own },
        }
    }

    fn look(&self) -> Result<(Option<Master>, Vec<Seen>), Failure> {
        let reading = self.arbiter.read(&[Key::Master, Key::Sync])?;
        let nodes = self.arbiter.list(Folder::Nodes, None)?;
        let [master, sync] = [0, 1].map(|at| reading.entries.get(at).cloned().flatten());
        let master = master.and_then(|entry| entry.master().ok());
        let in_sync = sync.and_then(|entry| entry.sync().ok()).map(|sync| sync.candidates).unwrap_or_default();
        let candidates = self.names().iter().map(|name| {
            let key = Key::Node(name.clone());
            let node = nodes.entries.iter().find(|(other, _)| *other == key).and_then(|(_, entry)| entry.node().ok());
            let leads = master.as_ref().is_some_and(|master| master.node == *name);
            let is_there = node.is_some();
            let (address, version, hindrance) =
                node.map_or((None, None, None), |node| (Some(node.address), Some(node.version), node.obstacle));
            let may_follow = in_sync.contains(name) && !leads;
            Seen { name: name.clone(), is_there, may_follow, address, version, hindrance }
        });
        let candidates = candidates.collect();
        let master = master.map(|master| Master {
            address: format!("{}:{}", master.address, master.port),
            node: master.node,
            since: master.since,
        });
        Ok((master, candidates))
    }

    /// Orders the present master to hand over to `to`, who sees the order within moments. `by` is the node where a person has
    /// said so.
    ///
    /// # Errors
    /// Why that cannot be, with what to do.
    pub fn order(&self, to: &str, by: &str) -> Result<(), String> {
        if !self.names().iter().any(|name| name == to) {
            return Err(format!("{to} is none of failover.candidates ({})", self.names().join(", ")));
        }
        let status = self.status();
        if let Some(error) = status.error {
            return Err(format!("etcd cannot be asked: {error}"));
        }
        match status.master {
            None => {
                return Err(format!("there is no master that could hand over; on {to}: 'cluster_control --promote'"));
            }
            Some(master) if master.node == to => return Err(Hindrance::Taken(master.node).to_string()),
            Some(_) => {}
        }
        if !status.candidates.iter().any(|seen| seen.name == to && seen.is_there && seen.may_follow) {
            return Err(format!(
                "{to} is not there, or not in sync with the master; 'cluster_control --failover-status' shows what is missing"
            ));
        }
        let order = json::text(&Switch { to: to.to_owned(), by: by.to_owned(), not_before: 0 });
        let announced =
            self.arbiter.grant(ORDER).and_then(|lease| self.arbiter.announce(&Key::Switch, order.as_bytes(), lease));
        announced.map_err(|failure| format!("etcd does not take the order: {failure}"))
    }
}
