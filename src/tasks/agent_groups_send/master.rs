//! The master's half: sends what is new, and the whole table when the worker asks for it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::Level;
use parking_lot::Mutex;

use super::{SET_COMMAND, SET_PAYLOAD};
use crate::{
    agents::{self, Store},
    connection::{Connection, send_string},
    logging::{debug, scope, warn},
    metrics::Task,
    node::Node,
    system::{json, memory, random},
    tasks::{
        local_agent_groups::LocalAgentGroups,
        message,
        report::{Outcome, Report, outcome},
        span::Span,
    },
    turn::Turns,
    wire::Command,
};

/// How often in a row what a worker's database refused is sent again. A group may be known there a little later than
/// the assignment to it: its folder comes with the next integrity check.
const TRIES: u32 = 6;

/// How long a worker that compares the hash by itself is not told the same again.
const QUIET: Duration = Duration::from_secs(60);

/// Why assignments were not sent, or not stored. They do not count as delivered: the next turn of the local agent-groups
/// thread sends them again.
#[derive(Debug, thiserror::Error)]
enum GroupsNotSent {
    #[error("The assignments to groups cannot be read: {0}")]
    Unreadable(#[from] agents::Error),
    #[error("The worker has not stored the assignments to groups: {0}. They are sent again.")]
    NotStored(String),
}

/// The agent groups of one connected worker.
pub struct AgentGroups {
    node: Arc<Node>,
    agents: Store,
    worker: String,
    connection: Connection,
    /// What is new, and the whole table.
    ways: [Way; 2],
    /// When the whole table was asked for last.
    asked: Mutex<Option<Instant>>,
    /// The names of all groups that were sent to the worker last.
    groups: Mutex<Option<Arc<Vec<String>>>>,
    /// What it has stored last.
    stored: Mutex<Option<Known>>,
}

/// What a worker has stored, and when.
#[derive(Clone)]
struct Known {
    parts: Vec<Arc<Vec<String>>>,
    when: Instant,
}

/// One of the two ways, with its own commands and dates.
struct Way {
    turns: Turns,
    command: Command,
    state: Mutex<WayState>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
}

#[derive(Default)]
struct WayState {
    busy: bool,
    /// Messages in a row of which the worker refused something.
    refused: u32,
    last: LastSent,
}

/// What `get_health` reports of a way.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastSent {
    /// When something was sent last.
    pub span: Span,
    /// The chunks that the worker stored then.
    pub chunks: usize,
}

impl AgentGroups {
    /// For a worker that has just been accepted.
    pub fn new(node: Arc<Node>, agents: Store, worker: &str, connection: Connection) -> Arc<Self> {
        let way = |task, subtag: &str, command| Way {
            turns: node.turns(task, scope(&format!("Worker {worker}"), subtag)),
            command,
            state: Mutex::default(),
            outcomes: bounded(1),
        };
        let ways = [
            way(Task::AgentGroups, "Agent-groups send", Command::AgentGroups),
            way(Task::AgentGroupsFull, "Agent-groups send full", Command::AgentGroupsWhole),
        ];
        Arc::new(Self {
            node,
            agents,
            worker: worker.to_owned(),
            connection,
            ways,
            asked: Mutex::default(),
            groups: Mutex::default(),
            stored: Mutex::default(),
        })
    }

    /// For `get_health`: what is new, and the whole table.
    pub fn last(&self) -> [LastSent; 2] {
        [0, 1].map(|way| self.ways[way].state.lock().last)
    }

    /// `syn_w_g_e` and its like: what became of a message.
    pub fn outcome(&self, whole: bool, payload: &[u8], failed: bool) {
        // The thread waits for one at a time.
        let _ = self.way(whole).outcomes.0.try_send(outcome(payload, failed));
    }

