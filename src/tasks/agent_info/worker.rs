//! The worker's half: takes what has changed from the agent database and sends it to the master.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::Level;

use crate::{
    agents::{self, AgentInfo, Form, Store},
    config::settings::Version,
    connection::{Connection, RequestError, send_string},
    logging::{debug, info, scope, warn},
    metrics::Task,
    node::Node,
    system::{disk::Disk, memory, user::lasting_mode},
    tasks::{
        message,
        report::{Outcome, Report, outcome},
    },
    turn::Turns,
    wire::Command,
};

/// The session's end: takes the master's answers on agent information.
pub struct Inbox(Sender<Outcome>);

/// The thread's end.
pub struct Outcomes(Receiver<Outcome>);

/// A line between the session and the thread. The master answers once for each message.
pub fn channel() -> (Inbox, Outcomes) {
    let (inbox, outcomes) = bounded(1);
    (Inbox(inbox), Outcomes(outcomes))
}

impl Inbox {
    /// `syn_m_a_e` or, if it has `failed`, `syn_m_a_err`.
    pub fn outcome(&self, payload: &[u8], failed: bool) {
        // The thread waits for one at a time.
        let _ = self.0.try_send(outcome(payload, failed));
    }
}

/// Why nothing, or not all, has arrived.
#[derive(Debug, thiserror::Error)]
enum InfoNotSent {
    #[error("{0}")]
    Master(#[from] RequestError),
    #[error("{0}")]
    Database(#[from] agents::Error),
    #[error("the master could not store it: {0}")]
    Refused(String),
    #[error("the master's database took {stored} of {sent} chunks; its log tells why")]
    NotStored { stored: usize, sent: usize },
    #[error("the master does not say whether it has stored it")]
    Silent,
    /// It is taken at the next turn again.
    #[error("the master does not permit it now")]
    NotPermitted,
}

/// How often in a row what the master did not store is sent again. A stock master does not distinguish a
/// database that is away from one that refuses a record for good.
const TRIES: u32 = 3;

/// The mode of the note that something is on its way.
const NOTE_MODE: u32 = 0o640;

/// The agent info thread of a worker, as long as it is connected.
pub struct Thread<'a> {
    node: &'a Node,
    agents: Store,
    master: &'a Connection,
    outcomes: Outcomes,
    form: Form,
    /// Whether the master is asked for permission before the database is asked for news, as by stock nodes.
    asks_first: bool,
    turns: Arc<Turns>,
    /// What was taken and has not arrived, while the database cannot take that note.
    lost: Vec<AgentInfo>,
    /// Whether something may have been taken of which nothing is known any more.
    forgot: bool,
    /// Messages in a row that the master did not store.
    not_stored: u32,
}

impl<'a> Thread<'a> {
    /// For one connection.
    pub fn new(node: &'a Node, agents: Store, master: &'a Connection, outcomes: Outcomes) -> Self {
        let scope = scope(&format!("Worker {}", node.cluster.node_name), "Agent-info sync");
        let form = form(node.settings.version);
        // A process that was killed has left it.
        let forgot = node.home.agent_info_under_way().exists();
        let turns = Arc::new(node.turns(Task::AgentInfo, scope));
        let (asks_first, lost) = (true, Vec::new());
        Self { node, agents, master, outcomes, form, asks_first, turns, lost, forgot, not_stored: 0 }
    }

    /// The same on a link with protocol extensions, if there are `any`: a worker that has nothing to tell asks for nothing.
    pub fn with_extensions(mut self, any: bool) -> Self {
        self.asks_first = !any;
        self
    }

    /// The same with a master that is another one than before, if `is_new`: it has heard nothing of the agents of this node.
    pub fn of_master(mut self, is_new: bool) -> Self {
        self.forgot |= is_new;
        self
    }

    /// Runs until the connection closes.
    pub fn run(mut self) {
        self.note_the_way();
        loop {
            select! {
                recv(self.master.closed()) -> _ => break,
                recv(self.node.clock.after(self.node.settings.worker.sync_agent_info)) -> _ => (),
            }
            self.counted_turn();
            memory::give_back();
        }
        self.put_back_lost();
        if self.lost.is_empty() && !self.forgot {
            // If it stays, all is sent once more than it need be.
            let _ = Disk::new().remove_file_at(&self.node.home.agent_info_under_way());
        }
    }

    /// Leaves a note that outlasts a kill and a power cut: what is taken from the database counts as sent there.
    fn note_the_way(&self) {
        let path = self.node.home.agent_info_under_way();
        let (disk, mode) = (Disk::new(), lasting_mode(NOTE_MODE));
        let made = disk.place(&path).and_then(|(folder, name)| {
            disk.append(&folder, name, mode)?;
            disk.sync(folder)
        });
        if let Err(error) = made.map_err(std::io::Error::from) {
            warn!(
                self.turns.scope(),
                "{} cannot be written: {error}. If this process is killed or the power goes out, the master may miss what is known of some \
                 agents; let the user of this daemon write to the folder.",
                path.display()
            );
        }
    }

