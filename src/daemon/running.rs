//! A node in this process: prepared, running, stopped. The daemon has one; a test may have many.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use parking_lot::RwLock;

use super::{notes::failed, places};
use crate::{
    agents::{
        Covered, Measured, Store,
        embedded::{Embedded, Owner, housekeeping::Housekeeping, server::Servers},
        wazuh_db::WazuhDb,
    },
    config::{Config, Home, Keys, NodeType, Places},
    connection::Connections,
    election::Candidate,
    failover::{self, follower, leader},
    files::{Items, JOURNAL, recover},
    limits::{self, Budget},
    local::{Role, Server},
    logging::{debug, error, info, scope, warn},
    master::{Listener, Master},
    metrics::Metrics,
    node::Node,
    observation,
    registration::{Service, inherit},
    services::Services,
    system::{
        clock::Clock,
        directory,
        disk::Disk,
        replacement::remove_leftover,
        shutdown::{self, Trigger},
        thread::Group,
        user,
    },
    term::Term,
    worker::Worker,
};

/// How long the threads may take to end.
const STOP: Duration = Duration::from_secs(10);

/// How long, of that, the agent database waits for those who use it.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// How long an external agent database may take to answer.
const DATABASE: Duration = Duration::from_secs(40);

/// How long it may take to answer the registrar, for which others wait.
const REGISTRAR_DATABASE: Duration = Duration::from_secs(5);

/// Checks of the files within which the key of an agent comes that the master has assigned to groups.
const KEYLESS: u32 = 10;

/// Requests of one peer that may take long at a time.
const REQUESTS: usize = 2;

/// A node whose sockets are bound and whose files are whole; nothing runs yet.
pub struct Prepared {
    role: Role,
    local: Server,
    observation: Option<observation::Server>,
    listener: Option<Listener>,
    trigger: Trigger,
    database: Database,
    registration: Service,
    lock: directory::Lock,
}

/// The agent database of a node, which ends after everybody who uses it.
struct Database {
    store: Store,
    /// For the registrar.
    registrar_store: Store,
    /// What is served if it is the embedded one.
    embedded: Option<(Embedded, Owner)>,
    /// Its sockets, as soon as they are bound.
    servers: Option<Servers>,
    /// For how long an agent may be silent.
    silence: Duration,
    trigger: Trigger,
}

/// A node that runs. Dropping it stops it.
pub struct Running {
    role: Role,
    threads: Group,
    trigger: Option<Trigger>,
    /// Those of the agent database.
    database: (Group, Option<Trigger>),
    stoppers: Vec<Box<dyn FnOnce() + Send>>,
    address: Option<SocketAddr>,
    /// Keeps a second daemon off the same home; the last to go.
    _lock: directory::Lock,
}

impl Prepared {
    /// The node, in its role.
    pub fn node(&self) -> &Node {
        self.role.node()
    }

    /// Binds the sockets, completes an interrupted update, and cleans what an earlier run left.
    ///
    /// # Errors
    /// A sentence that names what could not be had, and what to do.
    pub fn new(config: Config, clock: Clock) -> Result<Self, String> {
        Self::of(config, clock, None)
    }

