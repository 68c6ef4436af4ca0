//! The `local` thread: accepts local programs.

use std::{io, os::unix::net::UnixStream, sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{Role, session::ProgramSession};
use crate::{
    connection::{Connection, Socket},
    limits::Guest,
    logging::{debug, info, scope},
    node::Node,
    services::Services,
    sockets::{self, House},
    system::{random, thread, unix_socket::Bound},
    tasks::keep_alive::supervision::{self, Supervised},
};

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
        let node_clock = node.clock.clone();
        threads.spawn("local_alive", move || {
            supervision::run(&node, "Local Server", || {
                let mut present = supervised.lock();
                present.retain(|client| !client.connection.is_closed());
                let clients = present.clone();
                drop(present);
                // A program that waits for this node, or through it for another, is not to be blamed for its silence, nor
                // when it has its answer.
                let excused = |client: &Client| {
                    let waits = waits(asked.services(), &client.connection);
                    if waits {
                        *client.last.lock() = node_clock.now();
                    }
                    waits
                };
                let idle = clients.into_iter().filter(|client| !excused(client));
                idle.map(|Client { connection, last }| Supervised { connection, last: *last.lock() }).collect()
            });
        })?;
        let role = role.clone();
        threads.spawn("local", move || self.run(role, clients))
    }

    fn run(self, role: Role, clients: Clients) {
        let node = role.node().clone();
        let mut programs = Programs { role, clients };
        let failure = (&scope("Local Server", "Main"), "A local program cannot be served");
        sockets::accept(&self.0, &mut programs, failure, &node.clock, &node.shutdown);
    }
}

/// Whether a request of this program waits, or is being executed.
fn waits(services: &Services, program: &Connection) -> bool {
    services.waiting.has(program) || services.api.has(program)
}

/// The local programs, as the accept loop knows them.
struct Programs {
    role: Role,
    clients: Clients,
}

impl House<UnixStream> for Programs {
    type Program = Connection;

    fn limit(&self) -> usize {
        self.role.node().settings.local.max_clients as usize
    }

    fn limit_is(&self) -> &'static str {
        " (cluster.json, local.max_clients)"
    }

    fn programs(&mut self) -> Vec<(Connection, Guest<()>)> {
        let mut clients = self.clients.lock();
        clients.retain(|client| !client.connection.is_closed());
        let present = clients.clone();
        drop(clients);
        let services = self.role.services();
        let guest = |Client { connection, .. }| {
            let idle = connection.idle_since().filter(|_| !waits(services, &connection));
            (connection, Guest { party: (), idle })
        };
        present.into_iter().map(guest).collect()
    }

    fn turn_out(&mut self, program: &Connection) {
        program.close("it was idle, and another program waited for its place");
    }

    fn admit(&mut self, stream: UnixStream) -> io::Result<()> {
        let node = self.role.node();
        let id = (random::number() % 1_048_576).to_string();
        let options = node.local_options(format!("local program {id}"));
        let last = Arc::new(Mutex::new(node.clock.now()));
        let peer = |_: &Connection| ProgramSession::new(self.role.clone(), &id, last.clone());
        let connection = node.connections.start(Socket::Unix(stream), options, peer)?;
        debug!(scope(&format!("Local {id}"), "Main"), "Connection received.");
        self.clients.lock().push(Client { connection, last });
        Ok(())
    }
}
