//! The worker's half: stores the master's assignments and compares the hash of all of them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::Level;

use crate::{
    agents::{Error, GroupFolders, Store, hash_of, texts},
    connection::Connection,
    limits::Holding,
    logging::{debug, info, scope, warn},
    metrics::Task,
    node::Node,
    system::memory,
    tasks::{message, report::Report},
    turn::{Failure, Turns},
    wire::Command,
};

/// The session's end: takes the messages of the master.
pub struct Inbox(Sender<Received>);

/// The thread's end.
pub struct Messages(Receiver<Received>);

struct Received {
    id: String,
    /// None if no such string has come.
    content: Option<Holding>,
    whole: bool,
}

/// A line between the session and the thread. A master waits for the end of one message before it sends the next of the
/// same kind.
pub fn channel() -> (Inbox, Messages) {
    let (inbox, messages) = bounded(2);
    (Inbox(inbox), Messages(messages))
}

/// More has come than is stored; the master is at fault.
#[derive(Debug, thiserror::Error)]
#[error("the assignments before are still being stored")]
pub struct Busy;

impl Inbox {
    /// `syn_g_m_w` or, if it is the `whole` table, `syn_g_m_w_c`: the string `id` is to be stored.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn message(&self, id: &str, content: Option<Holding>, whole: bool) -> Result<(), Busy> {
        self.0.try_send(Received { id: id.to_owned(), content, whole }).map_err(|_| Busy)
    }
}

/// The agent groups thread of a worker, as long as it is connected.
pub struct Thread<'a> {
    node: &'a Node,
    agents: Store,
    master: &'a Connection,
    /// Of what is new, and of the whole table.
    turns: Arc<[Turns; 2]>,
    /// Times in a row that the hash was not that of the master.
    mismatches: u32,
    /// All groups of the master, if it sends their names.
    groups: Option<BTreeSet<String>>,
    /// How often the hash is compared without a message of the master, if that repeats it rarely.
    period: Option<Duration>,
    /// The one that it has told last.
    hash: Option<Option<String>>,
}

impl<'a> Thread<'a> {
    /// For one connection.
    pub fn new(node: &'a Node, agents: Store, master: &'a Connection) -> Self {
        let tag = format!("Worker {}", node.cluster.node_name);
        let turns = Arc::new([
            node.turns(Task::AgentGroups, scope(&tag, "Agent-groups recv")),
            node.turns(Task::AgentGroupsFull, scope(&tag, "Agent-groups recv full")),
        ]);
        Self { node, agents, master, turns, mismatches: 0, groups: None, period: None, hash: None }
    }

    /// The same where the master repeats nothing, if that is so.
    pub fn with_quiet(mut self, quiet: bool) -> Self {
        self.period = quiet.then_some(self.node.settings.master.sync_agent_groups);
        self
    }

    /// Runs until the connection closes.
    pub fn run(mut self, messages: &Messages) {
        let turns = self.turns.clone();
        loop {
            let due = self.period.map_or_else(crossbeam_channel::never, |period| self.node.clock.after(period));
            select! {
                recv(self.master.closed()) -> _ => return,
                recv(due) -> _ => {
                    if let Some(hash) = self.hash.clone() {
                        turns[0].follow_up(|| self.compare(&turns[0], &hash));
                    }
                }
                recv(messages.0) -> received => {
                    let Ok(received) = received else { return };
                    let whole = received.whole;
                    let turns = &turns[usize::from(whole)];
                    if let Err(failure) = turns.run(|| self.take(turns, received)) {
                        turns.follow_up(|| self.failed(whole, &failure));
                    }
                    memory::give_back();
                }
            }
        }
    }

    fn take(&mut self, turns: &Turns, Received { id, content, whole }: Received) -> Result<(), String> {
        let begun = turns.start();
        let (chunks, groups) = read(&id, content.as_ref().map(|content| &content.bytes[..]))?;
        // The chunks are as long, so it keeps its share.
        let _share = content.and_then(|content| content.share);
        if let Some(groups) = groups {
            self.groups = Some(groups.into_iter().collect());
        }
        self.make_folders(turns, &chunks);
        let (updated, errors) = self.store(turns, &chunks);
        let took = turns.since(begun);
        debug!(turns.scope(), "{updated}/{} chunks updated in wazuh-db in {:.3}s.", chunks.len(), took.as_secs_f64());
        let command = if whole { Command::AgentGroupsWholeEnd } else { Command::AgentGroupsEnd };
        self.tell(command, &Report::new(updated, errors, took).to_json());
        if whole {
            if let Err(error) = self.agents.recalculate_group_hashes() {
                warn!(turns.scope(), "The group hashes were not recalculated: {error}");
            }
        } else if let Some(Ok(Some(hash))) = chunks.last().map(|chunk| hash_of(chunk)) {
            self.compare(turns, &hash);
            self.hash = Some(hash);
        }
        turns.finish(begun, &format!("Updated {updated} chunks."));
        Ok(())
    }

    /// The master waits for word of each message, and sends again what was not stored.
    fn failed(&self, whole: bool, failure: &Failure<String>) {
        let command = if whole { Command::AgentGroupsWholeFailed } else { Command::AgentGroupsFailed };
        match failure {
            Failure::Error(reason) => self.tell(command, reason),
            Failure::Panic(_) => self.tell(command, "the assignments to groups were not stored: see the log"),
        }
    }