    fn counted_turn(&mut self) {
        let turns = self.turns.clone();
        let turn = || {
            let begun = self.node.clock.now();
            match self.turn() {
                Ok(()) => _ = turns.done(begun),
                Err(_) if self.master.is_closed() => (),
                Err(reason) => return Err(format!("The agents' information is not sent now: {reason}")),
            }
            Ok(())
        };
        // What a turn that failed has taken is in `lost`, or `forgot` is set.
        let _ = turns.run_damped(|_| true, turn);
    }

    fn turn(&mut self) -> Result<(), InfoNotSent> {
        if self.forgot {
            self.agents.put_back_all(&self.node.cluster.node_name)?;
            self.forgot = false;
        }
        self.put_back_lost();
        let mut first = true;
        loop {
            if self.asks_first && !self.is_permitted()? {
                return Ok(());
            }
            let begun = self.turns.start();
            let info = self.take()?;
            let took = self.turns.since(begun).as_secs_f64();
            debug!(self.turns.scope(), "Obtained agents synchronization information in {took:.3}s.");
            let Some(info) = info else {
                if first {
                    info!(self.turns.scope(), "No synchronization required, skipping.");
                }
                return Ok(());
            };
            first = false;
            let more = info.more;
            let Report { updated_chunks, .. } = match self.deliver(info) {
                Err(InfoNotSent::NotPermitted) => return Ok(()),
                delivered => delivered?,
            };
            self.turns.finish_uncounted(begun, &format!("Updated {updated_chunks} chunks."));
            // More than one message holds is sent at once, not ten seconds later.
            if !more {
                return Ok(());
            }
        }
    }

    fn is_permitted(&self) -> Result<bool, RequestError> {
        let answer = self.master.request(Command::AgentInfoPermission, "")?;
        let permitted = answer == b"True";
        if permitted {
            debug!(self.turns.scope(), "Permission to synchronize granted.");
        } else {
            debug!(
                self.turns.scope(),
                "Master didn't grant permission to start a new synchronization: b'{}'",
                answer.escape_ascii()
            );
        }
        Ok(permitted)
    }

    /// Takes from the database what is to be sent. What it gives out counts as sent there, so after a panic before the end
    /// of [`Thread::deliver`] all is sent again.
    fn take(&mut self) -> Result<Option<AgentInfo>, InfoNotSent> {
        self.forgot = true;
        let info = self.agents.take_info(self.form);
        self.forgot = matches!(info, Ok(Some(_)));
        Ok(info?)
    }

    /// Sends what was taken, or puts it back.
    fn deliver(&mut self, info: AgentInfo) -> Result<Report, InfoNotSent> {
        debug!(self.turns.scope(), "Sending chunks.");
        let sent = self.send(&info);
        let not_stored = matches!(sent, Err(InfoNotSent::NotStored { .. }));
        self.not_stored = if not_stored { self.not_stored + 1 } else { 0 };
        if sent.is_err() && self.not_stored <= TRIES {
            self.lost.push(info);
            self.put_back_lost();
        }
        self.forgot = false;
        sent
    }

    fn send(&self, info: &AgentInfo) -> Result<Report, InfoNotSent> {
        if !self.asks_first && !self.is_permitted()? {
            return Err(InfoNotSent::NotPermitted);
        }
        // What came too late for an earlier message is not the answer to this one.
        while self.outcomes.0.try_recv().is_ok() {}
        let message = message::write("global sync-agent-info-set", "{}", &info.chunks);
        let id = send_string(self.master, message.len(), message.as_bytes())?;
        drop(message);
        self.master.request(Command::AgentInfo, id)?;
        let report = select! {
            recv(self.outcomes.0) -> outcome => outcome.unwrap_or_else(|_| Err("the session has ended".into())),
            recv(self.master.closed()) -> _ => Err("the connection was closed".into()),
            recv(self.node.clock.after(self.patience())) -> _ => return Err(InfoNotSent::Silent),
        };
        let report = report.map_err(InfoNotSent::Refused)?;
        for error in &report.error_messages {
            warn!(self.turns.scope(), "The master's database refused a chunk: {error}");
        }
        // A chunk that was refused would be refused again.
        let stored = report.updated_chunks;
        if stored + report.error_messages.len() < info.count {
            return Err(InfoNotSent::NotStored { stored, sent: info.count });
        }
        Ok(report)
    }

    /// The master has its own time for storing; its answer then has to travel.
    fn patience(&self) -> Duration {
        self.node.settings.master.timeout_agent_info + self.node.settings.communication.timeout_cluster_request
    }

