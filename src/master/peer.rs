//! The master's end of a connection: hello, then the requests of a worker.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use log::Level;

use super::{Master, Member, join::Join, strangers::Place};
use crate::{
    config::settings::Native,
    connection::{Connection, FileLimits, Handler, IncomingFiles, PEER_CLOSED},
    files::{ChecksumKind, LONGEST_METADATA},
    limits::FILES,
    logging::{Scope, debug, info, log, scope, warn},
    metrics::Rejection,
    session::{self, Later, Transfers, hello, native, unknown_command},
    tasks::integrity::Applied,
    wire::{Command, ErrorObject, Hello, Message, Request, Routed},
};

/// The longest archive with the manifest of a worker: never longer than what it holds, but for its name.
const ARCHIVE_LIMIT: u64 = LONGEST_METADATA as u64 + 1024;

/// Handles the requests of one connection, first of a stranger, then of a worker.
pub struct Peer {
    master: Arc<Master>,
    address: SocketAddr,
    scope: Scope,
    /// Given back when its hello was judged.
    place: Option<Place>,
    /// Set by the thread that registers the worker.
    worker: Arc<OnceLock<Arc<Member>>>,
    said_hello: bool,
    /// Whether the first request after hello has come; the agreement of native nodes is only that one.
    begun: bool,
    transfers: Option<Transfers>,
    /// What it asks and what takes long.
    long: Later,
}

impl Peer {
    /// The end of a connection that was just accepted.
    pub fn new(master: Arc<Master>, address: SocketAddr, place: Place) -> Self {
        Self {
            master,
            address,
            scope: scope("Worker", "Main"),
            place: Some(place),
            worker: Arc::default(),
            said_hello: false,
            begun: false,
            transfers: None,
            long: Later::default(),
        }
    }
}