    /// Sends what the worker does not have yet, unless that is being done; `whole` is there if it may be needed, `names`,
    /// those of all groups, if the worker is to know them. One that is `quiet` is rarely told the same again.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn send_what_is_new(
        self: &Arc<Self>,
        local: &Arc<LocalAgentGroups>,
        whole: Option<Arc<Vec<String>>>,
        names: Option<Arc<Vec<String>>>,
        quiet: bool,
    ) -> io::Result<()> {
        if quiet && self.knows_all(local, names.as_ref()) {
            return Ok(());
        }
        let local = local.clone();
        self.begin(false, move |this| {
            let Some(parcel) = local.log.lock().parcel(&this.worker, whole.as_ref()) else { return Ok(()) };
            drop(whole);
            let known = this.groups.lock().clone();
            let names = names.filter(|names| known.is_none_or(|known| !Arc::ptr_eq(&known, names)));
            let chunks = parcel.parts.iter().flat_map(|part| part.iter()).collect();
            if this.send(this.way(false), chunks, names.as_deref())? {
                local.log.lock().delivered(&this.worker, &parcel);
                *this.stored.lock() = Some(Known { parts: parcel.parts, when: this.node.clock.now() });
                if names.is_some() {
                    *this.groups.lock() = names;
                }
            }
            Ok(())
        })
        .map(drop)
    }

    /// Whether the worker has been told lately what there is to tell, and has stored it.
    fn knows_all(&self, local: &LocalAgentGroups, names: Option<&Arc<Vec<String>>>) -> bool {
        let told = names.is_none_or(|names| self.groups.lock().as_ref().is_some_and(|told| Arc::ptr_eq(told, names)));
        let now = self.node.clock.now();
        let stored = self.stored.lock().clone();
        let lately = |known: &Known| told && now.saturating_duration_since(known.when) < QUIET;
        let Some(known) = stored.filter(lately) else { return false };
        let mut log = local.log.lock();
        let same = log.parcel(&self.worker, None).filter(|parcel| parcel.parts == known.parts);
        // The same hash alone; assignments are not the same twice.
        same.inspect(|parcel| log.delivered(&self.worker, parcel)).is_some()
    }

    /// `syn_w_g_c`: sends the whole table; gives a task id. One that is being sent, or was sent in this turn of the local
    /// agent-groups thread, is enough: it costs the database much.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn send_whole(self: &Arc<Self>) -> io::Result<String> {
        let now = self.node.clock.now();
        let recent = |begun: &Instant| now.duration_since(*begun) < self.node.settings.master.sync_agent_groups;
        let mut asked = self.asked.lock();
        if asked.as_ref().is_some_and(recent) {
            return Ok(random::uuid());
        }
        *asked = Some(now);
        drop(asked);
        self.begin(true, |this| {
            let way = this.way(true);
            // A table with wrong hashes would never match; that the database cannot do it is not worth stopping for.
            if let Err(error) = this.agents.recalculate_group_hashes() {
                warn!(way.turns.scope(), "The group hashes were not recalculated: {error}");
            }
            let groups = this.agents.all_groups(false)?;
            if groups.chunks.is_empty() {
                debug!(way.turns.scope(), "There are no agents.");
                return Ok(());
            }
            this.send(way, groups.chunks.iter().collect(), None).map(drop)
        })?;
        Ok(random::uuid())
    }

    /// Runs `turn` on a thread of its own, unless this way is busy.
    fn begin(
        self: &Arc<Self>,
        whole: bool,
        turn: impl FnOnce(&Self) -> Result<(), GroupsNotSent> + Send + 'static,
    ) -> io::Result<()> {
        if std::mem::replace(&mut self.way(whole).state.lock().busy, true) {
            return Ok(());
        }
        let this = self.clone();
        let run = move || {
            let way = this.way(whole);
            let damped = |error: &GroupsNotSent| matches!(error, GroupsNotSent::NotStored(_));
            // Nothing more follows from a failure.
            let _ = way.turns.run_damped(damped, || turn(&this));
            way.state.lock().busy = false;
            memory::give_back();
        };
        self.node.requests.spawn("groups_send", run).inspect_err(|_| self.way(whole).state.lock().busy = false)
    }

    fn way(&self, whole: bool) -> &Way {
        &self.ways[usize::from(whole)]
    }

    /// Sends chunks and waits until the worker has stored them; whether it has taken them, stored or refused.
    fn send(&self, way: &Way, chunks: Vec<&String>, groups: Option<&Vec<String>>) -> Result<bool, GroupsNotSent> {
        let (begun, start) = (way.turns.start(), self.node.clock.wall());
        let Report { updated_chunks, error_messages, .. } = match self.exchange(way, &chunks, groups) {
            Ok(report) => report,
            Err(_) if self.connection.is_closed() => return Ok(false),
            Err(reason) => return Err(GroupsNotSent::NotStored(reason)),
        };
        for error in &error_messages {
            way.turns.report_as(Level::Warn, error, &format!("The worker's database refused a chunk: {error}"));
        }
        way.turns.finish(begun, &format!("Updated {updated_chunks} chunks."));
        let span = Span { start: Some(start), end: Some(self.node.clock.wall()) };
        let mut state = way.state.lock();
        state.last = LastSent { span, chunks: updated_chunks };
        state.refused = if error_messages.is_empty() { 0 } else { state.refused + 1 };
        let given_up = state.refused > TRIES;
        state.refused = if given_up { 0 } else { state.refused };
        Ok(updated_chunks >= chunks.len() || given_up)
    }

    fn exchange(&self, way: &Way, chunks: &[&String], groups: Option<&Vec<String>>) -> Outcome {
        // What came too late for an earlier message is not the answer to this one.
        while way.outcomes.1.try_recv().is_ok() {}
        debug!(way.turns.scope(), "Sending chunks.");
        let chunks = serde_json::to_string(chunks).map_err(|error| error.to_string())?;
        let message = match groups {
            None => message::write(SET_COMMAND, SET_PAYLOAD, &chunks),
            Some(groups) => message::write_with_groups(SET_COMMAND, SET_PAYLOAD, &chunks, &json::text(groups)),
        };
        drop(chunks);
        let id = send_string(&self.connection, message.len(), message.as_bytes()).map_err(|error| error.to_string())?;
        drop(message);
        self.connection.request(way.command, id).map_err(|error| error.to_string())?;
        select! {
            recv(way.outcomes.1) -> outcome => outcome.unwrap_or_else(|_| Err("the session has ended".into())),
            recv(self.connection.closed()) -> _ => Err("the connection was closed".into()),
            recv(self.node.clock.after(self.patience())) -> _ => Err("it does not say what became of them".into()),
        }
    }

    /// The worker has its own time for storing; its answer then has to travel.
    fn patience(&self) -> Duration {
        self.node.settings.worker.timeout_agent_groups + self.node.settings.communication.timeout_cluster_request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{Pair, Panics, wait_until};

    #[test]
    fn who_compares_by_itself_is_not_told_the_same_hash_again_for_a_while() {
        let pair = Pair::new();
        let groups = AgentGroups::new(pair.shared_node(), Store::new(Panics::default()), "w", pair.master.clone());
        let local = Arc::new(LocalAgentGroups::default());
        let turn = |chunk: &str, agents| {
            local.log.lock().push(agents::Groups { chunks: vec![chunk.to_owned()], agents });
            let whole = Some(Arc::new(vec!["whole".to_owned()]));
            groups.send_what_is_new(&local, whole, None, true).unwrap();
        };
        let is_told = |what: &str| {
            let string = pair.wait("str_upd ");
            assert!(string.contains(what), "{string}");
            pair.wait("syn_g_m_w ");
            groups.outcome(false, br#"{"updated_chunks": 1}"#, false);
            wait_until(|| !groups.way(false).state.lock().busy);
        };
        turn("first", false);
        is_told("whole");
        turn("first", false);
        is_told("first");
        turn("first", false);
        assert!(pair.is_quiet() && local.log.lock().parcel("w", None).is_none());
        for (chunk, agents) in [("agents", true), ("second", false)] {
            turn(chunk, agents);
            is_told(chunk);
        }
        turn("second", false);
        assert!(pair.is_quiet());
        pair.hand.advance(QUIET);
        turn("second", false);
        is_told("second");
    }

    /// Of case 6.9: after a panic the way is free and its worker lacks what it lacked.
    #[test]
    fn a_panic_is_counted_and_the_next_turn_may_send() {
        let pair = Pair::new();
        let groups = AgentGroups::new(pair.shared_node(), Store::new(Panics::default()), "w", pair.master.clone());
        for failures in 1..=2 {
            pair.hand.advance(pair.node().settings.master.sync_agent_groups);
            groups.send_whole().unwrap();
            wait_until(|| !groups.way(true).state.lock().busy);
            assert_eq!(pair.node().metrics.task(Task::AgentGroupsFull).failures.get(), failures);
        }
        assert!(groups.last()[1].span.end.is_none());
    }
}