    fn put_back_lost(&mut self) {
        while let Some(info) = self.lost.last() {
            if let Err(error) = self.agents.put_back(info) {
                let text = format!("What was not sent cannot be marked for sending again yet: {error}");
                self.turns.report(Level::Error, &text);
                return;
            }
            self.lost.pop();
        }
    }
}

/// The form that nodes of this version speak; versions in a cluster are equal.
fn form(version: Version) -> Form {
    if (version.major, version.minor) >= (4, 13) { Form::Object } else { Form::Texts }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{
        agents::{Backend, Error, Reply, TakenInfo},
        tasks::tests::{Pair, Panics},
    };

    /// A database with two messages for the master.
    #[derive(Default)]
    struct TwoMessages(AtomicU32);

    impl Backend for TwoMessages {
        fn query(&self, _: &str) -> Result<Reply, Error> {
            unreachable!("nothing is put back")
        }

        fn take_info(&self) -> Result<TakenInfo, Error> {
            let more = self.0.fetch_add(1, Ordering::Relaxed) == 0;
            Ok(TakenInfo { info: r#"{"syncreq": [{"id": 1}]}"#.into(), more })
        }

        fn store_info(&self, _: &str) -> Result<Option<usize>, Error> {
            unreachable!("this is a worker")
        }
    }

    #[test]
    fn a_turn_of_two_messages_is_one_in_the_metrics() {
        let pair = Pair::new();
        let (inbox, outcomes) = channel();
        let mut worker = Thread::new(pair.node(), Store::new(TwoMessages::default()), &pair.master, outcomes);
        worker.form = Form::Object;
        std::thread::scope(|scope| {
            scope.spawn(move || worker.counted_turn());
            for _ in 0..2 {
                pair.wait("syn_a_w_m ");
                pair.hand.advance(Duration::from_secs(1));
                inbox.outcome(br#"{"updated_chunks": 1}"#, false);
            }
        });
        let meter = pair.node().metrics.task(Task::AgentInfo);
        assert_eq!(meter.last().map(|last| last.took), Some(Duration::from_secs(2)));
        assert_eq!(meter.failures.get(), 0);
    }

    /// A database that says how often it was asked, and has something only the second time.
    #[derive(Clone, Default)]
    struct Later(Arc<AtomicU32>);

    impl Backend for Later {
        fn query(&self, _: &str) -> Result<Reply, Error> {
            unreachable!("nothing is put back")
        }

        fn take_info(&self) -> Result<TakenInfo, Error> {
            let info = if self.0.fetch_add(1, Ordering::Relaxed) == 1 { r#"{"syncreq": [{"id": 1}]}"# } else { "{}" };
            Ok(TakenInfo { info: info.into(), more: false })
        }

        fn store_info(&self, _: &str) -> Result<Option<usize>, Error> {
            unreachable!("this is a worker")
        }
    }

    #[test]
    fn with_extensions_the_master_is_asked_only_for_what_is_new() {
        let pair = Pair::new();
        let (inbox, outcomes) = channel();
        let database = Later::default();
        let worker = Thread::new(pair.node(), Store::new(database.clone()), &pair.master, outcomes);
        let mut worker = worker.with_extensions(true);
        worker.form = Form::Object;
        worker.counted_turn();
        assert!(pair.is_quiet() && database.0.load(Ordering::Relaxed) == 1, "nothing is new");
        std::thread::scope(|scope| {
            scope.spawn(move || worker.counted_turn());
            pair.wait("syn_a_w_m_p ");
            pair.wait("syn_a_w_m ");
            inbox.outcome(br#"{"updated_chunks": 1}"#, false);
        });
        assert_eq!(pair.node().metrics.task(Task::AgentInfo).failures.get(), 0);
    }

    /// Of case 6.9: what was taken when the panic came counts as sent in the database.
    #[test]
    fn after_a_panic_all_is_sent_again() {
        let pair = Pair::new();
        let (_inbox, outcomes) = channel();
        let (database, asked) = Panics::telling();
        let worker = Thread::new(pair.node(), Store::new(database), &pair.master, outcomes);
        std::thread::scope(|scope| {
            scope.spawn(move || worker.run());
            loop {
                pair.hand.advance(pair.node().settings.worker.sync_agent_info);
                match asked.recv_timeout(Duration::from_millis(20)) {
                    Ok(request) if request.contains("SET sync_status = 'syncreq'") => break,
                    _ => (),
                }
            }
            pair.master.close("the test ends");
        });
        assert!(pair.node().home.agent_info_under_way().exists(), "it is still to be done");
        assert!(pair.node().metrics.task(Task::AgentInfo).failures.get() > 0);
    }

    #[test]
    fn the_form_changed_with_4_13() {
        let form = |minor| form(Version { major: 4, minor, patch: 0 });
        assert_eq!([4, 12, 13, 14].map(form), [Form::Texts, Form::Texts, Form::Object, Form::Object]);
    }
}
