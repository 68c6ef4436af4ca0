//! The workers that are connected, in the order in which they came, and those that left.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::RwLock;

use super::Member;
use crate::{system::clock::Clock, wire::Hello};

/// How long a worker that left is remembered: long enough that somebody is told, and one that was removed for good is
/// not missed for ever.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// Workers that left and are remembered, at most; the longest gone is forgotten first.
const GONE: usize = 256;

/// Names are unique in it.
#[derive(Default)]
pub struct Registry(RwLock<Workers>);

#[derive(Default)]
struct Workers {
    connected: Vec<Arc<Member>>,
    gone: VecDeque<Gone>,
}

/// A worker that was connected.
#[derive(Clone)]
pub struct Gone {
    /// What it said of itself.
    pub hello: Hello,
    /// When its connection ended, wall clock.
    pub since: SystemTime,
    /// The fingerprint of the key that its connection had: the key itself is not to outlive its removal here.
    pub key: Option<String>,
    at: Instant,
}

/// Why a worker was not registered.
pub enum NotRegistered {
    /// Another worker has its name.
    NameTaken(Arc<Member>),
    /// As many are connected as `link.max_workers` allows.
    Full,
}

impl Registry {
    /// Registers `worker`.
    ///
    /// # Errors
    /// When its name is taken or the registry is full.
    pub fn add(&self, worker: &Arc<Member>, limit: usize) -> Result<(), NotRegistered> {
        let mut workers = self.0.write();
        let name = &worker.hello.node;
        if let Some(other) = workers.connected.iter().find(|other| other.hello.node == *name) {
            return Err(NotRegistered::NameTaken(other.clone()));
        }
        if workers.connected.len() >= limit {
            return Err(NotRegistered::Full);
        }
        workers.gone.retain(|gone| gone.hello.node != *name);
        workers.connected.push(worker.clone());
        Ok(())
    }

    /// Forgets `worker`; another of the same name stays. Whether it was still registered. It counts as one that left.
    pub fn remove(&self, worker: &Member, clock: &Clock) -> bool {
        let (at, since) = (clock.now(), clock.wall());
        let key = worker.connection.cipher().map(|cipher| cipher.fingerprint().to_owned());
        let mut workers = self.0.write();
        let before = workers.connected.len();
        workers.connected.retain(|other| !other.connection.is(&worker.connection));
        let removed = workers.connected.len() < before;
        if removed {
            if workers.gone.len() == GONE {
                workers.gone.pop_front();
            }
            workers.gone.push_back(Gone { hello: worker.hello.clone(), since, key, at });
        }
        removed
    }

    /// The worker of this name.
    pub fn find(&self, name: &str) -> Option<Arc<Member>> {
        self.0.read().connected.iter().find(|worker| worker.hello.node == name).cloned()
    }

    /// All that are connected now.
    pub fn workers(&self) -> Vec<Arc<Member>> {
        self.0.read().connected.clone()
    }

    /// All that left lately and have not come back.
    pub fn gone(&self, clock: &Clock) -> Vec<Gone> {
        let now = clock.now();
        let workers = self.0.read();
        workers.gone.iter().filter(|gone| now.saturating_duration_since(gone.at) < REMEMBERED).cloned().collect()
    }
}
