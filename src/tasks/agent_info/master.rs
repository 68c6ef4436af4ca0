//! The master's half: stores what a worker knows of its agents. Only agents that exist here are stored.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use log::Level;
use parking_lot::Mutex;

use crate::{
    agents::{Store, Stored},
    connection::Connection,
    limits::Holding,
    logging::{debug, scope, warn},
    metrics::Task,
    node::Node,
    system::memory,
    tasks::{message, report::Report, span::Span},
    turn::{Failure, Turns},
    wire::Command,
};

/// The words of the stock daemon for chunks that it could not process.
const NOT_PROCESSED: &str = "error processing agent-info chunks in process pool";

/// Why agent information was not stored.
#[derive(Debug, thiserror::Error)]
enum InfoNotStored {
    /// The message cannot be read, or there is no room for it.
    #[error("{0}")]
    Refused(String),
    #[error("The agent database did not store this worker's agents: {0}")]
    Unavailable(String),
}

impl InfoNotStored {
    /// A worker running this daemon sends it again, as often as it takes; to a stock one it is as good as fewer chunks.
    fn for_the_worker(self) -> String {
        match self {
            Self::Refused(reason) => reason,
            Self::Unavailable(reason) => format!("{NOT_PROCESSED}: {reason}"),
        }
    }
}

/// The agent information of one connected worker.
pub struct AgentInfo {
    node: Arc<Node>,
    agents: Store,
    connection: Connection,
    turns: Turns,
    last: Mutex<LastStored>,
}

/// What `get_health` reports of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastStored {
    /// Whether something is being stored.
    pub busy: bool,
    /// When something was stored last.
    pub span: Span,
    /// The chunks that were stored then.
    pub chunks: usize,
}

impl AgentInfo {
    /// For a worker that has just been accepted.
    pub fn new(node: Arc<Node>, agents: Store, worker: &str, connection: Connection) -> Arc<Self> {
        let turns = node.turns(Task::AgentInfo, scope(&format!("Worker {worker}"), "Agent-info sync"));
        Arc::new(Self { node, agents, connection, turns, last: Mutex::default() })
    }

    /// `syn_a_w_m_p`: whether the worker may send now.
    pub fn permission(&self) -> bool {
        !self.last.lock().busy
    }

    /// For `get_health`.
    pub fn last(&self) -> LastStored {
        *self.last.lock()
    }

    /// `syn_a_w_m`: stores the string `id`, on a thread of its own; `content` is none if no such string has come.
    ///
    /// # Errors
    /// Why it cannot be stored now.
    pub fn store(self: &Arc<Self>, id: &str, content: Option<Holding>) -> Result<(), String> {
        if std::mem::replace(&mut self.last.lock().busy, true) {
            return Err("the agent information before is still being stored".into());
        }
        let (this, id) = (self.clone(), id.to_owned());
        let run = move || {
            let damped = |error: &InfoNotStored| matches!(error, InfoNotStored::Unavailable(_));
            let stored = this.turns.run_damped(damped, || this.turn(&id, content));
            // Before the worker can send more.
            this.free();
            this.turns.follow_up(|| match stored {
                Ok(report) => this.tell(Command::AgentInfoEnd, &report.to_json()),
                Err(Failure::Error(reason)) => this.tell(Command::AgentInfoFailed, &reason.for_the_worker()),
                Err(Failure::Panic(_)) => {
                    this.tell(Command::AgentInfoFailed, &format!("{NOT_PROCESSED}: see the log"));
                }
            });
            memory::give_back();
        };
        self.node.requests.spawn("agent_info", run).map_err(|error| {
            self.free();
            format!("no thread can be started: {error}")
        })
    }

    fn free(&self) {
        self.last.lock().busy = false;
    }

    /// Stores it; gives the report for the worker.
    fn turn(&self, id: &str, content: Option<Holding>) -> Result<Report, InfoNotStored> {
        let (begun, start) = (self.turns.start(), self.node.clock.wall());
        let stored = self.stored(id, content).map_err(InfoNotStored::Refused)?;
        let took = self.turns.since(begun);
        self.report_problems(&stored, took);
        let Stored { chunks, errors, unavailable, .. } = stored;
        self.stored_at(start, chunks);
        let summary = format!("Updated {chunks} chunks.");
        match unavailable {
            None => {
                self.turns.finish(begun, &summary);
                Ok(Report::new(chunks, errors, took))
            }
            Some(reason) => {
                self.turns.finish_uncounted(begun, &summary);
                Err(InfoNotStored::Unavailable(reason))
            }
        }
    }

