//! The master's end of a connection: hello, then the requests of a worker.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use log::Level;

use super::{Master, agreement::Agreement, join::Join, served::Served, strangers::Place};
use crate::{
    connection::{Handler, PEER_CLOSED, Reply},
    logging::{Scope, debug, info, log, scope},
    metrics::Rejection,
    registry::ConnectedWorker,
    session::hello,
    system::disk::Disk,
    wire::{Asker, Command, Hello, Link, Message, NotTaken, Payload, Request},
};

/// Handles the requests of one connection, first of a stranger, then of a worker.
pub struct WorkerSession {
    pub(super) master: Arc<Master>,
    pub(super) address: SocketAddr,
    pub(super) scope: Scope,
    /// Given back when its hello was judged, or its session proved.
    pub(super) place: Option<Place>,
    said_hello: bool,
    /// From its hello on, until both ends know what they speak.
    pub(super) agreement: Option<Agreement>,
    /// Set by the thread that registers the worker.
    pub(super) joined: Arc<OnceLock<Arc<ConnectedWorker>>>,
    /// From the first request after that.
    served: Option<Served>,
}

impl WorkerSession {
    /// The end of a connection that was just accepted.
    pub fn new(master: Arc<Master>, address: SocketAddr, place: Place) -> Self {
        Self {
            master,
            address,
            scope: scope("Worker", "Main"),
            place: Some(place),
            said_hello: false,
            agreement: None,
            joined: Arc::default(),
            served: None,
        }
    }
}

impl Handler for WorkerSession {
    fn request(&mut self, reply: Reply, message: Message) {
        self.notice_worker();
        let Message { command, body, .. } = message;
        debug!(self.scope, "Command received: b'{command}'");
        let is_known = self.served.is_some() || self.agreement.is_some();
        let asker = if is_known { Asker::Worker } else { Asker::Stranger };
        match Request::parse(asker, command, &body) {
            Ok(Request::Link(Link::Echo)) => reply.ok(body),
            Ok(Request::Link(Link::EchoClient)) => self.keep_alive(reply, body),
            Ok(Request::Link(Link::Hello(payload))) => self.hello(reply, payload),
            request => match self.agreement.take() {
                Some(agreement) => self.first(agreement, reply, request),
                None => self.serve(reply, request),
            },
        }
    }

    fn closed(&mut self, reason: &str) {
        self.notice_worker();
        match self.joined.get() {
            Some(worker) => {
                self.master.services.waiting.lost(&worker.connection, reason);
                if self.master.registry.leaves(&self.master.node, worker, reason) {
                    // What it sent had no name, so the folder is empty; invented names are to leave no traces. A worker
                    // that has taken this one's place keeps it.
                    let (folder, disk) = (self.master.node.home.node_dir(&worker.hello.node), Disk::new());
                    let _ = disk.place(&folder).and_then(|(above, name)| disk.remove_directory(above, name));
                }
                let level = if reason == PEER_CLOSED { Level::Info } else { Level::Warn };
                log!(worker.link_scope(), level, "Disconnected {}: {reason}.", worker.hello.node);
                info!(self.scope, "Cancelling pending tasks.");
            }
            None if let Some(agreement) = &self.agreement => {
                agreement.given_up(&self.master, &self.address.ip().to_string(), reason);
            }
            // Who said hello and is no worker was refused, and that was told.
            None if self.said_hello => debug!(self.scope, "{} has left: {reason}.", self.address),
            None => self.master.left(self.address, reason, &self.scope),
        }
    }
}

impl WorkerSession {
    fn notice_worker(&mut self) {
        if self.served.is_none()
            && let Some(worker) = self.joined.get()
        {
            let served = Served::new(self.master.clone(), worker.clone());
            self.scope = served.scope().clone();
            self.served = Some(served);
        }
    }

    fn keep_alive(&mut self, reply: Reply, body: Vec<u8>) {
        if let Some(Served { worker, .. }) = &self.served {
            worker.keep_alive(&self.master.node.clock);
        }
        reply.answer(Command::OkMaster, body);
        // It counts as a request, after which nothing can be agreed on.
        self.agreement.take_if(|agreement| !agreement.is_waiting() && !agreement.is_unproven());
        self.settle();
    }

    /// Answers a request when it is clear what the link speaks.
    pub(super) fn serve(&mut self, reply: Reply, request: Result<Request<'_>, NotTaken>) {
        match (request, &mut self.served) {
            (Err(why), _) => reply.not_taken(why),
            (Ok(request), Some(served)) => served.request(reply, request),
            // Only a worker can have asked it.
            (Ok(_), None) => reply.not_taken(NotTaken::SayHelloFirst),
        }
        self.settle();
    }

    fn hello(&mut self, reply: Reply, payload: &[u8]) {
        if let Some(agreement) = self.agreement.take_if(|agreement| agreement.is_unproven()) {
            return self.prove(agreement, reply, payload);
        }
        let hello = match Hello::read(payload) {
            Ok(hello) => hello,
            Err(malformed) => return reply.fail(malformed),
        };
        if self.said_hello {
            return reply.fail("hello was said before");
        }
        self.said_hello = true;
        let node = &self.master.node;
        let rules = hello::Rules {
            master: &node.cluster.node_name,
            cluster: &node.cluster.name,
            version: node.settings.version,
            accept_patch_versions: node.settings.link.accept_patch_versions,
            allowed: node.settings.link.allows_node(&hello.node),
        };
        if let Err(error) = hello::check(&hello, &rules) {
            self.master.registry.refused(&hello.node, &error.to_string());
            return self.master.refuse(reply, Rejection::of_hello(error.code), &error);
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
        let agreement = match Agreement::new(&self.master, hello.clone(), payload) {
            Ok(agreement) => agreement,
            Err(error) => return self.master.refuse(reply, Rejection::Internal, &error),
        };
        let (answer, is_waiting) = (agreement.answer(), agreement.is_waiting());
        self.agreement = Some(agreement);
        if is_waiting {
            return reply.ok(answer);
        }
        let worker = self.master.worker(hello, self.address.ip(), reply.connection());
        let (master, joined, place) = (self.master.clone(), self.joined.clone(), self.place.take());
        Join { master, reply, joined, place, answer }.run(worker);
    }

    /// From the first request on that is not hello, the master may ask the worker.
    pub(super) fn settle(&self) {
        if let Some(Served { worker, .. }) = &self.served
            && self.agreement.is_none()
        {
            self.master.settle(worker);
        }
    }
}
