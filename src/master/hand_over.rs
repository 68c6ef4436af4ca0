//! This master gives way to a worker that is equal to it (`spec/native.md` 5).
//!
//! Between `hand_over_p` and `hand_over` the registrar rests, so what the worker has to have does not grow. If the worker
//! goes, or takes too long, all goes on as before.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::json;

use super::{Master, Snapshot};
use crate::{
    connection::Connection,
    logging::{Scope, info, scope, warn},
    registration::{Given, Resting},
    registry::ConnectedWorker,
    system::json,
    term::{Claim, Promoted},
    wire::ErrorObject,
};

/// How long the registrar may take to end what it does.
const REST: Duration = Duration::from_secs(10);

/// How long a worker may be silent, from `hand_over_p` on.
const SILENCE: Duration = Duration::from_secs(5);

/// How long all of it may take.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a worker has to read that it is the master.
const READING: Duration = Duration::from_secs(2);

/// A hand-over that is under way.
#[derive(Default)]
pub struct HandOver(Mutex<Option<UnderWay>>);

struct UnderWay {
    to: Connection,
    /// When the worker has asked last.
    asked: Instant,
    /// None if the ids are given by the stock enrolment daemon.
    given: Option<Given>,
    /// What the worker is to have: all of this node, since the registrar rests.
    snapshot: Snapshot,
    _rest: Option<Resting>,
}

impl Master {
    /// The answer to `hand_over_p` of `worker`. It waits for the registrar and a scan.
    ///
    /// # Errors
    /// When this worker may not become the master, or another is about to.
    pub(super) fn prepare(self: &Arc<Self>, worker: &Arc<ConnectedWorker>) -> Result<String, ErrorObject> {
        let name = &worker.hello.node;
        if !worker.connection.in_session() || !worker.features().term {
            return Err(refused("only over a session, and with 'term' in link.features"));
        }
        if let Some(candidate) = &self.node.candidate {
            if !candidate.names().contains(name) {
                return Err(refused(format!(
                    "{name} is none of failover.candidates of the master; name it there, on all of them"
                )));
            }
        } else if !self.is_listed(worker) {
            return Err(refused(format!(
                "{} is none of the <nodes> of the master, so no worker would look for its master there; name all nodes that \
                 may be the master in <nodes> of every node",
                worker.address
            )));
        }
        let rest = self.services.registrar.rest();
        let given = rest.as_ref().map(|rest| self.given(rest)).transpose()?;
        // Also what nobody is told of: there is no later look at this master's files.
        self.local_integrity.scan(worker.features().checksum());
        let snapshot = self.snapshot(worker.features().checksum());
        let to = worker.connection.clone();
        let under_way = UnderWay { to, asked: snapshot.taken, given, snapshot, _rest: rest };
        {
            let mut slot = self.hand_over.0.lock();
            if slot.as_ref().is_some_and(|other| !other.to.is_closed()) {
                return Err(refused("another worker is about to be the master"));
            }
            *slot = Some(under_way);
        }
        self.forget_in_time(worker)?;
        info!(log_scope(), "{name} is to be the master. Nothing is registered until it has all that this node has.");
        self.push(worker, &snapshot);
        Ok("Prepared".to_owned())
    }

    /// Waits until the registrar rests.
    fn given(&self, rest: &Resting) -> Result<Given, ErrorObject> {
        let given = crossbeam_channel::select! {
            recv(rest.given) -> given => given.ok(),
            recv(self.node.clock.after(REST)) -> _ => None,
        };
        match given {
            Some(given) if given.is_told => Ok(given),
            Some(_) => Err(refused(
                "the agent database does not take what was registered last; 'logs/cluster.log' of the master tells why",
            )),
            None => Err(refused("the registrar does not come to rest; the disk of client.keys may be slow")),
        }
    }

    /// If nothing comes of it, all goes on as before.
    fn forget_in_time(self: &Arc<Self>, worker: &Arc<ConnectedWorker>) -> Result<(), ErrorObject> {
        let (this, connection, name) = (self.clone(), worker.connection.clone(), worker.hello.node.clone());
        let forget = move || {
            loop {
                crossbeam_channel::select! {
                    recv(connection.closed()) -> _ => (),
                    recv(this.node.clock.after(SILENCE)) -> _ => (),
                    recv(this.node.shutdown.channel()) -> _ => return,
                }
                let (now, mut slot) = (this.node.clock.now(), this.hand_over.0.lock());
                let silent = |other: &UnderWay| {
                    let since = |moment| now.saturating_duration_since(moment);
                    since(other.asked) >= SILENCE || since(other.snapshot.taken) >= LONGEST
                };
                match slot.as_ref().filter(|other| other.to.is(&connection)) {
                    Some(other) if !connection.is_closed() && !silent(other) => {}
                    Some(_) if this.node.term.leads() => {
                        *slot = None;
                        drop(slot);
                        return warn!(log_scope(), "{name} did not become the master. This node goes on.");
                    }
                    _ => return,
                }
            }
        };
        self.node.requests.spawn("hand-over", forget).map_err(|error| {
            *self.hand_over.0.lock() = None;
            ErrorObject::unexpected(error.to_string())
        })
    }

