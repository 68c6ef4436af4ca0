//! The local agent-groups thread of the master: reads new assignments of agents to groups, once for all workers
//! (`spec/protocol.md` 12.1).
//!
//! Period: `master.sync_agent_groups` (10 s), the first time after `master.agent_group_start_delay` (30 s), and at once
//! when a worker has connected. Without a worker nothing is read.
//!
//! The database marks assignments as sent when it gives them out, so what was read is kept here until every worker has
//! it: a [`Log`] of turns, and for each worker by name the turn up to which it has everything. A worker that was away
//! gets what it missed; one of which nothing is known, or that was away for too long, gets the whole table.

mod log;

use std::{io, sync::Arc};

use ::log::Level;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

pub use self::log::{Log, Parcel};
use crate::{
    agents::Error,
    logging::{Repeats, Scope, debug, error, info, log, scope},
    master::{Member, Registry},
    metrics::Task,
    node::Node,
    system::{memory, thread::guard},
    tasks::message,
};

/// What the thread shares with those who send to the workers. The lock of the log is held for the time of a copy of
/// references only.
pub struct LocalAgentGroups {
    /// What was read, and who has it.
    pub log: Mutex<Log>,
    /// The names of all groups; the same memory as long as they are the same.
    names: Mutex<Arc<Vec<String>>>,
    wake: Sender<()>,
    woken: Receiver<()>,
}

impl Default for LocalAgentGroups {
    fn default() -> Self {
        let (wake, woken) = bounded(1);
        Self { log: Mutex::default(), names: Mutex::default(), wake, woken }
    }
}

impl LocalAgentGroups {
    /// Begins a turn at once: a worker has connected.
    pub fn wake(&self) {
        // One that is waiting already is enough.
        let _ = self.wake.try_send(());
    }

    /// The thread: runs until the node stops.
    pub fn run(self: &Arc<Self>, node: &Node, registry: &Registry) {
        let scope = scope("Master", "Local agent-groups");
        let delay = node.settings.master.agent_group_start_delay;
        info!(
            scope,
            "Sleeping {}s before starting the agent-groups task, waiting for the workers connection.",
            delay.as_secs_f64()
        );
        if !node.shutdown.sleep(&node.clock, delay) {
            return;
        }
        let told = Repeats::default();
        loop {
            let workers = registry.workers();
            if !workers.is_empty() {
                let begun = node.clock.now();
                let done = self.forgetting_failures(|| self.turn(node, &workers, &scope));
                if !matches!(done, Ok(Ok(()))) {
                    node.metrics.failed(Task::LocalAgentGroups);
                }
                match done {
                    Ok(Ok(())) => {
                        node.metrics.done(Task::LocalAgentGroups, node.clock.now() - begun);
                        told.clear();
                    }
                    Ok(Err(error)) => {
                        let text = format!("The assignments to groups cannot be read: {error}");
                        let level = told.level(Level::Error, &text, node.clock.now());
                        log!(scope, level, "{text}");
                    }
                    Err(panic) => error!(scope, "The turn failed: {panic}. Please report this."),
                }
                memory::give_back();
            }
            select! {
                recv(node.shutdown.channel()) -> _ => return,
                recv(self.woken) -> _ => (),
                recv(node.clock.after(node.settings.master.sync_agent_groups)) -> _ => (),
            }
        }
    }

    /// Does a turn. If it fails, whether by an error or a panic, some of what the database gave out may be lost.
    fn forgetting_failures(&self, turn: impl FnOnce() -> Result<(), Error>) -> Result<Result<(), Error>, String> {
        let done = guard(turn);
        if !matches!(done, Ok(Ok(()))) {
            self.log.lock().forget();
        }
        done
    }

    fn turn(self: &Arc<Self>, node: &Node, workers: &[Arc<Member>], scope: &Scope) -> Result<(), Error> {
        info!(scope, "Starting.");
        let begun = node.clock.now();
        let seconds = || node.clock.now().duration_since(begun).as_secs_f64();
        let changes = node.agents.take_group_changes()?;
        debug!(scope, "Obtained {} chunks of data in {:.3}s.", changes.chunks.len(), seconds());
        self.log.lock().push(changes);
        // One that knows too little gets everything, which is read once for all of these.
        let workers: Vec<_> = workers.iter().filter(|worker| worker.is_settled()).collect();
        let missing = |worker: &Arc<Member>| self.log.lock().lacks_history(&worker.hello.node);
        let whole = if workers.iter().any(|worker| missing(worker)) {
            Some(Arc::new(node.agents.all_groups(true)?.chunks))
        } else {
            None
        };
        let names = self.names(node)?;
        info!(scope, "Finished in {:.3}s.", seconds());
        for worker in workers {
            let tells = worker.features().groups && names.len() <= message::GROUPS;
            let names = tells.then(|| names.clone());
            if let Err(error) = worker.agent_groups.send_what_is_new(self, whole.clone(), names) {
                tell_not_started(scope, worker, &error);
            }
        }
        Ok(())
    }

    /// The names of all groups now.
    fn names(&self, node: &Node) -> Result<Arc<Vec<String>>, Error> {
        let names = node.agents.group_names()?;
        let mut known = self.names.lock();
        if **known != names {
            *known = Arc::new(names);
        }
        Ok(known.clone())
    }
}

fn tell_not_started(scope: &Scope, worker: &Member, error: &io::Error) {
    error!(scope, "Nothing can be sent to {} now: {error}. The next turn tries again.", worker.hello.node);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::Groups;

    /// Of case 6.9: what was given out and lost, whether by an error or a panic, is sent with the whole table.
    #[test]
    fn after_a_failed_turn_each_worker_gets_everything() {
        let failures: [fn() -> Result<(), Error>; 2] =
            [|| Err(Error::Unavailable("as ordered".into())), || panic!("as ordered")];
        for failure in failures {
            let local = LocalAgentGroups::default();
            let deliver = |log: &mut Log| {
                let whole = Arc::new(Vec::new());
                let parcel = log.parcel("w", Some(&whole)).unwrap();
                log.delivered("w", &parcel);
            };
            local.log.lock().push(Groups::default());
            deliver(&mut local.log.lock());
            assert_eq!(local.forgetting_failures(|| Ok(())), Ok(Ok(())));
            assert!(!local.log.lock().lacks_history("w"));
            assert_ne!(local.forgetting_failures(failure), Ok(Ok(())));
            assert!(local.log.lock().lacks_history("w"));
        }
    }
}
