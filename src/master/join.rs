//! Hello accepted: the worker gets its place in the registry.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use log::Level;

use super::{Master, strangers::Place};
use crate::{
    connection::{PEER_CLOSED, Reply},
    logging::{error, info, log, warn},
    metrics::Rejection,
    registry::{ConnectedWorker, NotRegistered},
    system::{directory, random},
    wire::{Command, ErrorObject},
};

/// Who speaks of a worker that is not one yet.
const SCOPE: &str = "[Worker] [Main]";

/// Why the connection of a worker ends that has another.
const REPLACED: &str = "a new connection of the same worker has taken its place";

/// How long a connected worker may take to prove that it lives when another claims its name.
const PROOF_OF_LIFE: Duration = Duration::from_secs(2);

/// Registers a worker whose hello is in order.
pub struct Join {
    pub master: Arc<Master>,
    pub reply: Reply,
    pub joined: Arc<OnceLock<Arc<ConnectedWorker>>>,
    /// What its hello is answered with.
    pub answer: String,
    /// Given back before the worker learns that it is accepted, so that the next stranger finds it free.
    pub place: Option<Place>,
}

impl Join {
    /// Registers the worker and answers its hello, now or when the worker that has its name has been asked.
    pub fn run(self, worker: Arc<ConnectedWorker>) {
        if self.master.is_overruled() {
            let error =
                ErrorObject::cluster(3000, "this node is a former master, and cannot follow the present one yet");
            return self.refuse(Rejection::Internal, &error);
        }
        let limit = self.master.node.settings.link.max_workers as usize;
        match self.master.registry.add(&worker, limit) {
            Ok(()) => self.welcome(worker),
            Err(NotRegistered::Full) => {
                let error = ErrorObject::cluster(
                    3018,
                    format!("{limit} workers are connected (cluster.json, link.max_workers)"),
                );
                self.master.registry.refused(&worker.hello.node, &error.to_string());
                self.refuse(Rejection::Full, &error);
            }
            Err(NotRegistered::NameTaken(other)) => {
                let requests = self.master.node.requests.clone();
                // The reader does not wait for an answer, so another thread asks the other connection.
                let ask = move |this: Self| this.replace_ghost(&other, worker);
                if let Err((error, this)) = requests.spawn_with("hello", self, ask) {
                    this.refuse(Rejection::System, &ErrorObject::unexpected(error.to_string()));
                }
            }
        }
    }

    /// A connection whose other end is gone may look alive for a long time. It keeps its name only if it answers.
    fn replace_ghost(self, other: &Arc<ConnectedWorker>, worker: Arc<ConnectedWorker>) {
        if lives(other) {
            return self.refuse(Rejection::NameTaken, &taken(&worker));
        }
        // One that has ended meanwhile was no ghost: the worker was restarted.
        if !other.connection.is_closed() {
            warn!(
                SCOPE,
                "The connection of {} from {} is dead; the new one from {} takes its place.",
                worker.hello.node,
                other.address,
                worker.address
            );
        }
        other.connection.close(REPLACED);
        self.master.registry.leaves(&self.master.node, other, REPLACED);
        match self.master.registry.add(&worker, usize::MAX) {
            Ok(()) => self.welcome(worker),
            Err(_) => self.refuse(Rejection::NameTaken, &taken(&worker)),
        }
    }

    fn refuse(self, why: Rejection, error: &ErrorObject) {
        self.master.refuse(self.reply, why, error);
    }

    fn welcome(self, worker: Arc<ConnectedWorker>) {
        let node = &self.master.node;
        let name = &worker.hello.node;
        let directory = node.home.node_dir(name);
        if let Err(error) = directory::create(&directory, 0o770) {
            error!(SCOPE, "{} cannot be created: {error}", directory.display());
            let error = ErrorObject::unexpected(format!("the master has no place for this worker's files: {error}"));
            self.master.registry.leaves(node, &worker, &error.to_string());
            return self.refuse(Rejection::Internal, &error);
        }
        // From here on the reader serves it as a worker; so all this comes before the answer.
        let connection = self.reply.connection();
        connection.accept();
        let _ = self.joined.set(worker.clone());
        node.check_key(connection);
        if connection.is_closed() {
            // It left while it was being registered, and its end has been handled already.
            self.master.registry.leaves(node, &worker, PEER_CLOSED);
            return;
        }
        info!(
            worker.link_scope(),
            "Connected {} from {}, version {}.",
            worker.hello.node,
            connection.peer(),
            worker.hello.version
        );
        drop(self.place);
        let session = connection.in_session();
        self.reply.ok(self.answer);
        if session {
            // Nothing is left to be agreed on.
            self.master.remember(&worker);
            self.master.settle(&worker);
        }
    }
}

/// Whether the peer of a connection answers a new question: an answer that was recorded has not its text. One that has not
/// proved its session cannot be asked, and holds no name.
fn lives(other: &ConnectedWorker) -> bool {
    let question = format!("alive? {}", random::uuid());
    let ask = || other.connection.request_within(PROOF_OF_LIFE, Command::EchoMaster, question.as_bytes());
    !other.is_unproven() && ask().is_ok_and(|answer| answer == question.as_bytes())
}

fn taken(worker: &ConnectedWorker) -> ErrorObject {
    let name = &worker.hello.node;
    ErrorObject::cluster(3028, format!("{name}; give each node a <node_name> of its own"))
}

impl Master {
    /// Refuses a peer as a whole: it gets the error, and then the connection ends. The log tells the same refusal of the
    /// same address once, because a worker comes back every few seconds.
    pub(super) fn refuse(&self, reply: Reply, why: Rejection, error: &ErrorObject) {
        let connection = reply.connection().clone();
        self.node.metrics.rejected(why);
        let address = connection.peer().rsplit_once(':').map_or(connection.peer(), |(address, _)| address);
        let level = self.told.level(Level::Error, &format!("{address} {error}"), self.node.clock.now());
        log!(SCOPE, level, "{} is refused: {error}", connection.peer());
        reply.refuse(error);
        connection.close_after_answers(&format!("it was refused: {error}"));
    }
}
