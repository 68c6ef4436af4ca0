//! What only a worker has: the connector, which keeps one connection to the master, and its end of that connection.

mod backoff;
mod connector;
mod parcels;
mod peer;

use std::{io, sync::Arc};

use parking_lot::{Mutex, RwLock};

use crate::{
    connection::Connection,
    files::Scanner,
    node::Node,
    sockets::Endpoint,
    system::{disk::Disk, thread},
    tasks::integrity::worker::Reload,
};

/// A worker of a cluster.
pub struct Worker {
    /// The node.
    pub node: Arc<Node>,
    /// The scanner of the worker's own files. Its cache outlives connections. Held by one walk at a time, and by nobody
    /// who holds another lock.
    pub scanner: Mutex<Scanner>,
    /// Whether the ruleset is to be loaded anew.
    pub reload: Reload,
    disk: Disk,
    master: RwLock<Option<Connection>>,
}

impl Worker {
    /// The worker of `node`, not yet connected.
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        let scanner = Mutex::new(Scanner::new(node.home.path(), node.items.clone()));
        let analysis = Endpoint::new("wazuh-analysisd", node.home.analysis_socket(), node.shutdown.clone());
        Arc::new(Self {
            node,
            scanner,
            reload: Reload::new(analysis),
            disk: Disk::default(),
            master: RwLock::default(),
        })
    }

    /// Starts its thread `connect`, which starts those of each connection.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self: &Arc<Self>, threads: &thread::Group) -> io::Result<()> {
        let this = self.clone();
        threads.spawn("connect", move || connector::run(&this))
    }

    /// The connection to the master, while there is one that has been accepted.
    pub fn master(&self) -> Option<Connection> {
        self.master.read().clone()
    }
}
