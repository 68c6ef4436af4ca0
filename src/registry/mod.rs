//! The workers that a master knows: those that are connected, in the order in which they came, and those that are away,
//! until they come back or a person forgets them.

mod away;
mod known;
mod memory;
mod worker;

use std::{collections::VecDeque, sync::Arc};

use crossbeam_channel::Receiver;
use parking_lot::RwLock;

use crate::{limits::AWAY, system::wakeup::Wakeup};
pub use away::Away;
use away::{Left, least_missed};
pub use known::Known;
pub use memory::Memory;
pub use worker::ConnectedWorker;

/// Names are unique in it.
pub struct Registry {
    workers: RwLock<Workers>,
    changed: Wakeup,
}

#[derive(Default)]
struct Workers {
    connected: Vec<Arc<ConnectedWorker>>,
    /// The longest gone first.
    away: VecDeque<Away>,
}

/// Why a worker was not registered.
pub enum NotRegistered {
    /// Another worker has its name.
    NameTaken(Arc<ConnectedWorker>),
    /// As many are connected as `link.max_workers` allows.
    Full,
}

/// Why a worker was not forgotten.
#[derive(Debug, PartialEq, Eq)]
pub enum NotForgotten {
    /// It is connected.
    Connected,
    /// No worker has this name.
    Unknown,
}

impl Registry {
    /// With the workers that an earlier run has known, the longest gone first.
    pub fn new(away: Vec<Away>) -> Self {
        Self { workers: RwLock::new(Workers { connected: Vec::new(), away: away.into() }), changed: Wakeup::default() }
    }

    /// Becomes ready when what is known of the workers has changed.
    pub fn changed(&self) -> &Receiver<()> {
        self.changed.channel()
    }

    /// Whether a worker of this name has had a session, and is not to be accepted without one.
    pub fn had_session(&self, name: &str) -> bool {
        let workers = self.workers.read();
        let connected = workers.connected.iter().any(|worker| worker.hello.node == name && worker.had_session());
        connected || workers.away.iter().any(|away| away.name == name && away.session)
    }

    /// Remembers that `worker` has had a session; whether that is news of its name.
    pub fn remember_session(&self, worker: &ConnectedWorker) -> bool {
        let is_news = worker.remember_session();
        if is_news {
            self.changed.wake();
        }
        is_news
    }

    /// Registers `worker`.
    ///
    /// # Errors
    /// When its name is taken or the registry is full.
    pub fn add(&self, worker: &Arc<ConnectedWorker>, limit: usize) -> Result<(), NotRegistered> {
        let mut workers = self.workers.write();
        let name = &worker.hello.node;
        if let Some(other) = workers.connected.iter().find(|other| other.hello.node == *name) {
            return Err(NotRegistered::NameTaken(other.clone()));
        }
        if workers.connected.len() >= limit {
            return Err(NotRegistered::Full);
        }
        if let Some(at) = workers.away.iter().position(|away| away.name == *name) {
            let before = workers.away.remove(at);
            if before.is_some_and(|away| away.session) {
                worker.remember_session();
            }
        }
        workers.connected.push(worker.clone());
        drop(workers);
        self.changed.wake();
        Ok(())
    }

    /// Takes `worker` off the connected ones, with how it left; another of the same name stays. None if it was not
    /// registered any more, otherwise who was forgotten because too many are away.
    pub(super) fn remove(&self, worker: &ConnectedWorker, left: Option<Left>) -> Option<Option<Away>> {
        let away = Away { left, ..Away::of(worker) };
        let mut workers = self.workers.write();
        let before = workers.connected.len();
        workers.connected.retain(|other| !other.connection.is(&worker.connection));
        if workers.connected.len() == before {
            return None;
        }
        let surplus = (workers.away.len() >= AWAY).then(|| least_missed(&workers.away));
        let forgotten = surplus.and_then(|at| workers.away.remove(at));
        workers.away.push_back(away);
        drop(workers);
        self.changed.wake();
        Some(forgotten)
    }

    /// A worker of this name was refused for this reason.
    pub fn refused(&self, name: &str, reason: &str) {
        let mut workers = self.workers.write();
        if workers.away.iter_mut().find(|away| away.name == name).is_some_and(|away| away.refuse(reason)) {
            drop(workers);
            self.changed.wake();
        }
    }

    /// Forgets a worker that is away; gives what was known of it.
    ///
    /// # Errors
    /// When it is none that is away.
    pub fn forget(&self, name: &str) -> Result<Away, NotForgotten> {
        let mut workers = self.workers.write();
        if workers.connected.iter().any(|worker| worker.hello.node == name) {
            return Err(NotForgotten::Connected);
        }
        let at = workers.away.iter().position(|away| away.name == name);
        let forgotten = at.and_then(|at| workers.away.remove(at)).ok_or(NotForgotten::Unknown)?;
        drop(workers);
        self.changed.wake();
        Ok(forgotten)
    }

    /// The worker of this name.
    pub fn find(&self, name: &str) -> Option<Arc<ConnectedWorker>> {
        self.workers.read().connected.iter().find(|worker| worker.hello.node == name).cloned()
    }

    /// All that are connected now.
    pub fn workers(&self) -> Vec<Arc<ConnectedWorker>> {
        self.workers.read().connected.clone()
    }

    /// How many are connected, and how many are away.
    pub fn counts(&self) -> (usize, usize) {
        let workers = self.workers.read();
        (workers.connected.len(), workers.away.len())
    }

    /// All that are connected, and all that are not, at one instant.
    pub fn all(&self) -> (Vec<Arc<ConnectedWorker>>, Vec<Away>) {
        let workers = self.workers.read();
        (workers.connected.clone(), workers.away.iter().cloned().collect())
    }
}
