//! What this master has at a moment, and who has it too.

use std::time::Instant;

use super::Master;
use crate::{files::ChecksumKind, registry::ConnectedWorker, tasks::local_agent_groups::THIS_SECOND};

/// What a master had at a moment.
#[derive(Clone, Copy)]
pub struct Snapshot {
    /// The generation that has all files of that moment.
    files: u64,
    /// The moment.
    pub taken: Instant,
    /// How many turns of the thread `local_groups` began before all groups of that moment could be read; none until then.
    groups: Option<u64>,
}

impl Master {
    /// That of now. It looks at the files that may have changed.
    pub fn snapshot(&self, kind: ChecksumKind) -> Snapshot {
        Snapshot { files: self.local_integrity.look(kind), taken: self.node.clock.now(), groups: None }
    }

    /// Whether a worker has shown to have all of it.
    pub fn has(&self, worker: &ConnectedWorker, snapshot: &mut Snapshot) -> bool {
        self.is_published(snapshot) && worker.integrity.has(snapshot.files) && self.has_groups(worker, snapshot)
    }

    /// Whether the workers could have its files.
    pub(super) fn is_published(&self, snapshot: &Snapshot) -> bool {
        self.local_integrity.generation() >= snapshot.files
    }

    /// Whether a worker has its groups of agents. The database gives out those of a second when that is over.
    pub(super) fn has_groups(&self, worker: &ConnectedWorker, snapshot: &mut Snapshot) -> bool {
        let age = self.node.clock.now().saturating_duration_since(snapshot.taken);
        if snapshot.groups.is_none() && age >= THIS_SECOND {
            snapshot.groups = Some(self.local_agent_groups.log.lock().begun());
            self.local_agent_groups.wake();
        }
        let log = self.local_agent_groups.log.lock();
        snapshot.groups.is_some_and(|begun| log.has_all(&worker.hello.node, begun))
    }

    /// Has a worker ask for its files now.
    pub(super) fn push(&self, worker: &ConnectedWorker, snapshot: &Snapshot) {
        worker.push(snapshot.files);
    }
}
