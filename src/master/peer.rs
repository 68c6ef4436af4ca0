//! The master's end of a connection: hello, then the requests of a worker.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use log::{debug, error, info, warn};

use super::{Master, Worker, registry::NotRegistered, strangers::Place};
use crate::{
    config::settings::Native,
    connection::{Connection, FileLimits, Handler, IncomingFiles, PEER_CLOSED},
    files::ChecksumKind,
    logging::{Scope, scope},
    session::{Transfers, hello, native, unknown_command},
    wire::{Command, ErrorObject, Hello, Message, Request},
};

/// The longest archive with the manifest of a worker.
const ARCHIVE_LIMIT: u64 = 256 * 1024 * 1024;

/// How long a connected worker may take to prove that it lives when another claims its name.
const PROOF_OF_LIFE: Duration = Duration::from_secs(2);

/// Handles the requests of one connection, first of a stranger, then of a worker.
pub struct Peer {
    master: Arc<Master>,
    address: SocketAddr,
    scope: Scope,
    /// Given back when the hello was accepted.
    place: Arc<parking_lot::Mutex<Option<Place>>>,
    /// Set by the thread that registers the worker.
    worker: Arc<OnceLock<Arc<Worker>>>,
    said_hello: bool,
    /// Whether the first request after hello has come; the agreement of native nodes is only that one.
    begun: bool,
    transfers: Option<Transfers>,
}

impl Peer {
    /// The end of a connection that was just accepted.
    pub fn new(master: Arc<Master>, address: SocketAddr, place: Place) -> Self {
        Self {
            master,
            address,
            scope: scope("Worker", "Main"),
            place: Arc::new(parking_lot::Mutex::new(Some(place))),
            worker: Arc::default(),
            said_hello: false,
            begun: false,
            transfers: None,
        }
    }
}

impl Handler for Peer {
    fn request(&mut self, connection: &Connection, message: Message) {
        let Message { counter, command, body } = message;
        if let Some(worker) = self.worker.get().filter(|_| self.transfers.is_none()) {
            self.scope = scope(&format!("Worker {}", worker.hello.node), "Main");
            self.transfers = Some(transfers(&self.master, worker));
        }
        debug!(target: &*self.scope, "Command received: b'{command}'");
        let request = match Request::parse(command, &body) {
            Ok(request) => request,
            Err(malformed) => {
                return connection.refuse(counter, &ErrorObject::unexpected(malformed.to_string()));
            }
        };
        match request {
            Request::Echo => {
                drop(request);
                connection.answer(counter, Command::Ok, body);
            }
            Request::EchoClient => {
                drop(request);
                if let Some(worker) = self.worker.get() {
                    worker.keep_alive(&self.master.node.clock);
                }
                connection.answer(counter, Command::OkMaster, body);
            }
            Request::Hello(hello) => self.hello(connection, counter, hello),
            _ => match (self.worker.get().cloned(), self.transfers.is_some()) {
                (Some(worker), true) => self.worker_request(connection, counter, &worker, &request, command),
                _ => connection.refuse(counter, &ErrorObject::unexpected("say hello first")),
            },
        }
    }

    fn closed(&mut self, reason: &str) {
        match self.worker.get() {
            Some(worker) => {
                self.master.registry.remove(worker);
                if reason == PEER_CLOSED {
                    debug!(target: &*self.scope, "Disconnected {}.", worker.hello.node);
                } else {
                    warn!(target: &*self.scope, "Disconnected {}: {reason}.", worker.hello.node);
                }
                info!(target: &*self.scope, "Cancelling pending tasks.");
            }
            // A load balancer that looks whether the port is open does this all day.
            None if !self.said_hello && reason == PEER_CLOSED => {
                debug!(target: &*self.scope, "{} has left.", self.address)
            }
            None if self.said_hello => info!(target: &*self.scope, "{} has left: {reason}.", self.address),
            None => warn!(target: &*self.scope, "{} has left without being accepted: {reason}.", self.address),
        }
    }
}

