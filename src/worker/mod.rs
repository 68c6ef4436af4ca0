//! What only a worker has: the connector, which keeps one connection to the master, and its end of that connection.

mod backoff;
mod connector;
mod greeting;
mod known_master;
mod parcels;
mod promotion;
mod session;
mod verdict;

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use known_master::KnownMaster;
use parking_lot::RwLock;

use crate::{
    connection::Connection,
    files::{Scanner, Watch},
    node::Node,
    services::Services,
    session::native::Features,
    sockets::Endpoint,
    system::{thread, wakeup::Wakeup},
    tasks::integrity::worker::{Files, Reload},
};

/// The connection to the master.
struct Link {
    master: Connection,
    since: SystemTime,
    features: Features,
}

/// A worker of a cluster.
pub struct Worker {
    /// The node.
    pub node: Arc<Node>,
    /// Its services.
    pub services: Arc<Services>,
    /// Its files.
    pub files: Files,
    /// The connection to the master, while there is one that has been accepted.
    master: RwLock<Option<Link>>,
    /// Why there is none, when an attempt has failed since.
    failure: RwLock<Option<String>>,
    /// Since when there is none, if there is none.
    lost: RwLock<SystemTime>,
    /// The master with which it has had a session.
    pub known_master: KnownMaster,
    /// Ends the pause before the next attempt to connect.
    hurry: Wakeup,
    /// The silence after which another node may be the master; none if masters are changed by people only.
    ttl: RwLock<Option<Duration>>,
    /// Whether the master has changed, and has not been told of all agents of this node yet.
    new_master: AtomicBool,
}

impl Worker {
    /// The worker of `node`, not yet connected.
    pub fn new(node: Arc<Node>, services: Arc<Services>) -> Arc<Self> {
        let mut scanner = Scanner::new(node.home.path(), node.items.clone());
        // Without a watch each check looks at all files, and finds the same.
        if let Ok(watch) = Watch::new(node.items.clone()) {
            scanner = scanner.with_watch(Arc::new(watch), node.clock.clone());
        }
        let analysis = Endpoint::new("wazuh-analysisd", node.home.analysis_socket(), node.shutdown.clone());
        let files = Files::new(scanner, Reload::new(analysis));
        let lost = RwLock::new(node.metrics.started);
        let known_master = KnownMaster::load(&node);
        Arc::new(Self {
            node,
            services,
            files,
            master: RwLock::default(),
            failure: RwLock::default(),
            lost,
            known_master,
            hurry: Wakeup::default(),
            ttl: RwLock::default(),
            new_master: AtomicBool::new(false),
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
        self.master.read().as_ref().map(|link| link.master.clone())
    }

    /// Ends the connection to the master, if there is one.
    pub fn leave_master(&self, reason: &str) {
        if let Some(master) = self.master() {
            master.close(reason);
        }
    }

    /// Why there is none, in the words of the log: the reason and, behind a semicolon, what to do. Nothing before the first
    /// attempt has failed.
    pub fn failure(&self) -> Option<String> {
        if self.master().is_some() { None } else { self.failure.read().clone() }
    }

    /// The keys have been read again: a link that must not use its key any more is closed and, while there is none, the
    /// next attempt comes at once.
    pub fn keys_changed(&self) {
        match self.master() {
            Some(master) => self.node.check_key(&master),
            None => self.hurry.wake(),
        }
    }

    /// Since when there is one.
    pub fn connected_since(&self) -> Option<SystemTime> {
        self.master.read().as_ref().map(|link| link.since)
    }
}
