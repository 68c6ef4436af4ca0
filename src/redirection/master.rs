//! The master's half: hands requests of workers to the programs of its manager, and sends the answers back.

use std::sync::Arc;

use log::Level;

use super::{
    Daemons,
    daemons::{Answered, DAEMONS, Daemon, Message},
    lane::Lane,
    program::failure,
};
use crate::{
    connection::{Connection, send_string},
    limits::Share,
    logging::{Scope, error, log, scope, warn},
    node::Node,
    system::thread::guard,
    wire::{Command, Routed},
};

/// What one connected worker asks of the programs of the master's manager.
///
/// Requests to one program keep their order; a slow program holds up neither other programs nor other workers.
pub struct SendSync {
    node: Arc<Node>,
    daemons: Arc<Daemons>,
    connection: Connection,
    scope: Scope,
    lanes: [Lane<Job>; DAEMONS],
}

struct Job {
    origin: String,
    content: Vec<u8>,
    _share: Share,
}

impl SendSync {
    /// For a worker that has just been accepted.
    pub fn new(node: Arc<Node>, daemons: Arc<Daemons>, worker: &str, connection: Connection) -> Arc<Self> {
        let scope = scope(&format!("Worker {worker}"), "SendSync");
        Arc::new(Self { node, daemons, connection, scope, lanes: Default::default() })
    }

    /// `sendsync`, which was acknowledged already: never waits.
    pub fn request(self: &Arc<Self>, request: Routed<'_>) {
        let origin = request.name.to_owned();
        let Message { daemon, content } = match Message::parse(request.content) {
            Ok(message) => message,
            Err(reason) => return self.refuse(&origin, &reason),
        };
        let Ok(share) = self.connection.try_hold(content.len()) else {
            return self.refuse(&origin, "this node holds too much for its peers already");
        };
        match self.lane(daemon).add(Job { origin, content, _share: share }) {
            Ok(false) => {}
            Ok(true) => self.start(daemon),
            Err(job) => self.refuse(&job.origin, "too many requests of this node wait for the same program already"),
        }
    }

    fn lane(&self, daemon: Daemon) -> &Lane<Job> {
        &self.lanes[daemon as usize]
    }

    fn start(self: &Arc<Self>, daemon: Daemon) {
        let this = self.clone();
        let run = move || {
            this.lane(daemon).empty(|jobs| {
                if let Err(panic) = guard(|| this.carry_out(daemon, jobs)) {
                    error!(this.scope, "A redirected request failed: {panic}. Please report this.");
                }
            });
        };
        if let Err(error) = self.node.requests.spawn("sendsync", run) {
            let reason = format!("no thread can be started: {error}");
            self.lane(daemon).give_up().iter().for_each(|job| self.refuse(&job.origin, &reason));
        }
    }

    /// All are handed in before the first is waited for.
    fn carry_out(&self, daemon: Daemon, jobs: Vec<Job>) {
        let begin = |Job { origin, content, .. }| (origin, self.daemons.begin(daemon, content));
        let begun: Vec<_> = jobs.into_iter().map(begin).collect();
        for (origin, wait) in begun {
            match wait() {
                Answered::Answer(answer) => self.answer(&origin, &answer),
                Answered::Nothing(reason) => self.refuse(&origin, &reason),
                Answered::Unknown(reason) => {
                    self.tell(Level::Warn, &format!("A request of this worker may have been done or not: {reason}"));
                    self.answer(&origin, &failure(&reason));
                }
            }
        }
    }

    fn answer(&self, origin: &str, answer: &[u8]) {
        let sent = send_string(&self.connection, answer.len(), answer)
            .and_then(|id| self.connection.request(Command::SendSyncResult, Routed::payload(origin, id.as_bytes())));
        if let Err(error) = sent {
            warn!(self.scope, "An answer could not be sent to this worker: {error}");
        }
    }

    fn tell(&self, level: Level, text: &str) {
        let level = self.daemons.told.level(level, text, self.node.clock.now());
        log!(self.scope, level, "{text}");
    }

    fn refuse(&self, origin: &str, reason: &str) {
        self.tell(Level::Error, &format!("A request of this worker could not be done: {reason}"));
        if !self.connection.tell(Command::SendSyncFailed, Routed::payload(origin, reason.as_bytes())) {
            warn!(self.scope, "Could not deliver an error to this worker: {reason}");
        }
    }
}