    /// The same of a candidate, whose role is that which it has at the arbiter.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn of(mut config: Config, clock: Clock, candidate: Option<Arc<Candidate>>) -> Result<Self, String> {
        let keys = config.take_keys();
        let owner = user::owner().filter(|_| user::is_root());
        let term = Term::load(&config.home, &config.cluster.node_name).or_else(|error| {
            // Whoever may not enter the directory is told that, with its remedy.
            let places = Places::new(&config.home, config.cluster.node_type, &config.settings);
            places::prepare(&places, owner, &scope("Cluster", "Main")).and(Err(error))
        })?;
        let term = match &candidate {
            Some(candidate) => {
                candidate.use_ciphers(keys.ciphers());
                let acts = takes_over(candidate, &config, &term, &clock);
                let wished = config.cluster.node_type;
                config.cluster.node_type = if acts { NodeType::Master } else { NodeType::Worker };
                term.of_candidate(wished, acts, candidate.changed().clone(), candidate.ttl())
            }
            None => {
                config.cluster.node_type = term.settle(config.cluster.node_type);
                term
            }
        };
        let (trigger, token) = shutdown::channel();
        let metrics = Arc::new(Metrics::new(&clock));
        let mut database = Database::new(&config, &clock, &metrics);
        let mut registration = Service::new(&config, database.registrar_store.clone(), &clock, &token, term.floor())
            .recorded_by(candidate.as_ref());
        let Config { home, cluster, settings, .. } = config;
        let items =
            Arc::new(Items::try_from(&settings.files).map_err(|error| format!("cluster.json, files: {error}"))?);
        let peers = settings.link.max_workers + settings.link.max_unauthenticated + settings.local.max_clients;
        let peers = peers as usize;
        let node = Arc::new(Node {
            owner,
            home,
            cluster,
            keys: RwLock::new(Arc::new(keys)),
            settings,
            term,
            candidate,
            items,
            metrics,
            misplaced: OnceLock::new(),
            clock,
            shutdown: token,
            budget: Budget::new(limits::HELD, limits::HELD_BY_ONE, limits::HELD_PATIENCE),
            connections: Connections::new(peers),
            requests: Group::new(REQUESTS * peers),
            local_requests: Group::new(limits::LOCAL_REQUESTS),
        });
        places::prepare(&node.places(), node.owner, &scope("Cluster", "Main"))?;
        let cluster_dir = node.home.cluster_dir();
        let lock = directory::lock(&cluster_dir).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => format!("{} is served by another daemon; stop it first", node.home),
            _ => failed("the installation cannot be locked at", &cluster_dir, &error),
        })?;
        node.term.save();
        let local = Server::bind(&node).map_err(|error| {
            failed("Could not create server: the control socket cannot be bound:", &node.home.control_socket(), &error)
        })?;
        database.bind(&node.home)?;
        registration.bind()?;
        clean(&node);
        let observation = observe(&node);
        let listener = match node.cluster.node_type {
            NodeType::Master => Some(bind(&node)?),
            NodeType::Worker => None,
        };
        let services =
            Services::new(database.store.clone(), registration.registrar.clone(), &node.settings.distributed_api);
        let services = Arc::new(services);
        let role = match node.cluster.node_type {
            NodeType::Master => Role::Master(Master::new(node, services)),
            NodeType::Worker => Role::Worker(Worker::new(node, services)),
        };
        Ok(Self { role, local, observation, listener, trigger, database, registration, lock })
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses one; those that were started end again.
    pub fn start(self) -> io::Result<Running> {
        let Self { role, local, observation, listener, trigger, database, registration, lock } = self;
        let mut running = Running {
            role,
            threads: Group::new(64),
            trigger: Some(trigger),
            database: (Group::new(Owner::THREADS), Some(database.trigger)),
            stoppers: Vec::new(),
            address: None,
            _lock: lock,
        };
        let covered = Covered::default();
        if let (Some((embedded, owner)), Some(servers)) = (database.embedded, database.servers) {
            let node = running.role.node().clone();
            owner.start(&running.database.0)?;
            running.stoppers.push(Box::new(servers.stopper()?));
            servers.start(embedded.clone(), &node.clock, &node.shutdown, &running.threads)?;
            let outlines = match &running.role {
                Role::Worker(worker) => worker.files.outlines.clone(),
                Role::Master(master) => master.local_integrity.outlines.clone(),
            };
            let housekeeping = Housekeeping {
                home: node.home.clone(),
                role: node.cluster.node_type,
                registration: node.settings.registration,
                owner: node.owner,
                covered: covered.clone(),
                outlines,
                keyless: KEYLESS * node.settings.worker.sync_integrity,
                silence: database.silence,
                clock: node.clock.clone(),
            };
            let order = node.shutdown.clone();
            running.threads.spawn("housekeeping", move || housekeeping.run(&embedded, &order))?;
        }
        running.role.services().api.start(running.role.node(), &running.threads)?;
        running.stoppers.push(Box::new(registration.stopper()?));
        let master = match &running.role {
            Role::Master(master) => Some(master.clone()),
            Role::Worker(_) => None,
        };
        let outlines = master.as_ref().map(|master| master.local_integrity.outlines.clone());
        let registered = move |counter| master.iter().for_each(|master| master.registered(counter));
        registration.start(covered, outlines, registered, &running.threads)?;
        running.stoppers.push(Box::new(local.stopper()?));
        local.start(&running.role, &running.threads)?;
        if let Some(server) = observation {
            running.stoppers.push(server.stopper()?);
            server.start(&running.role, &running.threads)?;
        }
        if let Some(candidate) = running.role.node().candidate.clone() {
            candidate.start()?;
            let role = running.role.clone();
            let list =
                role.node().settings.failover.as_ref().map(|failover| failover.files.clone()).unwrap_or_default();
            if let (Role::Worker(worker), false) = (&role, list.is_empty()) {
                let worker = worker.clone();
                running.threads.spawn("failover-files", move || failover::files::run(&worker, &list))?;
            }
            running.threads.spawn("failover", move || match &role {
                Role::Master(master) => leader::run(master, &candidate),
                Role::Worker(worker) => follower::run(worker, &candidate),
            })?;
        }
        match &running.role {
            Role::Worker(worker) => worker.start(&running.threads)?,
            Role::Master(master) => {
                if let Some(listener) = listener {
                    running.address = listener.address().ok();
                    running.stoppers.push(Box::new(listener.stopper()?));
                    master.start(listener, &running.threads)?;
                }
            }
        }
        Ok(running)
    }
}

