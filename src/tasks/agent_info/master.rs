//! The master's half: stores what a worker knows of its agents. Only agents that exist here are stored.

use std::{sync::Arc, time::Duration};

use log::Level;
use parking_lot::Mutex;

use crate::{
    agents::Stored,
    connection::Connection,
    limits::Holding,
    logging::{Repeats, Scope, debug, error, info, log, scope, warn},
    metrics::Task,
    node::Node,
    system::{memory, thread::guard},
    tasks::{integrity::status::Span, message, report::Report},
    wire::Command,
};

/// What a worker is told when the node holds too much for its peers.
const NO_ROOM: &str = "error processing agent-info chunks in process pool: there is no room for them on this node";

/// The agent information of one connected worker.
pub struct AgentInfo {
    node: Arc<Node>,
    connection: Connection,
    scope: Scope,
    state: Mutex<Status>,
    told: Repeats,
}

/// What `get_health` tells of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// Whether something is being stored.
    pub busy: bool,
    /// The last time.
    pub span: Span,
    /// The chunks that were stored then.
    pub chunks: usize,
}

impl AgentInfo {
    /// For a worker that has just been accepted.
    pub fn new(node: Arc<Node>, worker: &str, connection: Connection) -> Arc<Self> {
        let scope = scope(&format!("Worker {worker}"), "Agent-info sync");
        Arc::new(Self { node, connection, scope, state: Mutex::default(), told: Repeats::default() })
    }

    /// `syn_a_w_m_p`: whether the worker may send now.
    pub fn permission(&self) -> bool {
        !self.state.lock().busy
    }

    /// For `get_health`.
    pub fn status(&self) -> Status {
        *self.state.lock()
    }

    /// `syn_a_w_m`: stores the string `id`, on a thread of its own; `content` is none if no such string has come.
    ///
    /// # Errors
    /// Why it cannot be stored now.
    pub fn store(self: &Arc<Self>, id: &str, content: Option<Holding>) -> Result<(), String> {
        if std::mem::replace(&mut self.state.lock().busy, true) {
            return Err("the agent information before is still being stored".into());
        }
        let (this, id) = (self.clone(), id.to_owned());
        let run = move || {
            if let Err(panic) = guard(|| this.run(&id, content)) {
                error!(this.scope, "The storing failed: {panic}. Please report this.");
                this.free();
                this.tell(Command::AgentInfoFailed, "error processing agent-info chunks in process pool: see the log");
            }
            memory::give_back();
        };
        self.node.requests.spawn("agent_info", run).map_err(|error| {
            self.free();
            format!("no thread can be started: {error}")
        })
    }

    fn free(&self) {
        self.state.lock().busy = false;
    }

    fn run(&self, id: &str, content: Option<Holding>) {
        info!(self.scope, "Starting.");
        let clock = &self.node.clock;
        let (begun, start) = (clock.now(), clock.wall());
        let stored = self.stored(id, content);
        let took = clock.now().duration_since(begun);
        match stored {
            Ok(stored) => {
                self.tell_problems(&stored, took);
                let end = Some(clock.wall());
                *self.state.lock() =
                    Status { busy: false, span: Span { start: Some(start), end }, chunks: stored.chunks };
                match &stored.unavailable {
                    None => self.node.metrics.done(Task::AgentInfo, took),
                    Some(_) => self.node.metrics.failed(Task::AgentInfo),
                }
                let Stored { chunks, errors, unavailable, .. } = stored;
                info!(self.scope, "Finished in {:.3}s. Updated {chunks} chunks.", took.as_secs_f64());
                match unavailable {
                    None => self.tell(Command::AgentInfoEnd, &Report::new(chunks, errors, took).to_json()),
                    // A worker of ours sends it again, as often as it takes; to others it is as good as fewer chunks.
                    Some(reason) => {
                        let text = format!("error processing agent-info chunks in process pool: {reason}");
                        self.tell(Command::AgentInfoFailed, &text);
                    }
                }
            }
            Err(reason) => {
                error!(self.scope, "{reason}");
                self.node.metrics.failed(Task::AgentInfo);
                self.free();
                self.tell(Command::AgentInfoFailed, &reason);
            }
        }
    }

    fn stored(&self, id: &str, content: Option<Holding>) -> Result<Stored, String> {
        let content = content.ok_or_else(|| {
            format!("error while trying to access string under task_id '{id}'. No such string has come.")
        })?;
        // The agent database gets a copy.
        let _copy = self.connection.hold(content.bytes.len()).map_err(|_| NO_ROOM)?;
        let wrong = |error: String| format!("error while trying to load JSON: {error}");
        let content = std::str::from_utf8(&content.bytes).map_err(|error| wrong(error.to_string()))?;
        let chunks = message::chunks(content).map_err(|error| wrong(error.to_string()))?;
        self.node.agents.store_info(chunks).map_err(wrong)
    }

    fn tell_problems(&self, stored: &Stored, took: Duration) {
        let seconds = took.as_secs_f64();
        debug!(self.scope, "{}/{} chunks updated in wazuh-db in {seconds:.3}s.", stored.chunks, stored.of);
        let now = self.node.clock.now();
        for error in &stored.errors {
            warn!(self.scope, "The agent database refused a chunk of this worker: {error}");
        }
        if let Some(reason) = &stored.unavailable {
            let level = self.told.level(Level::Error, reason, now);
            log!(self.scope, level, "The agent database did not store this worker's agents: {reason}");
        }
        if let Some(unknown @ 1..) = stored.unknown {
            let text = format!("Left out, because they do not exist on this master: {unknown} agents.");
            log!(self.scope, self.told.level(Level::Warn, &text, now), "{text}");
        }
    }

    fn tell(&self, command: Command, payload: &str) {
        if let Err(error) = self.connection.request(command, payload)
            && !self.connection.is_closed()
        {
            debug!(self.scope, "The worker does not take note of it: {error}");
        }
    }
}