    /// Makes the folders of the groups that the master has, before agents are assigned to these, and removes what is left
    /// of groups that it has no more.
    fn make_folders(&self, turns: &Turns, chunks: &[String]) {
        let folders = GroupFolders::new(self.node.home.shared_dir(), self.node.owner);
        for chunk in chunks {
            // What cannot be read is refused by the database.
            let named = Store::groups_named(chunk).unwrap_or_default();
            folders.make(named.iter().map(|name| &**name));
        }
        // One that has none at all has no `default` either, and something else is wrong there.
        let Some(groups) = self.groups.as_ref().filter(|groups| !groups.is_empty()) else { return };
        folders.make(groups.iter().map(String::as_str));
        if let Err(error) = folders.remove_others(groups) {
            let text = format!("etc/shared cannot be listed: {error}");
            let effect = "Folders of groups that the master has no more stay.";
            turns.report_as(Level::Warn, &text, &format!("{text}. {effect}"));
        }
    }

    fn store(&self, turns: &Turns, chunks: &[String]) -> (usize, Vec<String>) {
        let (mut updated, mut errors) = (0, Vec::new());
        for chunk in chunks {
            match self.agents.set_groups(chunk) {
                Ok(()) => updated += 1,
                Err(Error::Refused(text)) => {
                    turns.report_as(Level::Warn, &text, &format!("The agent database refused a chunk: {text}"));
                    errors.push(text);
                }
                Err(unavailable) => {
                    let text = format!("The assignments to groups were not stored: {unavailable}");
                    turns.report(Level::Error, &text);
                    break;
                }
            }
        }
        (updated, errors)
    }

    /// Compares the hash of the master's database with that of this node's.
    fn compare(&mut self, turns: &Turns, master: &Option<String>) {
        let scope = turns.scope();
        let begun = self.node.clock.now();
        let own = self.agents.groups_hash();
        let took = turns.since(begun).as_secs_f64();
        debug!(scope, "Obtained 1 chunks of data in {took:.3}s.");
        if own.is_ok_and(|own| own == *master) {
            self.mismatches = 0;
            debug!(scope, "The checksum of both databases match. ");
            return;
        }
        self.mismatches += 1;
        let limit = self.node.settings.worker.agent_groups_mismatch_limit;
        debug!(scope, "The checksum of both databases do not match ({} of {limit}).", self.mismatches);
        if self.mismatches >= limit {
            self.mismatches = 0;
            info!(scope, "The assignments to groups differ from the master's {limit} times; asking for all of them.");
            self.tell(Command::AgentGroupsWanted, "");
        }
    }

    fn tell(&self, command: Command, payload: &str) {
        if let Err(error) = self.master.request(command, payload)
            && !self.master.is_closed()
        {
            // A stock master refuses the first report on a whole table of each connection (12.3).
            debug!(self.turns[0].scope(), "The master does not take note of it: {error}");
        }
    }
}

/// The chunks of a message, and the names of all groups if it has them.
fn read(id: &str, content: Option<&[u8]>) -> Result<(Vec<String>, Option<Vec<String>>), String> {
    let content = content
        .ok_or_else(|| format!("error while trying to access string under task_id '{id}'. No such string has come."))?;
    let wrong = |error: String| format!("error while trying to load JSON: {error}");
    let content = std::str::from_utf8(content).map_err(|error| wrong(error.to_string()))?;
    let read = || Ok((texts(message::chunks(content)?)?, message::groups(content)?));
    read().map_err(|error: serde_json::Error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{Pair, Panics};

    /// Of case 6.9: the master is told, and sends again what it has for this worker.
    #[test]
    fn after_a_panic_the_master_is_told_that_nothing_was_stored() {
        let pair = Pair::new();
        let (inbox, messages) = channel();
        let worker = Thread::new(pair.node(), Store::new(Panics::default()), &pair.master);
        std::thread::scope(|scope| {
            scope.spawn(move || worker.run(&messages));
            for (whole, command) in [(false, "syn_w_g_err "), (true, "syn_wgc_err ")] {
                let content = br#"{"chunks": ["[{\"data\":[{\"id\":1,\"name\":\"a\",\"groups\":[]}]}]"]}"#;
                assert!(inbox.message("1", Some(Holding { bytes: content.to_vec(), share: None }), whole).is_ok());
                assert!(pair.wait(command).contains("were not stored: see the log"));
            }
            pair.master.close("the test ends");
        });
        let counted =
            [Task::AgentGroups, Task::AgentGroupsFull].map(|task| pair.node().metrics.task(task).failures.get());
        assert_eq!(counted, [1, 1]);
    }

    #[test]
    fn a_message_is_a_list_of_texts() {
        let message = br#"{"set_data_command": "x", "payload": {}, "chunks": ["[{\"data\":[]}]"]}"#;
        assert_eq!(read("1", Some(message)), Ok((vec![r#"[{"data":[]}]"#.to_owned()], None)));
        for bad in [&b"{}"[..], b"\xff", br#"{"chunks": {}}"#, br#"{"chunks": [1]}"#] {
            assert!(read("1", Some(bad)).unwrap_err().starts_with("error while trying to load JSON: "));
        }
        assert!(read("7", None).unwrap_err().contains("task_id '7'"));
    }
}
