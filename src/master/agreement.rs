//! A worker that has said hello, until both ends know what the link speaks (`spec/native.md` 1).
//!
//! ```text
//! hello ─► native ─► a session: hello once more, sealed ─► it has its name
//!     │         └─► other features, or none ─┐
//!     └─► any other request ─────────────────┴─► the standard protocol, or refused if the name needs a session
//! ```
//! What was recorded of an earlier connection gets as far as `native`: the sealed hello needs the key now.

use log::Level;

use super::{Master, join::Join, session::WorkerSession};
use crate::{
    config::settings::Native,
    connection::{NOT_IN_TIME, PEER_CLOSED, Reply},
    files::ChecksumKind,
    logging::{debug, info, log, warn},
    metrics::Rejection,
    registry::ConnectedWorker,
    session::native::{Features, Invitation, Names, Taken},
    term::Claim,
    wire::{ErrorObject, Hello, Link, NotTaken, Request},
};

/// What is known of it.
pub struct Agreement {
    hello: Hello,
    /// Hello as it came.
    payload: Vec<u8>,
    /// None if this master invites nobody.
    invitation: Option<Invitation>,
    /// Why it gets its name by a session only; none if it has it already.
    needs: Option<Need>,
    /// What was agreed on, if there is a session that has not been proved yet.
    agreed: Option<Features>,
}

/// Why a name is given by a session only.
#[derive(Clone, Copy)]
enum Need {
    /// This master takes nothing else.
    Required,
    /// The name has had a session, so what is without one may be an old recording.
    Remembered,
}

impl Need {
    fn of(master: &Master, name: &str) -> Option<Self> {
        let link = &master.node.settings.link;
        match link.native {
            Native::Require => Some(Self::Required),
            Native::Auto if Features::permitted(link).session && master.registry.had_session(name) => {
                Some(Self::Remembered)
            }
            Native::Auto | Native::Never => None,
        }
    }

    fn error(self, name: &str) -> ErrorObject {
        ErrorObject::cluster(
            3018,
            match self {
                Self::Required => format!(
                    "this master accepts sessions only (cluster.json, link.native); let {name} run this daemon, with \
                     session in its link.features"
                ),
                Self::Remembered => format!(
                    "{name} has had a session with this master, and is not accepted without one; if it really runs the stock \
                     daemon, or an older release, now: 'cluster_control --forget {name}' on the master"
                ),
            },
        )
    }
}

impl Agreement {
    /// For a hello that is in order.
    ///
    /// # Errors
    /// When the system has no randomness and the name needs a session.
    pub fn new(master: &Master, hello: Hello, payload: &[u8]) -> Result<Self, ErrorObject> {
        let needs = Need::of(master, &hello.node);
        let invitation = match master.node.settings.link.native {
            Native::Never => Ok(None),
            Native::Auto | Native::Require => Invitation::new(payload, &added(&hello)).map(Some),
        };
        let invitation = invitation.or_else(|error| {
            warn!("[Worker] [Main]", "Cannot offer protocol extensions: {error}");
            if needs.is_some() { Err(ErrorObject::unexpected(error.to_string())) } else { Ok(None) }
        })?;
        Ok(Self { hello, payload: payload.to_vec(), invitation, needs, agreed: None })
    }

    /// The answer to its hello.
    pub fn answer(&self) -> String {
        self.invitation.as_ref().map_or_else(|| added(&self.hello), |invitation| invitation.text().to_owned())
    }

    /// Whether it has no name yet.
    pub fn is_waiting(&self) -> bool {
        self.needs.is_some()
    }

    /// Whether a sealed hello is the next that it has to send.
    pub fn is_unproven(&self) -> bool {
        self.agreed.is_some()
    }

    /// The connection has ended before it had its name.
    pub fn given_up(&self, master: &Master, address: &str, reason: &str) {
        master.node.metrics.rejected(Rejection::Session);
        let reason = match reason {
            PEER_CLOSED => "it closed the connection",
            NOT_IN_TIME => "its time was over",
            other => other,
        };
        let text = format!(
            "{address} said hello as {} and did not prove by a session that it has the key now: {reason}",
            self.hello.node
        );
        log!("[Worker] [Main]", master.told.level(Level::Warn, &text, master.node.clock.now()), "{text}.");
    }
}

/// What a stock master answers.
fn added(hello: &Hello) -> String {
    format!("Client {} added", hello.node)
}

