//! The `listen` thread: accepts connections of workers, and keeps them at the door until they have said something.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Master,
    session::WorkerSession,
    strangers::{Entered, Strangers},
};
use crate::{
    connection::{Connection, Known, NOT_IN_TIME, PEER_CLOSED, Socket},
    limits::STRANGER_MESSAGE,
    logging::{Scope, debug, info, scope, warn},
    metrics::Rejection,
    node::Node,
    system::{
        doorway::{Doorway, Report},
        listening::stopper,
    },
    wire::frame,
};

/// How long the thread rests when the system has no room for another connection.
const REST: Duration = Duration::from_millis(500);

/// Connections that are accepted before those at the door are looked at again.
const ACCEPTED: usize = 32;

/// Why a stranger was closed before its time.
pub(super) const PUSHED_OUT: &str = "newer connections took its place before it had said hello (cluster.json, \
                                     link.max_unauthenticated_per_address and link.max_unauthenticated)";

/// Why a connection is closed before anything is read from it.
const NOT_ALLOWED: &str = "its address is in none of link.allow_networks (cluster.json)";

/// The bound socket of a master.
pub struct Listener(Doorway);

impl Listener {
    /// Binds `<bind_addr>:<port>`; port 0 takes a free one, for tests.
    ///
    /// # Errors
    /// When the address is not one of this machine, or the port is taken.
    pub fn bind(node: &Node) -> io::Result<Self> {
        let (host, port) = (node.cluster.bind_addr.as_str(), node.cluster.port);
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        TcpListener::bind(&addresses[..]).and_then(Doorway::new).map(Self)
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// When the socket is closed.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.address()
    }

    /// The address as the stock daemon writes it in its log.
    pub fn address_text(&self) -> String {
        self.address().map_or_else(|error| error.to_string(), python_address)
    }

    /// Makes a blocked [`Listener::run`] return.
    ///
    /// # Errors
    /// When the socket cannot be cloned.
    pub fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        stopper(&self.0)
    }

    /// Accepts until the node stops.
    pub fn run(self, master: &Arc<Master>) {
        let door = Door {
            master,
            doorway: self.0,
            strangers: Strangers::default(),
            scope: scope("Worker", "Main"),
            message: vec![0; frame::HEADER + STRANGER_MESSAGE],
            newest: 0,
            full: false,
        };
        door.run()
    }
}

/// Those who have not said hello, and the listening socket that they came by.
struct Door<'a> {
    master: &'a Arc<Master>,
    doorway: Doorway,
    strangers: Strangers,
    scope: Scope,
    /// Where a first message is looked at; it is not taken from its stream.
    message: Vec<u8>,
    /// The number of who came last.
    newest: u64,
    /// Whether the system had no room for the last one.
    full: bool,
}

