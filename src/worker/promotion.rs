//! This worker is to be the master (`spec/native.md` 5).
//!
//! ```text
//! hand_over_p ─► the master lets nothing change any more
//! hand_over   ─► not yet: what is missing here … ─► the term, and which ids were given: the master follows from now on
//! ```

use std::{io, time::Duration};

use serde::Deserialize;

use super::Worker;
use crate::{
    connection::{Connection, RequestError},
    logging::{Scope, info, scope, warn},
    system::{clock::utc, json},
    term::{Claim, Promoted},
    wire::{Command, ErrorObject},
};

/// How long this worker may take to become equal.
const PATIENCE: Duration = Duration::from_secs(30);

/// From one question to the next, while it is not.
const PAUSE: Duration = Duration::from_millis(50);

/// What the master answers to `hand_over`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Done { term: u64, ids: Option<u32> },
    NotYet { missing: String },
}

impl Worker {
    /// Makes this node the master from its next run on: the present one hands over when this node has all that it has or,
    /// by force, is not asked.
    ///
    /// # Errors
    /// Why not, and what to do; nothing has changed then, unless the text says so.
    pub fn promote(&self, force: bool) -> Result<Promoted, ErrorObject> {
        if force {
            return self.take_over();
        }
        let (term, ids) = self.be_handed_over()?;
        self.lead(term, ids, None)
    }

    /// Has the master hand over when this node has all that it has. Gives the next term, and which ids were given; none if
    /// those are not known.
    ///
    /// # Errors
    /// Why not, and what to do; the master stays the master, unless the text says otherwise.
    pub fn be_handed_over(&self) -> Result<(u64, Option<u32>), ErrorObject> {
        let link = self.master.read();
        let (master, features) = link.as_ref().map(|link| (link.master.clone(), link.features)).ok_or_else(|| {
            let reason = self.failure.read().clone().unwrap_or_default();
            refused(format!(
                "there is no connection to the master ({reason}); if it is lost: 'cluster_control --promote --force'"
            ))
        })?;
        drop(link);
        if !features.term {
            return Err(refused(
                "the master cannot hand over: it runs the stock daemon or an earlier release, or its link.features has no \
                 'term'; stop it, then 'cluster_control --promote --force'",
            ));
        }
        ask(&master, Command::Prepare, String::new())?;
        let (former, name) = (self.node.term.claim(), self.node.cluster.node_name.clone());
        let claim = json::text(&Claim { term: former.term + 1, master: name });
        let until = self.node.clock.now() + PATIENCE;
        loop {
            let answer = ask(&master, Command::HandOver, claim.clone())?;
            match serde_json::from_slice(&answer)
                .map_err(|error| refused(format!("the master answered nonsense: {error}")))?
            {
                Answer::Done { term, ids } => return Ok((term, ids)),
                Answer::NotYet { missing } if self.node.clock.now() >= until => {
                    return Err(refused(format!(
                        "this node is not equal to the master after {} s: {missing}; the master stays the master",
                        PATIENCE.as_secs()
                    )));
                }
                Answer::NotYet { .. } if self.node.shutdown.sleep(&self.node.clock, PAUSE) => {}
                Answer::NotYet { .. } => return Err(refused("this node stops")),
            }
        }
    }

    fn take_over(&self) -> Result<Promoted, ErrorObject> {
        if self.ttl.read().is_some() {
            return Err(refused(
                "the master of this cluster is elected by etcd, and this node is no candidate: it would be a second master. Add it \
                 to failover in cluster.json of all candidates; or, if failover was removed there, restart this daemon, and try again",
            ));
        }
        let heard = self.node.term.heard();
        let standing = self.files.state.lock().standing;
        let equal = match (standing.verified, standing.since) {
            (Some(_), Some(_)) => format!("this node was equal to it until {}", utc(*self.lost.read())),
            (Some(_), None) => "this node was not equal to it at the end".to_owned(),
            (None, _) => "this node has not been equal to it since its start".to_owned(),
        };
        let lost = format!(
            "what {} has changed or registered since then is not here ({equal}); it sets that aside when it follows this node",
            if heard.master.is_empty() { "the former master" } else { &heard.master }
        );
        self.lead(heard.term + 1, None, Some(lost))
    }

    fn lead(&self, term: u64, ids: Option<u32>, lost: Option<String>) -> Result<Promoted, ErrorObject> {
        let (node, former) = (&self.node, self.node.term.claim().master);
        node.term.lead(term, ids).map_err(|error| not_written(&error, lost.is_none()))?;
        match &lost {
            None => info!(log_scope(), "{former} has handed over: this node is the master of term {term}."),
            Some(lost) => warn!(log_scope(), "By force, this node is the master of term {term}: {lost}."),
        }
        Ok(Promoted { master: node.cluster.node_name.clone(), term, former, lost })
    }
}

fn ask(master: &Connection, command: Command, payload: String) -> Result<Vec<u8>, ErrorObject> {
    master.request(command, payload).map_err(|error| match error {
        RequestError::Refused(object) => object,
        // Whether the master has given way is not known; it is the only one that may begin again.
        error if command == Command::HandOver => refused(format!(
            "the master did not answer ({error}); if it follows this node now ('cluster_control -i' on it), or is gone: \
             'cluster_control --promote --force' here"
        )),
        error => refused(format!("the master did not answer: {error}; it stays the master")),
    })
}

fn refused(text: impl Into<String>) -> ErrorObject {
    ErrorObject::cluster(3000, text.into())
}

fn not_written(error: &io::Error, has_given_way: bool) -> ErrorObject {
    let what = "queue/cluster-state/term.json cannot be written";
    refused(match has_given_way {
        true => format!(
            "{what}: {error}. The master has given way already: make room, then 'cluster_control --promote --force' here"
        ),
        false => format!("{what}: {error}"),
    })
}

fn log_scope() -> Scope {
    scope("Cluster", "Term")
}
