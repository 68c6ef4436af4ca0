//! The master's half: hands requests of workers to the programs of its manager, and sends the answers back.

use std::sync::Arc;

use log::{debug, warn};

use super::{
    Daemons,
    daemons::{Answered, DAEMONS, Message},
    lane::Lane,
    program::failure,
};
use crate::{
    connection::{Connection, send_string},
    logging::{Scope, scope},
    node::Node,
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
    lanes: [Lane; DAEMONS],
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
        let (this, to) = (self.clone(), origin.clone());
        let work = move || match this.daemons.ask(daemon, &content) {
            Answered::Answer(answer) => this.answer(&to, &answer),
            Answered::Nothing(reason) => this.refuse(&to, &reason),
            Answered::Unknown(reason) => {
                warn!(target: &*this.scope, "A request of this worker may have been done or not: {reason}");
                this.answer(&to, &failure(&reason));
            }
        };
        if let Err(reason) = self.lanes[daemon as usize].add(&self.node.requests, work) {
            self.refuse(&origin, &reason);
        }
    }

    fn answer(&self, origin: &str, answer: &[u8]) {
        let sent = send_string(&self.connection, answer.len(), answer)
            .and_then(|id| self.connection.request(Command::SendSyncResult, Routed::payload(origin, id.as_bytes())));
        if let Err(error) = sent {
            warn!(target: &*self.scope, "An answer could not be sent to this worker: {error}");
        }
    }

    fn refuse(&self, origin: &str, reason: &str) {
        debug!(target: &*self.scope, "A request was refused: {reason}");
        if !self.connection.tell(Command::SendSyncFailed, Routed::payload(origin, reason.as_bytes())) {
            warn!(target: &*self.scope, "This worker does not take what it is told, that is: {reason}");
        }
    }
}