impl Door<'_> {
    fn run(mut self) {
        loop {
            let reports = self.doorway.wait(self.time_left());
            if self.master.node.shutdown.ordered() {
                return;
            }
            let reports = reports.unwrap_or_else(|error| {
                self.cannot_accept(&error);
                Vec::new()
            });
            // Who has spoken goes before who has just come, and may not be pushed out by it.
            for report in &reports {
                if let Report::Spoke { id, ended } = report {
                    self.spoke(*id, *ended);
                }
            }
            if reports.contains(&Report::Newcomers) {
                self.accept();
            }
            self.turn_out();
            self.master.tell_turned_away();
        }
    }

    /// Until somebody must go, or a line is due.
    fn time_left(&self) -> Option<Duration> {
        let leaves = self.strangers.next(&self.master.node.settings.link);
        let leaves = leaves.map(|leaves| leaves.saturating_duration_since(Instant::now()));
        leaves.into_iter().chain(self.master.turned_away.next(self.master.node.clock.now())).min()
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTED {
            match self.doorway.accept() {
                Ok(None) => return,
                Ok(Some((stream, address))) => {
                    self.full = false;
                    if !self.master.node.settings.link.allows_address(address.ip()) {
                        self.master.turn_away(address, Rejection::Network, NOT_ALLOWED, &self.scope);
                        continue;
                    }
                    self.newest += 1;
                    if let Err(error) = self.doorway.attend(&stream, self.newest, frame::HEADER) {
                        self.master.node.metrics.rejected(Rejection::System);
                        warn!(self.scope, "The connection from {address} cannot be served: {error}");
                        continue;
                    }
                    self.strangers.come(self.newest, stream, address, Instant::now());
                    self.make_room();
                }
                Err(error) => return self.cannot_accept(&error),
            }
        }
    }

    fn cannot_accept(&mut self, error: &io::Error) {
        if !self.full {
            warn!(
                self.scope,
                "Cannot accept connections: {error}; raise the limit of open files if that is exhausted."
            );
        }
        self.full = true;
        self.master.node.shutdown.sleep(&self.master.node.clock, REST);
    }

    /// Those who came first go when there are too many.
    fn make_room(&self) {
        let link = &self.master.node.settings.link;
        for (address, connection) in self.strangers.surplus(link, Instant::now()) {
            match connection {
                // Its end is told by its reader.
                Some(connection) => connection.close(PUSHED_OUT),
                None => self.master.left(address, PUSHED_OUT, &self.scope),
            }
        }
    }

    fn turn_out(&self) {
        self.make_room();
        let limit = self.master.node.settings.link.handshake_timeout;
        for address in self.strangers.late(limit, Instant::now()) {
            self.master.left(address, NOT_IN_TIME, &self.scope);
        }
    }

    /// One at the door has said something, or left.
    fn spoke(&mut self, id: u64, ended: bool) {
        let message = &mut self.message;
        let Some(there) = self.strangers.at_door(id, |stream| stream.peek(message)) else { return };
        let wanted = match &there {
            Ok(count) if *count >= frame::HEADER => frame::HEADER + frame::size(&self.message),
            _ => frame::HEADER,
        };
        let reason = match there {
            Ok(0) => PEER_CLOSED.to_owned(),
            // What is too long is refused by the reader, like all that is wrong with a message.
            Ok(count) if count >= wanted || wanted > self.message.len() => return self.enter(id),
            Ok(_) if ended => "the peer closed it in the middle of a message".to_owned(),
            Ok(_) => {
                let more = self.strangers.at_door(id, |stream| self.doorway.attend_more(stream, wanted));
                match more {
                    Some(Err(error)) => error.to_string(),
                    _ => return,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => error.to_string(),
        };
        if let Some(address) = self.strangers.gone(id) {
            self.master.left(address, &reason, &self.scope);
        }
    }

    /// Its first message is whole: it gets the threads of a connection.
    fn enter(&self, id: u64) {
        let Some(entered) = self.strangers.enter(id, Instant::now()) else { return };
        let address = entered.address;
        info!(self.scope, "Connection from {}", python_address(address));
        match self.connect(entered) {
            Ok(connection) => self.strangers.serve(id, &connection),
            Err(error) => {
                self.master.node.metrics.rejected(Rejection::System);
                warn!(self.scope, "The connection from {address} cannot be served: {error}");
            }
        }
    }

    fn connect(&self, Entered { stream, address, came, place }: Entered) -> io::Result<Connection> {
        self.doorway.release(&stream)?;
        stream.set_nodelay(true)?;
        let node = &self.master.node;
        let mut options = node.link_options(address.to_string(), node.keys().ciphers(), Known::ByHello);
        options.handshake_timeout = options.handshake_timeout.saturating_sub(came.elapsed());
        let peer = |_: &Connection| WorkerSession::new(self.master.clone(), address, place);
        let connection = node.connections.start(Socket::Tcp(stream), options, peer)?;
        debug!(self.scope, "Serving {connection:?}");
        Ok(connection)
    }
}

/// `('127.0.0.1', 43752)`, or with four parts for IPv6: the form that log readers know.
fn python_address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => format!("('{}', {})", v4.ip(), v4.port()),
        SocketAddr::V6(v6) => format!("('{}', {}, {}, {})", v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()),
    }
}