    /// The answer to `hand_over` of `worker`: what is missing there, or that it is the master; then this node runs anew when
    /// the worker has read that. It waits for the disk or, of a candidate, for the arbiter.
    ///
    /// # Errors
    /// When it was not prepared, or the change cannot be written down; this node stays the master.
    pub(super) fn hand_over(&self, worker: &ConnectedWorker, claim: &[u8]) -> Result<String, ErrorObject> {
        let name = &worker.hello.node;
        let claim: Claim = serde_json::from_slice(claim).map_err(|error| refused(format!("the claim: {error}")))?;
        let next = Claim { term: self.node.term.claim().term + 1, master: name.clone() };
        if claim != next {
            return Err(refused(format!(
                "the next term is {}, of {name}; it claims that of {}, of {}",
                next.term, claim.term, claim.master
            )));
        }
        let begun = self.under_way(worker, |under_way| {
            under_way.asked = self.node.clock.now();
            (under_way.given, under_way.snapshot)
        });
        let Some((given, mut snapshot)) = begun else {
            return Err(refused("the hand-over was not begun, or has taken too long; this node stays the master"));
        };
        let missing = self.missing(worker, &mut snapshot);
        self.under_way(worker, |under_way| under_way.snapshot = snapshot);
        if let Some(missing) = missing {
            return Ok(json::text(&json!({"missing": missing})));
        }
        let term = claim.term;
        match &self.node.candidate {
            // It claims the key of the master when this node has given it back.
            Some(candidate) => candidate
                .set_in_sync(&[name.clone(), self.node.cluster.node_name.clone()])
                .map_err(|failure| refused(format!("etcd does not take that {name} is to follow: {failure}")))?,
            None => {
                self.node.term.step_down(&claim).map_err(|error| {
                    refused(format!("the master cannot write queue/cluster-state/term.json: {error}"))
                })?
            }
        }
        info!(log_scope(), "{name} is the master of term {term}. This node follows it.");
        self.give_way(worker);
        Ok(json::text(&json!({"term": term, "ids": given.map(|given| given.highest)})))
    }

    /// Looks at what is under way for this worker; none if nothing is.
    fn under_way<T>(&self, worker: &ConnectedWorker, look: impl FnOnce(&mut UnderWay) -> T) -> Option<T> {
        let mut slot = self.hand_over.0.lock();
        slot.as_mut().filter(|under_way| under_way.to.is(&worker.connection)).map(look)
    }

    /// What a worker has not yet that this node has; none if it has all.
    fn missing(&self, worker: &ConnectedWorker, snapshot: &mut Snapshot) -> Option<String> {
        let status = worker.integrity.status();
        if !self.is_published(snapshot) {
            return Some("the last change of a file has not been published".to_owned());
        }
        let has_groups = self.has_groups(worker, snapshot);
        if status.behind_since.is_some() || status.standing.since.is_none() {
            let behind = status.standing.behind;
            return Some(format!(
                "of the files, {} are to be created, {} updated, {} deleted",
                behind.create, behind.update, behind.delete
            ));
        }
        (!has_groups).then(|| "the groups of the agents have not all arrived".to_owned())
    }

    /// The worker has been told: this node runs anew as soon as the worker has read it.
    fn give_way(&self, worker: &ConnectedWorker) {
        let (node, connection) = (self.node.clone(), worker.connection.clone());
        let wait = move || {
            crossbeam_channel::select! {
                recv(connection.closed()) -> _ => (),
                recv(node.clock.after(READING)) -> _ => (),
            }
            node.candidate.iter().for_each(|candidate| candidate.give_back());
            node.term.changed().wake();
        };
        if self.node.requests.spawn("give-way", wait).is_err() {
            self.node.term.changed().wake();
        }
    }

    /// Whether the address of a worker is one of the `<nodes>`: no other may become the master, whatever it knows.
    fn is_listed(&self, worker: &ConnectedWorker) -> bool {
        let cluster = &self.node.cluster;
        // A single one is this master, or a proxy in front of it, from which all workers come.
        cluster.nodes.len() > 1 && cluster.lists(worker.address)
    }

    /// A person says that this node, which is the master, is the master of a new term.
    ///
    /// # Errors
    /// When it is not asked for by force, or cannot be written down.
    pub fn promote(&self, force: bool) -> Result<Promoted, ErrorObject> {
        let (term, heard) = (&self.node.term, self.node.term.heard());
        if !force {
            return Err(refused(format!("this node is the master already, of term {}", term.claim().term)));
        }
        if self.node.candidate.is_some() {
            return Err(refused("this node is the master, and has the key of that at etcd; there is nothing to force"));
        }
        let next = heard.term + 1;
        term.lead(next, None).map_err(|error| refused(format!("queue/cluster-state/term.json: {error}")))?;
        warn!(log_scope(), "By force, this node is the master of term {next}.");
        let lost = format!("what {} has alone is not here; it sets that aside when it follows this node", heard.master);
        let master = self.node.cluster.node_name.clone();
        let lost = (heard.master != master).then_some(lost);
        Ok(Promoted { master, term: next, former: heard.master, lost })
    }
}

fn refused(text: impl Into<String>) -> ErrorObject {
    ErrorObject::cluster(3000, text.into())
}

fn log_scope() -> Scope {
    scope("Cluster", "Term")
}
