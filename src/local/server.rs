//! The `local` thread: accepts local programs.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Role, session::ProgramSession};
use crate::{
    connection::{Connection, Socket},
    limits::{Guest, IDLE, PLACE_PATIENCE, who_leaves},
    logging::{debug, info, scope, warn},
    node::Node,
    services::Services,
    system::{clock::Clock, random, thread, unix_socket::Bound},
    tasks::keep_alive::supervision::{self, Supervised},
};

/// How long the thread rests when the system has no room for another connection.
const REST: Duration = Duration::from_millis(500);

/// How often it is looked whether there is a place for one that waits.
const LOOK: Duration = Duration::from_millis(20);

/// The bound control socket.
pub struct Server(Bound);

/// The local programs that are connected.
pub type Clients = Arc<Mutex<Vec<Client>>>;

/// One of them.
#[derive(Clone)]
pub struct Client {
    /// Its connection.
    pub connection: Connection,
    /// When its last keep-alive came or, before the first, when it connected.
    pub last: Arc<Mutex<Instant>>,
}

impl Server {
    /// Binds the socket of `node`, mode 0660. A socket that an earlier daemon left is replaced; one that a living daemon
    /// serves is not.
    ///
    /// # Errors
    /// When another daemon serves it, or the directory may not be written.
    pub fn bind(node: &Node) -> io::Result<Self> {
        Bound::new(node.home.control_socket()).map(Self)
    }

    /// Makes a blocked accept return.
    ///
    /// # Errors
    /// When the socket cannot be cloned.
    pub fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        self.0.stopper()
    }

    /// Starts the threads `local` and `local_alive`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self, role: &Role, threads: &thread::Group) -> io::Result<()> {
        let path = role.node().home.control_socket();
        info!(scope("Local Server", "Main"), "Serving on {}", path.display());
        let clients = Clients::default();
        let (node, asked, supervised) = (role.node().clone(), role.clone(), clients.clone());
        threads.spawn("local_alive", move || {
            supervision::run(&node, "Local Server", || {
                let mut present = supervised.lock();
                present.retain(|client| !client.connection.is_closed());
                let clients = present.clone();
                drop(present);
                // A program that waits for this node, or through it for another, is not to be blamed for its silence.
                let idle = clients.into_iter().filter(|client| !waits(asked.services(), client));
                idle.map(|Client { connection, last }| Supervised { connection, last: *last.lock() }).collect()
            });
        })?;
        let role = role.clone();
        threads.spawn("local", move || self.run(&role, &clients))
    }

    fn run(self, role: &Role, clients: &Clients) {
        let node = role.node();
        let scope = scope("Local Server", "Main");
        loop {
            let accepted = self.0.accept();
            if node.shutdown.ordered() {
                break;
            }
            let served = accepted.and_then(|stream| serve(role, stream, clients));
            if let Err(error) = served {
                warn!(scope, "A local program cannot be served: {error}");
                node.shutdown.sleep(&node.clock, REST);
            }
        }
    }
}

/// Whether a request of this program waits, or is being executed.
fn waits(services: &Services, client: &Client) -> bool {
    services.waiting.has(&client.connection) || services.api.has(&client.connection)
}

/// Whether there is a place for one more. If there is none, a program for which nothing is done goes; while there is no
/// such one, it is waited a little.
fn make_room(role: &Role, clients: &Clients, limit: usize) -> bool {
    let (node, services) = (role.node(), role.services());
    let end = Instant::now() + PLACE_PATIENCE;
    loop {
        let mut present = clients.lock();
        present.retain(|client| !client.connection.is_closed());
        if present.len() < limit {
            return true;
        }
        let present = present.clone();
        let guest = |client: &Client| {
            let idle = client.connection.idle_since().filter(|_| !waits(services, client));
            Guest { party: (), idle }
        };
        if let Some(at) = who_leaves(present.iter().map(guest), Instant::now(), IDLE) {
            present[at].connection.close("it was idle, and another program waited for its place");
        } else if Instant::now() >= end || !node.shutdown.sleep(&Clock::real(), LOOK) {
            return false;
        }
    }
}

fn serve(role: &Role, stream: UnixStream, clients: &Clients) -> io::Result<()> {
    let node = role.node();
    let limit = node.settings.local.max_clients as usize;
    if !make_room(role, clients, limit) {
        return Err(io::Error::other(format!("{limit} are connected (cluster.json, local.max_clients)")));
    }
    let id = (random::number() % 1_048_576).to_string();
    let options = node.local_options(format!("local program {id}"));
    let last = Arc::new(Mutex::new(node.clock.now()));
    let peer = |_: &Connection| ProgramSession::new(role.clone(), &id, last.clone());
    let connection = Connection::start(Socket::Unix(stream), options, &node.connections, peer)?;
    debug!(scope(&format!("Local {id}"), "Main"), "Connection received.");
    clients.lock().push(Client { connection, last });
    Ok(())
}
