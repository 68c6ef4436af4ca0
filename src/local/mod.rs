//! The control socket `queue/cluster/c-internal.sock`: how local programs ask the daemon (`spec/protocol.md` 13).

pub mod client;
mod forward;
mod peer;
mod requests;
mod send_file;
mod server;

use std::sync::Arc;

pub use server::Server;

use crate::{master::Master, node::Node, worker::Worker};

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
}