impl Peer {
    fn hello(&mut self, connection: &Connection, counter: u32, hello: Hello) {
        if self.said_hello {
            return connection.refuse(counter, &ErrorObject::unexpected("hello was said before"));
        }
        self.said_hello = true;
        let node = &self.master.node;
        let rules = hello::Rules {
            master: &node.cluster.node_name,
            cluster: &node.cluster.name,
            version: node.settings.version,
            accept_patch_versions: node.settings.link.accept_patch_versions,
        };
        if let Err(error) = hello::check(&hello, &rules) {
            return refuse(connection, counter, &error, &self.scope);
        }
        if hello.version != node.settings.version.to_string() {
            info!(
                target: &*self.scope,
                "{} states version {}, this node {}; both speak the same protocol.",
                hello.node, hello.version, node.settings.version
            );
        }
        let join = Join {
            master: self.master.clone(),
            connection: connection.clone(),
            counter,
            joined: self.worker.clone(),
            place: self.place.clone(),
            scope: self.scope.clone(),
        };
        let worker = Worker::new(hello, self.address.ip(), connection.clone(), self.master.integrity.clone());
        join.run(worker);
    }

    fn worker_request(
        &mut self,
        connection: &Connection,
        counter: u32,
        worker: &Arc<Worker>,
        request: &Request<'_>,
        command: crate::wire::CommandField,
    ) {
        let first = !std::mem::replace(&mut self.begun, true);
        if let (Request::Native(offer), true) = (request, first) {
            return self.agree(connection, counter, worker, offer);
        }
        if first && self.master.node.settings.link.native == Native::Require {
            let error = ErrorObject::cluster(3018, "this master takes native links only (cluster.json, link.native)");
            return refuse(connection, counter, &error, &self.scope);
        }
        let kind = worker.features().checksum();
        let integrity = &worker.integrity;
        let Some(transfers) = &mut self.transfers else { return };
        if transfers.request(connection, counter, request, integrity.expects_file()) {
            return;
        }
        match request {
            Request::IntegrityPermission => {
                let granted = if integrity.permission(kind) { "True" } else { "False" };
                connection.answer(counter, Command::Ok, granted);
            }
            Request::IntegrityCheck => {
                // What belongs to an earlier check and was never named is not wanted any more.
                transfers.files.clear();
                match integrity.start(kind) {
                    Ok(task) => connection.answer(counter, Command::Ok, task),
                    Err(error) => connection.refuse(counter, &error),
                }
            }
            Request::IntegrityCheckEnd(ended) => {
                if !integrity.knows(ended.task) {
                    return connection.refuse(counter, &ErrorObject::cluster(3027, ended.task));
                }
                let Some(file) = transfers.files.take(ended.path) else {
                    let path = String::from_utf8_lossy(ended.path);
                    return connection.refuse(counter, &ErrorObject::cluster(3027, format!("no such file: {path}")));
                };
                connection.answer(counter, Command::Ok, "File correctly received");
                integrity.arrived(ended.task, String::from_utf8_lossy(ended.path).into_owned(), file);
            }
            Request::IntegrityCheckFailed { task, error } => {
                transfers.files.clear();
                integrity.failed(task, error);
                connection.answer(counter, Command::Ok, "Error received");
            }
            Request::CancelTask { task, error } => {
                integrity.cancel(task, error);
                connection.answer(counter, Command::Ok, "Request received correctly");
            }
            Request::Nodes(arguments) => tell(connection, counter, self.master.nodes(arguments)),
            Request::Health(filter) => tell(connection, counter, self.master.health(filter)),
            _ => unknown_command(connection, counter, command),
        }
    }

    fn agree(&self, connection: &Connection, counter: u32, worker: &Worker, offer: &[u8]) {
        let link = &self.master.node.settings.link;
        match native::answer(offer, &link.features) {
            Ok((features, payload)) if link.native != Native::Never => {
                worker.agree(features);
                debug!(target: &*self.scope, "Native link: {payload}");
                connection.answer(counter, Command::Ok, payload);
            }
            Ok(_) => connection.refuse(counter, &ErrorObject::unexpected("this node speaks the classic protocol only")),
            Err(error) => {
                warn!(target: &*self.scope, "No native link with this worker: {error}");
                let told = ErrorObject::unexpected(error.to_string());
                if link.native == Native::Require {
                    return refuse(connection, counter, &told, &self.scope);
                }
                connection.refuse(counter, &told);
            }
        }
        if worker.features().checksum() == ChecksumKind::Blake2b {
            self.master.local_integrity.manifest(ChecksumKind::Blake2b);
        }
    }
}

