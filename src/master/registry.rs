//! The workers that are connected, in the order in which they came.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Member;

/// Names are unique in it.
#[derive(Default)]
pub struct Registry(RwLock<Vec<Arc<Member>>>);

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
        if let Some(other) = workers.iter().find(|other| other.hello.node == worker.hello.node) {
            return Err(NotRegistered::NameTaken(other.clone()));
        }
        if workers.len() >= limit {
            return Err(NotRegistered::Full);
        }
        workers.push(worker.clone());
        Ok(())
    }

    /// Forgets `worker`; another of the same name stays. Whether it was still registered.
    pub fn remove(&self, worker: &Member) -> bool {
        let mut workers = self.0.write();
        let before = workers.len();
        workers.retain(|other| !other.connection.is(&worker.connection));
        workers.len() < before
    }

    /// The worker of this name.
    pub fn find(&self, name: &str) -> Option<Arc<Member>> {
        self.0.read().iter().find(|worker| worker.hello.node == name).cloned()
    }

    /// All that are connected now.
    pub fn workers(&self) -> Vec<Arc<Member>> {
        self.0.read().clone()
    }
}
