//! The `listen` thread: accepts connections of workers.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use log::{Level, debug, info, warn};

use super::{
    Master,
    peer::Peer,
    strangers::{Place, Strangers},
};
use crate::{
    connection::{Connection, Socket},
    logging::{Scope, scope},
    metrics::Rejection,
    node::Node,
    system::listening::stopper,
};

/// How long the thread rests when the system has no room for another connection.
const REST: Duration = Duration::from_millis(500);

/// The bound socket of a master.
pub struct Listener(TcpListener);

impl Listener {
    /// Binds `<bind_addr>:<port>`; port 0 takes a free one, for tests.
    ///
    /// # Errors
    /// When the address is not one of this machine, or the port is taken.
    pub fn bind(node: &Node) -> io::Result<Self> {
        let (host, port) = (node.cluster.bind_addr.as_str(), node.cluster.port);
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        TcpListener::bind(&addresses[..]).map(Self)
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// When the socket is closed.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The address as the original writes it in its log.
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
        let scope = scope("Worker", "Main");
        let strangers = Strangers::default();
        let mut full = false;
        loop {
            let accepted = self.0.accept();
            if master.node.shutdown.ordered() {
                return;
            }
            match accepted {
                Ok((stream, address)) => admit(master, &strangers, stream, address, &scope),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => (),
                Err(error) => {
                    if !full {
                        warn!(target: &*scope, "No connection can be accepted: {error}. Is the limit of open files too low?");
                    }
                    full = true;
                    master.node.shutdown.sleep(&master.node.clock, REST);
                    continue;
                }
            }
            full = false;
        }
    }
}

fn admit(master: &Arc<Master>, strangers: &Strangers, stream: TcpStream, address: SocketAddr, scope: &Scope) {
    let link = &master.node.settings.link;
    let Some(place) = strangers.admit(address.ip(), link.max_unauthenticated_per_address, link.max_unauthenticated)
    else {
        master.node.metrics.rejected(Rejection::Strangers);
        let fact = format!("{} too many", address.ip());
        let level = master.told.level(Level::Warn, &fact, master.node.clock.now());
        return log::log!(
            target: &**scope,
            level,
            "Too many connections that have not said hello, at most {} from one address and {} in all \
             (cluster.json, link): one from {} is closed.",
            link.max_unauthenticated_per_address,
            link.max_unauthenticated,
            address.ip()
        );
    };
    info!(target: &**scope, "Connection from {}", python_address(address));
    if let Err(error) = connect(master, stream, address, place) {
        master.node.metrics.rejected(Rejection::System);
        warn!(target: &**scope, "The connection from {address} cannot be served: {error}");
    }
}

fn connect(master: &Arc<Master>, stream: TcpStream, address: SocketAddr, place: Place) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let node = &master.node;
    let options = node.link_options(address.to_string(), node.keys().ciphers(), false);
    let peer = |_: &Connection| Peer::new(master.clone(), address, place);
    let connection = Connection::start(Socket::Tcp(stream), options, &node.connections, peer)?;
    debug!(target: &*scope("Worker", "Main"), "Serving {connection:?}");
    Ok(())
}

/// `('127.0.0.1', 43752)`, or with four parts for IPv6: the form that log readers know.
fn python_address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => format!("('{}', {})", v4.ip(), v4.port()),
        SocketAddr::V6(v6) => format!("('{}', {}, {}, {})", v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()),
    }
}