impl Database {
    fn new(Config { home, cluster, global, settings, .. }: &Config, clock: &Clock, metrics: &Metrics) -> Self {
        let (trigger, order) = shutdown::channel();
        let (seen, silence) = (|| metrics.database.clone(), global.disconnection_time(settings.version));
        if settings.agent_database.is_external(home, "wazuh-db") {
            let store = |limit| Store::new(Measured::new(WazuhDb::new(home, limit, &order), seen()));
            let (store, registrar_store) = (store(DATABASE), store(REGISTRAR_DATABASE));
            return Self { store, registrar_store, embedded: None, servers: None, silence, trigger };
        }
        let (embedded, owner) = Embedded::new(home.agent_database(), cluster.node_type, clock.clone(), order);
        let owner = owner.with_folders(home.shared_dir());
        let store = Store::new(Measured::new(embedded.clone(), seen()));
        let registrar_store = store.clone();
        Self { store, registrar_store, embedded: Some((embedded, owner)), servers: None, silence, trigger }
    }

    /// Binds the sockets of the embedded database.
    fn bind(&mut self, home: &Home) -> Result<(), String> {
        if self.embedded.is_none() {
            return Ok(());
        }
        let servers = Servers::bind(home).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    " If that one is to be used, write \"agent_database\": \"wazuh-db\" into etc/cluster.json"
                }
                _ => "",
            };
            format!("the agent database cannot be served: {error}.{remedy}")
        })?;
        self.servers = Some(servers);
        Ok(())
    }
}

impl Running {
    /// The address that a master listens at.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Told when the node is to run anew, because it is another one's master or worker from now on.
    pub fn changed(&self) -> &Receiver<()> {
        self.role.node().term.changed().channel()
    }

    /// What the node is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Puts these keys in force. Links under a key that is not among them are closed; a worker without a link tries them
    /// at once.
    pub fn change_keys(&self, keys: Keys) {
        let node = self.role.node();
        node.candidate.iter().for_each(|candidate| candidate.use_ciphers(keys.ciphers()));
        *node.keys.write() = Arc::new(keys);
        match &self.role {
            Role::Master(master) => {
                master.registry.workers().iter().for_each(|worker| node.check_key(&worker.connection))
            }
            Role::Worker(worker) => worker.keys_changed(),
        }
    }