impl Handler for Peer {
    fn request(&mut self, connection: &Connection, message: Message) {
        let Message { counter, command, body, .. } = message;
        if let Some(worker) = self.worker.get().filter(|_| self.transfers.is_none()) {
            self.scope = scope_of(worker);
            self.transfers = Some(transfers(&self.master, worker));
        }
        debug!(self.scope, "Command received: b'{command}'");
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
                self.settle();
            }
            Request::Hello(hello) => self.hello(connection, counter, hello),
            _ => match (self.worker.get().cloned(), self.transfers.is_some()) {
                (Some(worker), true) => {
                    self.worker_request(connection, counter, &worker, &request, command);
                    self.settle();
                }
                _ => connection.refuse(counter, &ErrorObject::unexpected("say hello first")),
            },
        }
    }

    fn closed(&mut self, reason: &str) {
        match self.worker.get() {
            Some(worker) => {
                self.scope = scope_of(worker);
                self.master.node.waiting.lost(&worker.connection, reason);
                if self.master.leaves(worker, reason) {
                    // What it sent had no name, so the folder is empty; invented names are to leave no traces. A worker
                    // that has taken this one's place keeps it.
                    let _ = std::fs::remove_dir(self.master.node.home.node_dir(&worker.hello.node));
                }
                let level = if reason == PEER_CLOSED { Level::Info } else { Level::Warn };
                log!(worker.link_scope(), level, "Disconnected {}: {reason}.", worker.hello.node);
                info!(self.scope, "Cancelling pending tasks.");
            }
            // Who said hello and is no worker was refused, and that was told.
            None if self.said_hello => debug!(self.scope, "{} has left: {reason}.", self.address),
            None => self.master.left(self.address, reason, &self.scope),
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
            self.master.registry.refused(&hello.node, &error.to_string());
            return self.master.refuse(connection, counter, Rejection::of_hello(error.code), &error);
        }
        if hello.version != node.settings.version.to_string() {
            info!(
                self.scope,
                "{} states version {}, this node {}; both speak the same protocol.",
                hello.node,
                hello.version,
                node.settings.version
            );
        }
        let join = Join {
            master: self.master.clone(),
            connection: connection.clone(),
            counter,
            joined: self.worker.clone(),
            place: self.place.take(),
        };
        let worker = Member::new(
            hello,
            self.address.ip(),
            connection.clone(),
            self.master.integrity.clone(),
            self.master.daemons.clone(),
        );
        join.run(worker);
    }

    /// From the first request on that is not hello, the master may ask the worker.
    fn settle(&self) {
        if let Some(worker) = self.worker.get().filter(|worker| worker.settle()) {
            self.master.local_agent_groups.wake();
            worker.push(self.master.local_integrity.generation());
        }
    }

    fn worker_request(
        &mut self,
        connection: &Connection,
        counter: u32,
        worker: &Arc<Member>,
        request: &Request<'_>,
        command: crate::wire::CommandField,
    ) {
        let first = !std::mem::replace(&mut self.begun, true);
        if let (Request::Native(offer), true) = (request, first) {
            return self.agree(connection, counter, worker, offer);
        }
        if first && self.master.node.settings.link.native == Native::Require {
            let error = ErrorObject::cluster(3018, "this master takes native links only (cluster.json, link.native)");
            return self.master.refuse(connection, counter, Rejection::Native, &error);
        }
        let kind = worker.features().checksum();
        let integrity = &worker.integrity;
        let Some(transfers) = &mut self.transfers else { return };
        if transfers.request(connection, counter, request, integrity.expects_file()) {
            return;
        }
        match request {
            Request::AgentInfoPermission => {
                let granted = if worker.agent_info.permission() { "True" } else { "False" };
                connection.answer(counter, Command::Ok, granted);
            }
            Request::AgentInfo(id) => match worker.agent_info.store(id, transfers.strings.take(id)) {
                // The id of the string is that of the task too.
                Ok(()) => connection.answer(counter, Command::Ok, *id),
                Err(reason) => connection.refuse(counter, &ErrorObject::unexpected(reason)),
            },
            Request::AgentGroupsEnd { report, whole } => {
                connection.answer(counter, Command::Ok, "Thanks");
                worker.agent_groups.outcome(*whole, report, false);
            }
            Request::AgentGroupsFailed { reason, whole } => {
                connection.answer(counter, Command::Ok, "Thanks");
                worker.agent_groups.outcome(*whole, reason, true);
            }
            Request::AgentGroupsWanted => {
                let begun = worker.agent_groups.send_whole();
                let refused = |error: std::io::Error| ErrorObject::unexpected(error.to_string());
                connection.answer_with(counter, begun.map_err(refused));
            }
            Request::IntegrityPermission => {
                let granted = if integrity.permission(kind) { "True" } else { "False" };
                connection.answer(counter, Command::Ok, granted);
            }
            Request::IntegrityDigest(question) => match integrity.digest(question, kind) {
                Ok(answer) => connection.answer(counter, Command::Ok, answer),
                Err(error) => connection.refuse(counter, &error),
            },
            Request::IntegrityCheck(buckets) => {
                // What belongs to an earlier check and was never named is not wanted any more.
                transfers.files.clear();
                match integrity.start(worker.features(), buckets) {
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
            Request::IntegrityApplied(report) => match Applied::parse(report) {
                Ok(applied) => {
                    connection.answer(counter, Command::Ok, "Thanks");
                    integrity.applied(applied);
                }
                Err(malformed) => connection.refuse(counter, &ErrorObject::unexpected(malformed)),
            },
            Request::CancelTask { task, error } => {
                integrity.cancel(task, error);
                connection.answer(counter, Command::Ok, "Request received correctly");
            }
            Request::Nodes(arguments) => connection.answer_with(counter, self.master.nodes(arguments)),
            Request::Health(filter) => {
                let (master, filter) = (self.master.clone(), filter.to_vec());
                self.long.answer(&self.master.node.requests, connection, counter, move || master.health(&filter));
            }
            Request::Drift(question) => {
                let (master, question) = (self.master.clone(), question.to_vec());
                self.long.answer(&self.master.node.requests, connection, counter, move || master.drift(&question));
            }
            Request::SendSync(payload) => match Routed::parse(payload) {
                Ok(request) => {
                    connection.answer(counter, Command::Ok, "Added request to SendSync requests queue");
                    worker.send_sync.request(request);
                }
                Err(malformed) => connection.refuse(counter, &ErrorObject::unexpected(malformed.to_string())),
            },
            Request::Api(payload) => session::api::request(&self.master.node, connection, counter, payload),
            Request::ApiResult(result) => {
                let string = transfers.take_string(result.content);
                session::api::result(&self.master.node, connection, counter, result.name, string);
            }
            Request::ApiFailed(failure) => session::api::failed(&self.master.node, connection, counter, *failure),
            Request::Agents(question) => {
                let (store, question) = (self.master.node.agents.clone(), question.to_vec());
                self.long.answer(&self.master.node.requests, connection, counter, move || {
                    session::agents::page(&store, &question)
                });
            }
            Request::Keys => {
                let master = self.master.clone();
                self.long.answer(&self.master.node.requests, connection, counter, move || Ok(master.keys()));
            }
            _ => unknown_command(connection, counter, command),
        }
    }

    fn agree(&self, connection: &Connection, counter: u32, worker: &Member, offer: &[u8]) {
        let link = &self.master.node.settings.link;
        match native::answer(offer, &link.features) {
            Ok((features, payload)) if link.native != Native::Never => {
                worker.agree(features);
                debug!(self.scope, "Native link: {payload}");
                connection.answer(counter, Command::Ok, payload);
            }
            Ok(_) => connection.refuse(counter, &ErrorObject::unexpected("this node speaks the classic protocol only")),
            Err(error) => {
                warn!(self.scope, "No native link with this worker: {error}");
                let told = ErrorObject::unexpected(error.to_string());
                if link.native == Native::Require {
                    return self.master.refuse(connection, counter, Rejection::Native, &told);
                }
                connection.refuse(counter, &told);
            }
        }
        if worker.features().checksum() == ChecksumKind::Blake2b {
            self.master.local_integrity.manifest(ChecksumKind::Blake2b);
        }
    }
}

fn scope_of(worker: &Member) -> Scope {
    scope(&format!("Worker {}", worker.hello.node), "Main")
}

fn transfers(master: &Master, worker: &Member) -> Transfers {
    let name = &worker.hello.node;
    let limits = FileLimits { size: ARCHIVE_LIMIT, open: FILES };
    Transfers::new(IncomingFiles::new(master.node.home.cluster_dir(), format!("queue/cluster/{name}/"), limits))
}
