//! A connected worker, as the master sees it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use parking_lot::Mutex;

use crate::{
    connection::Connection,
    session::native::Features,
    system::clock::Clock,
    tasks::integrity::master::{Integrity, Shared},
    wire::Hello,
};

/// From its accepted hello until its connection ends.
pub struct Member {
    /// What it said of itself.
    pub hello: Hello,
    /// The address of its end of the connection.
    pub address: IpAddr,
    /// The connection.
    pub connection: Connection,
    /// Its integrity checks.
    pub integrity: Arc<Integrity>,
    features: Mutex<Features>,
    last_keep_alive: Mutex<(Instant, SystemTime)>,
}

impl Member {
    /// A worker that has just said hello.
    pub fn new(hello: Hello, address: IpAddr, connection: Connection, shared: Arc<Shared>) -> Arc<Self> {
        let clock = &shared.node.clock;
        let now = (clock.now(), clock.wall());
        let integrity = Integrity::new(shared, &hello.node, connection.clone());
        let (features, last_keep_alive) = (Mutex::default(), Mutex::new(now));
        Arc::new(Self { hello, address, connection, integrity, features, last_keep_alive })
    }

    /// What both ends have agreed on; nothing on a classic link.
    pub fn features(&self) -> Features {
        *self.features.lock()
    }

    /// Sets what both ends have agreed on.
    pub fn agree(&self, features: Features) {
        *self.features.lock() = features;
    }

    /// A keep-alive has come.
    pub fn keep_alive(&self, clock: &Clock) {
        *self.last_keep_alive.lock() = (clock.now(), clock.wall());
    }

    /// When the last keep-alive came or, before the first, the hello: for deadlines, and for people.
    pub fn last_keep_alive(&self) -> (Instant, SystemTime) {
        *self.last_keep_alive.lock()
    }
}
