//! The connections of one node: their threads, and their end when the node stops.

use std::{
    io,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::{Connection, Handler, NODE_STOPS, Options, Shared, Socket};
use crate::system::thread::Group;

/// Threads of one connection: its reader and, while the peer takes less than it is sent, a writer.
const THREADS: usize = 2;

/// The connections of one node; cheap to clone.
#[derive(Clone)]
pub struct Connections {
    threads: Group,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    connections: Vec<Weak<Shared>>,
    stopped: bool,
}

impl Connections {
    /// None yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self { threads: Group::new(THREADS * most), open: Arc::default() }
    }

    /// Starts the reader of a connected `socket`. `handler` is made with the handle of the new connection before the first
    /// byte is read.
    ///
    /// # Errors
    /// When the socket cannot be set up, a thread cannot be started, or the node stops.
    pub fn start<H: Handler>(
        &self,
        socket: Socket,
        options: Options,
        handler: impl FnOnce(&Connection) -> H,
    ) -> io::Result<Connection> {
        let (connection, reader) = Connection::new(socket, options, &self.threads, handler)?;
        self.add(&connection)?;
        let started = self.threads.spawn("reader", || reader.run());
        started.inspect_err(|error| connection.close(&format!("no thread could be started: {error}")))?;
        Ok(connection)
    }

    fn add(&self, connection: &Connection) -> io::Result<()> {
        let mut open = self.open.lock();
        if open.stopped {
            return Err(io::Error::other(NODE_STOPS));
        }
        open.connections.retain(|connection| connection.strong_count() > 0);
        open.connections.push(Arc::downgrade(&connection.0));
        Ok(())
    }

    /// Closes all there are, and lets no other begin.
    pub fn stop(&self) {
        let mut open = self.open.lock();
        open.stopped = true;
        let connections = std::mem::take(&mut open.connections);
        drop(open);
        connections.iter().filter_map(Weak::upgrade).for_each(|shared| Connection(shared).close(NODE_STOPS));
    }

    /// Their threads.
    pub fn threads(&self) -> &Group {
        &self.threads
    }
}
