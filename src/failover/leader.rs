//! A candidate that is the master.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use log::Level;

use super::log_scope;
use crate::{
    arbiter::Failure,
    election::Candidate,
    files::ChecksumKind,
    logging::{Repeats, info, log, warn},
    master::{Master, Snapshot},
    registry::ConnectedWorker,
};

/// From one look to the next.
const PERIOD: Duration = Duration::from_millis(500);

/// How long a candidate may be away, or lag behind, until it may not follow any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until the node stops.
pub fn run(master: &Arc<Master>, candidate: &Arc<Candidate>) {
    let (node, now) = (&master.node, master.node.clock.now());
    let in_sync = candidate.in_sync().into_iter().map(|name| (name, now)).collect();
    let mut leader = Leader { master, candidate, in_sync, point: None, forgotten: 0, told: Repeats::default() };
    while node.shutdown.sleep(&node.clock, PERIOD) {
        if let Err(failure) = leader.turn() {
            let text = format!("etcd does not take who may follow this master: {failure}");
            log!(log_scope(), leader.told.level(Level::Warn, &text, node.clock.now()), "{text}.");
        }
    }
}

struct Leader<'a> {
    master: &'a Arc<Master>,
    candidate: &'a Candidate,
    /// Who may follow, with the moment at which it was seen equal last.
    in_sync: HashMap<String, Instant>,
    /// What all of them are to have until records are forgotten.
    point: Option<Point>,
    /// The number of the last record that was.
    forgotten: u64,
    told: Repeats,
}

/// A state of this master that has all records up to a number.
struct Point {
    last: u64,
    snapshot: Snapshot,
}

impl Leader<'_> {
    fn turn(&mut self) -> Result<(), Failure> {
        let now = self.master.node.clock.now();
        let own = self.master.node.cluster.node_name.as_str();
        for name in self.candidate.names().iter().filter(|name| *name != own) {
            let worker = self.master.registry.find(name);
            if worker.is_some_and(|worker| self.is_equal(&worker)) && self.in_sync.insert(name.clone(), now).is_none() {
                info!(log_scope(), "{name} has what this master has, and may follow it.");
            }
        }
        let is_late = |seen: &Instant| now.saturating_duration_since(*seen) >= PATIENCE;
        self.in_sync.retain(|name, seen| {
            let stays = name == own || !is_late(seen);
            if !stays {
                warn!(
                    log_scope(),
                    "{name} may not follow this master any more: for {} s it was not connected with a session, or not equal.",
                    PATIENCE.as_secs()
                );
            }
            stays
        });
        let others = self.candidate.names().iter().filter(|name| *name != own && self.in_sync.contains_key(*name));
        let names: Vec<String> = [own.to_owned()].into_iter().chain(others.cloned()).collect();
        self.candidate.set_in_sync(&names)?;
        self.forget(&names[1..])
    }

    /// Whether this worker has all files, but for what has changed in the last seconds.
    fn is_equal(&self, worker: &ConnectedWorker) -> bool {
        let status = worker.integrity.status();
        let wall = self.master.node.clock.wall();
        let is_late = |since| wall.duration_since(since).is_ok_and(|lag| lag >= PATIENCE);
        worker.connection.in_session()
            && worker.features().term
            && status.standing.since.is_some()
            && !status.behind_since.is_some_and(is_late)
    }

    /// Forgets the records that all who may follow have.
    fn forget(&mut self, followers: &[String]) -> Result<(), Failure> {
        let last = self.candidate.last_made();
        if self.point.is_none() && last > self.forgotten {
            self.point = Some(Point { last, snapshot: self.master.snapshot(ChecksumKind::Md5Blake2b) });
        }
        let Some(point) = &mut self.point else { return Ok(()) };
        let mut has_all = true;
        for name in followers {
            let worker = self.master.registry.find(name);
            has_all &= worker.is_some_and(|worker| self.master.has(&worker, &mut point.snapshot));
        }
        if has_all {
            self.candidate.forget_records(point.last)?;
            self.forgotten = point.last;
            self.point = None;
        }
        Ok(())
    }
}
