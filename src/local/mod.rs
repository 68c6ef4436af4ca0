//! The control socket `queue/cluster/c-internal.sock`: how local programs ask the daemon (`spec/protocol.md` 13).

pub mod client;
mod forward;
mod promote;
mod send_file;
mod server;
mod session;

use std::sync::Arc;

pub use promote::{Ordered, Wish};
pub use server::Server;

use crate::{
    connection::Connection,
    files::{ChecksumKind, Manifest},
    master::Master,
    node::Node,
    services::Services,
    worker::Worker,
};

/// Who answers: what this node is.
#[derive(Clone)]
pub enum Role {
    /// The master knows the cluster and answers by itself.
    Master(Arc<Master>),
    /// A worker asks its master.
    Worker(Arc<Worker>),
}

impl Role {
    /// The node.
    pub fn node(&self) -> &Arc<Node> {
        match self {
            Self::Master(master) => &master.node,
            Self::Worker(worker) => &worker.node,
        }
    }

    /// Whether this node acts as the master now: a candidate as long as its lease at etcd allows (`spec/failover.md` 2), any
    /// other master unless it knows of a later one.
    pub fn acts_as_master(&self) -> bool {
        let node = self.node();
        node.candidate.as_ref().map_or_else(
            || matches!(self, Self::Master(_)) && node.term.leads(),
            |candidate| candidate.acts() && matches!(self, Self::Master(_)),
        )
    }

    /// Its services.
    pub fn services(&self) -> &Services {
        match self {
            Self::Master(master) => &master.services,
            Self::Worker(worker) => &worker.services,
        }
    }

    /// The connection of a worker to its master, while there is one.
    fn link(&self) -> Option<Connection> {
        match self {
            Self::Master(_) => None,
            Self::Worker(worker) => worker.master(),
        }
    }

    /// The files as they are now, by the cache of the integrity threads.
    fn scan(&self) -> Arc<Manifest> {
        match self {
            Self::Master(master) => master.local_integrity.scan(ChecksumKind::Blake2b).manifest,
            Self::Worker(worker) => worker.files.scanner.lock().scan(true).manifest,
        }
    }
}