impl WorkerSession {
    /// The first request behind hello, or one that should have been the proof of a session.
    pub(super) fn first(&mut self, agreement: Agreement, reply: Reply, request: Result<Request<'_>, NotTaken>) {
        match request {
            Ok(Request::Link(Link::Native(offer))) if !agreement.is_unproven() => self.agree(agreement, reply, offer),
            _ if agreement.is_unproven() || agreement.is_waiting() => self.refuse(reply, &agreement),
            request => self.serve(reply, request),
        }
    }

    fn agree(&mut self, mut agreement: Agreement, reply: Reply, offer: &[u8]) {
        let node = &self.master.node;
        let worker = self.joined.get();
        if worker.is_none() && !agreement.is_waiting() {
            self.agreement = Some(agreement);
            return reply.fail("hello is not answered yet");
        }
        let Some(invitation) = &agreement.invitation else {
            reply.fail("this node supports the standard protocol only");
            return self.settle();
        };
        let names = Names { cluster: &node.cluster.name, worker: &agreement.hello.node };
        let (cipher, features) = (reply.connection().cipher().cloned(), &node.settings.link.features);
        match invitation.answer(offer, features, cipher.as_ref(), names, &node.term.told()) {
            Ok(Taken { session: None, .. }) if agreement.is_waiting() => return self.refuse(reply, &agreement),
            Ok(Taken { seen: Some(seen), .. }) if node.term.is_later(&seen) => {
                return self.master.is_former(reply, &agreement.hello.node, &seen);
            }
            Ok(Taken { features, session, text, .. }) => {
                debug!(self.scope, "Native link: {text}");
                if let Some(worker) = worker {
                    worker.agree(features);
                }
                match session {
                    Some(session) => {
                        agreement.agreed = Some(features);
                        self.agreement = Some(agreement);
                        reply.ok_then_seal(text, session);
                    }
                    None => reply.ok(text),
                }
            }
            Err(error) => {
                warn!(self.scope, "No protocol extensions with {}: {error}", agreement.hello.node);
                if agreement.is_waiting() {
                    return self.refuse(reply, &agreement);
                }
                reply.fail(error);
            }
        }
        if self.joined.get().is_some_and(|worker| worker.features().checksum() == ChecksumKind::Blake2b) {
            self.master.local_integrity.manifest(ChecksumKind::Blake2b);
        }
        self.settle();
    }

    /// Hello has come a second time. In a session this is what counts: nobody can have recorded it.
    pub(super) fn prove(&mut self, agreement: Agreement, reply: Reply, payload: &[u8]) {
        let features = agreement.agreed.filter(|_| reply.connection().in_session() && payload == agreement.payload);
        let Some(features) = features else { return self.refuse(reply, &agreement) };
        let answer = added(&agreement.hello);
        if let Some(worker) = self.joined.get() {
            worker.prove();
            self.master.remember(worker);
            reply.ok(answer);
            return self.settle();
        }
        let worker = self.master.worker(agreement.hello, self.address.ip(), reply.connection());
        worker.agree(features);
        worker.prove();
        let (master, joined, place) = (self.master.clone(), self.joined.clone(), self.place.take());
        Join { master, reply, joined, place, answer }.run(worker);
    }

    /// No session came about where one is needed.
    fn refuse(&self, reply: Reply, agreement: &Agreement) {
        let name = &agreement.hello.node;
        let error = match agreement.needs {
            Some(need) => need.error(name),
            None => ErrorObject::cluster(3018, "the first request of a session is hello, as it was before"),
        };
        if agreement.is_waiting() {
            self.master.registry.refused(name, &error.to_string());
        }
        self.master.refuse(reply, Rejection::Session, &error);
    }
}

impl Master {
    /// Refuses a worker that has seen a later master than this one. Its word alone is no proof; whether there is such a master
    /// is looked up where this node may trust an answer.
    fn is_former(&self, reply: Reply, worker: &str, seen: &Claim) {
        let Claim { term, master } = seen;
        let error = ErrorObject::cluster(
            3018,
            format!(
                "{worker} has seen {master} as the master of term {term}, and this one has term {}; if {master} is not to be the \
                 master any more: 'cluster_control --promote --force' here",
                self.node.term.claim().term
            ),
        );
        self.node.term.hear(seen);
        self.registry.refused(worker, &error.to_string());
        self.refuse(reply, Rejection::Session, &error);
    }

    /// `worker` has proved by a session that it has the key now.
    pub(super) fn remember(&self, worker: &ConnectedWorker) {
        if self.registry.remember_session(worker) {
            let name = &worker.hello.node;
            info!(
                worker.link_scope(),
                "{name} has a session, and is not accepted without one from now on. If it is to run the stock daemon again: \
                 'cluster_control --forget {name}' on this master."
            );
        }
    }
}
