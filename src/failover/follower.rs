//! A candidate that is a worker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::select;
use log::Level;

use super::log_scope;
use crate::{
    election::{Candidate, Elected, Hindrance, NotElected},
    logging::{Repeats, info, log, warn},
    worker::Worker,
};

/// From one candidate in sync to the next: time for the first to claim the key.
const TURN: Duration = Duration::from_millis(300);

/// From one look to the next while there is no master.
const PAUSE: Duration = Duration::from_secs(1);

/// While there is a master the arbiter wakes the thread.
const LONG: Duration = Duration::from_secs(3600);

/// Runs until this node stops, or is to run anew as the master.
pub fn run(worker: &Arc<Worker>, candidate: &Arc<Candidate>) {
    if let Some(why) = candidate.fenced() {
        warn!(log_scope(), "This node is the master no more: {why}.");
    }
    // What is left of an office that this node had.
    candidate.resign();
    let (node, mut follower) = (
        &worker.node,
        Follower { worker, candidate, told: Repeats::default(), switched: 0, blind: false, sees_since: None },
    );
    while !candidate.acts() {
        let pause = follower.turn();
        select! {
            recv(node.shutdown.channel()) -> _ => return,
            recv(candidate.news()) -> _ => {}
            recv(node.clock.after(pause)) -> _ => {}
        }
    }
}

/// Whether a node has any keys of agents.
pub fn has_agents(worker: &Worker) -> bool {
    worker.node.home.client_keys().metadata().is_ok_and(|file| file.len() > 0)
}

struct Follower<'a> {
    worker: &'a Arc<Worker>,
    candidate: &'a Arc<Candidate>,
    told: Repeats,
    /// The last order to hand over that this node has followed.
    switched: u64,
    /// Whether etcd cannot be asked.
    blind: bool,
    /// Since when it can be asked again.
    sees_since: Option<Instant>,
}

impl Follower<'_> {
    /// Looks, and does what is due; gives how long to wait for the next look.
    fn turn(&mut self) -> Duration {
        let watched = self.candidate.watched();
        if let Some(failure) = watched.failure {
            self.blind = true;
            self.hindered(&Hindrance::Unreachable(failure.to_string()));
            return LONG;
        }
        if std::mem::take(&mut self.blind) {
            self.sees_since = Some(self.worker.node.clock.now());
        }
        let Some(view) = watched.view else { return LONG };
        if view.master.is_some() {
            return match self.candidate.chance(&self.worker.node.term, true) {
                Err(Hindrance::Taken(_)) => {
                    self.candidate.tell(None);
                    self.told.clear();
                    if let Some(order) = view.switch {
                        self.switch(&order);
                    }
                    LONG
                }
                Err(why) => {
                    self.hindered(&why);
                    PAUSE
                }
                // The watch has not seen yet that it is gone.
                Ok(_) => TURN,
            };
        }
        if self.candidate.is_by_hand() { PAUSE } else { self.claim() }
    }

    /// There is no master.
    fn claim(&self) -> Duration {
        let (node, candidate) = (&self.worker.node, self.candidate);
        let agents = has_agents(self.worker);
        let chance = match candidate.chance(&node.term, agents) {
            Ok(_) if !candidate.is_automatic() => {
                self.hindered(&Hindrance::NotAutomatic);
                return PAUSE;
            }
            Ok(chance) => chance,
            Err(why) => {
                self.hindered(&why);
                return PAUSE;
            }
        };
        // Where etcd was away, it is why the master is gone, who may be as well as ever: it is the first to try. Otherwise it is
        // dead, and nobody waits for it.
        let returned = self.sees_since.is_some_and(|since| node.clock.now() - since < 2 * candidate.ttl());
        let before = chance.rank + u32::from(chance.behind_former && returned);
        if !node.shutdown.sleep(&node.clock, TURN * before) {
            return PAUSE;
        }
        match candidate.stand(&node.term, agents, false) {
            Ok(Elected { term, former, inherited }) => {
                let before = if former.is_empty() { "nobody".to_owned() } else { former };
                info!(
                    log_scope(),
                    "This node is the master of term {term}; the master before was {before}, and {inherited} changes of agents are \
                     taken over from etcd."
                );
                candidate.changed().wake();
                LONG
            }
            Err(NotElected::Hindered(Hindrance::Taken(_))) => TURN,
            Err(NotElected::Hindered(why)) => {
                self.hindered(&why);
                candidate.give_back();
                PAUSE
            }
            Err(why) => {
                let text = format!("This node could not become the master: {why}");
                log!(log_scope(), self.told.level(Level::Error, &text, node.clock.now()), "{text}.");
                candidate.give_back();
                PAUSE
            }
        }
    }

    /// Lets everybody know why this node is not the master.
    fn hindered(&self, why: &Hindrance) {
        if *why == Hindrance::GaveBack {
            // Why it did, if that needs a person, was told.
            return;
        }
        self.candidate.tell(Some(why));
        let level = if why.is_usual() { Level::Debug } else { Level::Error };
        let text = format!("There is no master, and this node cannot be it: {why}");
        log!(log_scope(), self.told.level(level, &text, self.worker.node.clock.now()), "{text}.");
    }

    /// A person wants a candidate to be the master.
    fn switch(&mut self, order: &crate::arbiter::Entry) {
        let Ok(switch) = order.switch() else { return };
        if switch.to != self.worker.node.cluster.node_name || self.switched == order.changed {
            return;
        }
        self.switched = order.changed;
        match super::by_hand::promote(self.worker, self.candidate, false) {
            Ok(promoted) => {
                info!(log_scope(), "As ordered on {}, this node is the master of term {}.", switch.by, promoted.term);
                self.candidate.changed().wake();
            }
            Err(error) => warn!(log_scope(), "{} ordered this node to be the master: {error}.", switch.by),
        }
    }
}