    /// Stops the node and waits until its threads have ended; gives the number of those that have not in time.
    pub fn stop(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        let Some(trigger) = self.trigger.take() else { return 0 };
        drop(trigger);
        self.role.node().connections.stop();
        for stop in self.stoppers.drain(..) {
            stop();
        }
        let (grace, deadline) = (Instant::now() + LAST_WRITES, Instant::now() + STOP);
        let node = self.role.node();
        let groups = [&self.threads, node.connections.threads(), &node.requests, &node.local_requests];
        // What was taken from the agent database and not delivered is given back to it, so it is to be there till then.
        groups.iter().for_each(|group| _ = group.join(grace));
        drop(self.database.1.take());
        groups.iter().map(|group| group.join(deadline)).sum::<usize>() + self.database.0.join(deadline)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether a candidate runs as the master now. What earlier masters have answered is made to stand in client.keys first; if
/// that fails, another candidate is to have the role.
fn takes_over(candidate: &Candidate, Config { home, auth, settings, .. }: &Config, term: &Term, clock: &Clock) -> bool {
    if !candidate.acts() {
        return false;
    }
    if settings.registration.is_external(home, "wazuh-authd") {
        return true;
    }
    match inherit(home, auth, &candidate.inherit(), term.floor(), clock, &Disk::new()) {
        Ok(_) => candidate.acts(),
        Err(error) => {
            error!(
                scope("Cluster", "Failover"),
                "This node gives the role of the master back, because what was registered last cannot be written: {error}. Let \
                 there be room, and let the user of this daemon write to etc and queue."
            );
            candidate.give_back();
            false
        }
    }
}

fn bind(node: &Node) -> Result<Listener, String> {
    Listener::bind(node).map_err(|error| {
        let (address, port) = (&node.cluster.bind_addr, node.cluster.port);
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program listens there: stop it, or set another <port> on all nodes",
            io::ErrorKind::AddrNotAvailable => "; set <bind_addr> to an address of this machine, or to 0.0.0.0 for all",
            _ => "",
        };
        format!("Could not start master: cannot listen at {address}:{port}: {error}{hint}")
    })
}

/// The socket to monitor this node at. A cluster does not wait for them: without it, the node serves all the same.
fn observe(node: &Node) -> Option<observation::Server> {
    let listen = node.settings.metrics.listen.as_ref()?;
    let told = |error: &io::Error| {
        error!(
            scope("Cluster", "Metrics"),
            "Metrics listener disabled: {error}. Set metrics.listen in etc/cluster.json to a port that no other program \
             uses, or to a socket in a directory that this user may write to; then restart."
        );
    };
    observation::Server::bind(&node.home, listen).inspect_err(told).ok()
}

/// Completes or drops what an interrupted update left, then removes what this daemon had not yet put in the place of a file
/// when it was killed, and everything in `queue/cluster` but the socket, and the journal if it could not be dealt with.
fn clean(node: &Node) {
    let scope = scope("Cluster", "Main");
    let path = node.home.cluster_dir();
    let recovery = recover(node.home.path(), &node.items, &Disk::new());
    for problem in &recovery.problems {
        warn!(scope, "{problem}. The next integrity check repairs what is missing.");
    }
    if recovery.finished > 0 || recovery.leftovers > 0 {
        info!(
            scope,
            "An interrupted update was completed: {} changes made, {} temporary files removed.",
            recovery.finished,
            recovery.leftovers
        );
    }
    // All that is replaced outside of an update. Keys of agents may be in it.
    let home = &node.home;
    let registered = [home.client_keys(), home.highest_id(), home.agents_pending(), home.agents_timestamp()];
    for replaced in registered.into_iter().chain([home.known_nodes(), home.known_master(), home.term()]) {
        let path = replaced.display();
        match remove_leftover(&Disk::new(), &replaced) {
            Ok(true) => info!(scope, "A new content of {path}, which was not complete, was removed."),
            Ok(false) => {}
            Err(error) => warn!(
                scope,
                "A new content of {path} that an earlier run left cannot be removed: {error}. Remove the file beside it \
                 whose name begins with a dot and ends with .tmp."
            ),
        }
    }
    debug!(scope, "Removing '{}'.", path.display());
    let socket = node.home.control_socket();
    match directory::empty(&path, |name| name == JOURNAL || Some(name) == socket.file_name()) {
        Ok(()) => debug!(scope, "Removed '{}'.", path.display()),
        // It is in nobody's way; only its space is lost.
        Err(error) => {
            warn!(scope, "What an earlier run left in {} cannot be removed: {error}.", path.display())
        }
    }
}
