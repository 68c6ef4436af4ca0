//! The local agent-groups thread of the master: reads new assignments of agents to groups, once for all workers
//! (`spec/protocol.md` 12.1).
//!
//! Period: `master.sync_agent_groups` (10 s), the first time after `master.agent_group_start_delay` (30 s), and at once
//! when a worker has connected; a second after an agent was registered. A worker that runs this daemon is served before that
//! delay is over. Nothing is read while there is no connected worker whose link is settled.
//!
//! The database marks assignments as sent when it gives them out, so what was read is kept here until every worker has
//! it: a [`Log`] of turns, and for each worker by name the turn up to which it has everything. A worker that was away
//! gets what it missed; one of which nothing is known, or that was away for too long, gets the whole table.

mod log;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::select;
use parking_lot::Mutex;

pub use self::log::{Log, Parcel};
use crate::{
    agents::{Error, Store},
    logging::{debug, error, info, scope},
    metrics::Task,
    node::Node,
    system::{memory, wakeup::Wakeup},
    tasks::message,
    turn::Turns,
};

/// The database leaves out agents that were registered in the present second, so they can be read so much later.
pub const THIS_SECOND: Duration = Duration::from_millis(1100);

/// A worker to which assignments go.
pub trait Recipient {
    /// The name of the worker.
    fn name(&self) -> &str;

    /// Whether it is to know the names of all groups.
    fn takes_group_names(&self) -> bool;

    /// Whether it is a node of this daemon, which is told what it lacks at once.
    fn is_native(&self) -> bool;

    /// Sends what it does not have yet, without waiting: `whole` is there if it may need the whole table, `names`, those of
    /// all groups, if it takes them.
    ///
    /// # Errors
    /// When no thread can be started.
    fn send(
        &self,
        local: &Arc<LocalAgentGroups>,
        whole: Option<Arc<Vec<String>>>,
        names: Option<Arc<Vec<String>>>,
    ) -> io::Result<()>;
}

/// What the thread shares with the threads that send to the workers. The lock of the log is held for the time of a copy of
/// references only.
#[derive(Default)]
pub struct LocalAgentGroups {
    /// What was read, and which worker has it.
    pub log: Mutex<Log>,
    /// The names of all groups; the same memory as long as they are the same.
    names: Mutex<Arc<Vec<String>>>,
    wakeup: Wakeup,
    registered: Wakeup,
}

impl LocalAgentGroups {
    /// Begins a turn at once: a worker has connected.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    /// Agents have been registered: a turn is to come as soon as they can be read, however many come until then.
    pub fn registered(&self) {
        self.registered.wake();
    }

    /// The thread: runs until the node stops. `connected` gives the workers whose link is settled.
    pub fn run<W: Recipient>(self: &Arc<Self>, node: &Node, agents: &Store, connected: impl Fn() -> Vec<W>) {
        let turns = node.turns(Task::LocalAgentGroups, scope("Master", "Local agent-groups"));
        let delay = node.settings.master.agent_group_start_delay;
        info!(
            turns.scope(),
            "Sleeping {}s before starting the agent-groups task, waiting for the workers connection.",
            delay.as_secs_f64()
        );
        let begins = node.clock.now() + delay;
        // When what was registered can be read.
        let mut readable: Option<Instant> = None;
        loop {
            let early = begins.checked_duration_since(node.clock.now()).filter(|left| !left.is_zero());
            let mut workers = connected();
            // What the delay waits for are reconnecting workers; one that is told what it missed is not among them.
            workers.retain(|worker| early.is_none() || worker.is_native());
            if !workers.is_empty() {
                self.forgetting_failures(&turns, || self.turn(agents, &turns, &workers));
                memory::give_back();
            }
            // One that leaves meanwhile is not to keep its connection.
            drop(workers);
            let next = node.clock.now() + early.unwrap_or(node.settings.master.sync_agent_groups);
            loop {
                let due = readable.map_or(next, |readable| readable.min(next));
                select! {
                    recv(node.shutdown.channel()) -> _ => return,
                    recv(self.wakeup.channel()) -> _ => break,
                    recv(self.registered.channel()) -> _ => {
                        readable.get_or_insert_with(|| node.clock.now() + THIS_SECOND);
                    }
                    recv(node.clock.after(due.saturating_duration_since(node.clock.now()))) -> _ => {
                        readable = None;
                        break;
                    }
                }
            }
        }
    }

    /// Runs a turn. If it fails, whether by an error or a panic, some of what the database gave out may be lost.
    fn forgetting_failures(&self, turns: &Turns, turn: impl FnOnce() -> Result<(), Error>) {
        let unreadable = |error| format!("The assignments to groups cannot be read: {error}");
        let done = turns.run_damped(|_| true, || turn().map_err(unreadable));
        if done.is_err() {
            self.log.lock().forget();
        }
    }

    fn turn(self: &Arc<Self>, agents: &Store, turns: &Turns, workers: &[impl Recipient]) -> Result<(), Error> {
        let begun = turns.start();
        self.log.lock().begin();
        let changes = agents.take_group_changes()?;
        let took = turns.since(begun).as_secs_f64();
        debug!(turns.scope(), "Obtained {} chunks of data in {took:.3}s.", changes.chunks.len());
        self.log.lock().push(changes);
        // One that knows too little gets everything, which is read once for all of these.
        let lacks_history = |worker: &&_| self.log.lock().lacks_history(Recipient::name(*worker));
        let whole = match workers.iter().find(lacks_history) {
            Some(_) => Some(Arc::new(agents.all_groups(true)?.chunks)),
            None => None,
        };
        let names = self.names(agents)?;
        turns.finish_uncounted(begun, "");
        for worker in workers {
            let takes_names = worker.takes_group_names() && names.len() <= message::GROUPS;
            if let Err(error) = worker.send(self, whole.clone(), takes_names.then(|| names.clone())) {
                let name = worker.name();
                error!(turns.scope(), "Nothing can be sent to {name} now: {error}. The next turn tries again.");
            }
        }
        turns.done(begun);
        Ok(())
    }

    /// The names of all groups now.
    fn names(&self, agents: &Store) -> Result<Arc<Vec<String>>, Error> {
        let names = agents.group_names()?;
        let mut known = self.names.lock();
        if **known != names {
            *known = Arc::new(names);
        }
        Ok(known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agents::Groups, metrics::Metrics, system::clock::Clock};

    /// Of case 6.9: what was given out and lost, whether by an error or a panic, is sent with the whole table.
    #[test]
    fn after_a_failed_turn_each_worker_gets_everything() {
        let metrics = Arc::new(Metrics::new(&Clock::real()));
        let turns = Turns::new(Task::LocalAgentGroups, scope("a", "b"), &metrics, &Clock::real());
        let failures: [fn() -> Result<(), Error>; 2] =
            [|| Err(Error::Unavailable("as ordered".into())), || panic!("as ordered")];
        for (before, failure) in failures.into_iter().enumerate() {
            let local = LocalAgentGroups::default();
            let deliver = |log: &mut Log| {
                let whole = Arc::new(Vec::new());
                let parcel = log.parcel("w", Some(&whole)).unwrap();
                log.delivered("w", &parcel);
            };
            local.log.lock().push(Groups::default());
            deliver(&mut local.log.lock());
            let count = || metrics.task(Task::LocalAgentGroups).failures.get();
            local.forgetting_failures(&turns, || Ok(()));
            assert_eq!((local.log.lock().lacks_history("w"), count()), (false, before as u64));
            local.forgetting_failures(&turns, failure);
            assert_eq!((local.log.lock().lacks_history("w"), count()), (true, before as u64 + 1));
        }
    }
}