    fn stored_at(&self, start: SystemTime, chunks: usize) {
        let span = Span { start: Some(start), end: Some(self.node.clock.wall()) };
        *self.last.lock() = LastStored { busy: true, span, chunks };
    }

    fn stored(&self, id: &str, content: Option<Holding>) -> Result<Stored, String> {
        let content = content.ok_or_else(|| {
            format!("error while trying to access string under task_id '{id}'. No such string has come.")
        })?;
        let no_room = || format!("{NOT_PROCESSED}: there is no room for them on this node");
        // The agent database gets a copy.
        let _copy = self.connection.hold(content.bytes.len()).map_err(|_| no_room())?;
        let wrong = |error: String| format!("error while trying to load JSON: {error}");
        let content = std::str::from_utf8(&content.bytes).map_err(|error| wrong(error.to_string()))?;
        let chunks = message::chunks(content).map_err(|error| wrong(error.to_string()))?;
        self.agents.store_info(chunks).map_err(wrong)
    }

    fn report_problems(&self, stored: &Stored, took: Duration) {
        let seconds = took.as_secs_f64();
        debug!(self.turns.scope(), "{}/{} chunks updated in wazuh-db in {seconds:.3}s.", stored.chunks, stored.of);
        for error in &stored.errors {
            warn!(self.turns.scope(), "The agent database refused a chunk of this worker: {error}");
        }
        if let Some(unknown @ 1..) = stored.unknown {
            let text = format!("Left out, because they do not exist on this master: {unknown} agents.");
            self.turns.report(Level::Warn, &text);
        }
    }

    fn tell(&self, command: Command, payload: &str) {
        if let Err(error) = self.connection.request(command, payload)
            && !self.connection.is_closed()
        {
            debug!(self.turns.scope(), "The worker does not take note of it: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agents::{Backend, Error, Reply, TakenInfo},
        tasks::tests::{Pair, Panics, wait_until},
    };

    /// Of case 6.9: the worker is told, and may send again.
    #[test]
    fn after_a_panic_the_worker_is_told_and_the_next_message_is_taken() {
        let pair = Pair::new();
        let info = AgentInfo::new(pair.shared_node(), Store::new(Panics::default()), "w", pair.master.clone());
        for failures in 1..=2 {
            assert!(info.permission());
            let content = br#"{"set_data_command": "", "payload": {}, "chunks": ["x"]}"#.to_vec();
            info.store("1", Some(Holding { bytes: content, share: None })).unwrap();
            assert!(pair.wait("syn_m_a_err ").ends_with("in process pool: see the log"));
            wait_until(|| info.permission());
            assert_eq!(pair.node().metrics.task(Task::AgentInfo).failures.get(), failures);
        }
        assert!(info.last().span.end.is_none());
    }

    /// The lines of the stock daemon are an interface.
    #[test]
    fn only_a_database_that_is_away_is_damped() {
        let pair = Pair::new();
        let info = AgentInfo::new(pair.shared_node(), Store::new(Away), "w", pair.master.clone());
        let told = |content: Option<&[u8]>| {
            let content = content.map(|bytes| Holding { bytes: bytes.to_vec(), share: None });
            info.store("1", content).unwrap();
            let told = pair.wait("syn_m_a_err ");
            wait_until(|| info.permission());
            told["syn_m_a_err ".len()..].to_owned()
        };
        let message = br#"{"set_data_command": "", "payload": {}, "chunks": ["x"]}"#;
        let (no_string, no_json, away) = (told(None), told(Some(b"x")), told(Some(message)));
        let away = away.strip_prefix(&format!("{NOT_PROCESSED}: ")).unwrap();
        let away = InfoNotStored::Unavailable(away.to_owned()).to_string();
        assert_eq!([&no_string, &no_json, &away].map(|text| info.turns.damps(text)), [false, false, true]);
    }

    struct Away;

    impl Backend for Away {
        fn query(&self, _: &str) -> Result<Reply, Error> {
            Err(Error::Unavailable("as ordered".into()))
        }

        fn take_info(&self) -> Result<TakenInfo, Error> {
            unreachable!("this is a master")
        }

        fn store_info(&self, _: &str) -> Result<Option<usize>, Error> {
            Err(Error::Unavailable("as ordered".into()))
        }
    }
}