/// Registers a worker whose hello is in order.
struct Join {
    master: Arc<Master>,
    connection: Connection,
    counter: u32,
    joined: Arc<OnceLock<Arc<Worker>>>,
    place: Arc<parking_lot::Mutex<Option<Place>>>,
    scope: Scope,
}

impl Join {
    fn run(self, worker: Arc<Worker>) {
        let limit = self.master.node.settings.link.max_workers as usize;
        match self.master.registry.add(&worker, limit) {
            Ok(()) => self.welcome(worker),
            Err(NotRegistered::Full) => {
                let error = ErrorObject::cluster(
                    3018,
                    format!("{limit} workers are connected (cluster.json, link.max_workers)"),
                );
                refuse(&self.connection, self.counter, &error, &self.scope);
            }
            Err(NotRegistered::NameTaken(other)) => {
                let (connection, counter, scope) = (self.connection.clone(), self.counter, self.scope.clone());
                let requests = self.master.node.requests.clone();
                // The reader does not wait for an answer, so somebody else asks the other connection.
                if let Err(error) = requests.spawn("hello", move || self.replace_ghost(&other, worker)) {
                    refuse(&connection, counter, &ErrorObject::unexpected(error.to_string()), &scope);
                }
            }
        }
    }

    /// A connection whose other end is gone may look alive for a long time. It keeps its name only if it answers.
    fn replace_ghost(self, other: &Arc<Worker>, worker: Arc<Worker>) {
        if other.connection.request_within(PROOF_OF_LIFE, Command::EchoMaster, "alive?").is_ok() {
            return refuse(
                &self.connection,
                self.counter,
                &ErrorObject::cluster(3028, worker.hello.node.clone()),
                &self.scope,
            );
        }
        warn!(
            target: &*self.scope,
            "The connection of {} from {} is dead; the new one from {} takes its place.",
            worker.hello.node, other.address, worker.address
        );
        other.connection.close("a new connection of the same worker has taken its place");
        self.master.registry.remove(other);
        match self.master.registry.add(&worker, usize::MAX) {
            Ok(()) => self.welcome(worker),
            Err(_) => refuse(
                &self.connection,
                self.counter,
                &ErrorObject::cluster(3028, worker.hello.node.clone()),
                &self.scope,
            ),
        }
    }

    fn welcome(self, worker: Arc<Worker>) {
        let node = &self.master.node;
        let name = &worker.hello.node;
        let mut answer = format!("Client {name} added");
        if node.settings.link.native != Native::Never {
            match native::nonce() {
                Ok(nonce) => answer.push_str(&native::invitation(&nonce)),
                Err(error) => warn!(target: &*self.scope, "No native link can be offered: {error}"),
            }
        }
        let directory = node.home.node_dir(name);
        if let Err(error) = crate::system::directory::create(&directory, 0o770) {
            self.master.registry.remove(&worker);
            error!(target: &*self.scope, "{} cannot be created: {error}", directory.display());
            let error = ErrorObject::unexpected(format!("the master has no place for this worker's files: {error}"));
            return refuse(&self.connection, self.counter, &error, &self.scope);
        }
        // From here on the reader serves it as a worker; so all this comes before the answer.
        self.connection.accept();
        drop(self.place.lock().take());
        let _ = self.joined.set(worker.clone());
        if self.connection.is_closed() {
            // It left while it was being registered, and its end has been handled already.
            return self.master.registry.remove(&worker);
        }
        self.connection.answer(self.counter, Command::Ok, answer);
    }
}

fn transfers(master: &Master, worker: &Worker) -> Transfers {
    let name = &worker.hello.node;
    let limits = FileLimits { size: ARCHIVE_LIMIT, open: 2 };
    Transfers::new(IncomingFiles::new(master.node.home.node_dir(name), format!("queue/cluster/{name}/"), limits))
}

fn tell(connection: &Connection, counter: u32, result: Result<String, ErrorObject>) {
    match result {
        Ok(json) => connection.answer(counter, Command::Ok, json),
        Err(error) => connection.refuse(counter, &error),
    }
}

/// Refuses the peer as a whole: it gets the error, and then the connection ends.
fn refuse(connection: &Connection, counter: u32, error: &ErrorObject, scope: &Scope) {
    error!(target: &**scope, "{} is refused: {error}", connection.peer());
    connection.refuse(counter, error);
    connection.close_after_answers("it was refused");
}
