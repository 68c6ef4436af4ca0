//! The worker's half: stores the master's assignments and compares the hash of all of them.

use std::collections::BTreeSet;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::Level;

use crate::{
    agents::{Error, GroupFolders, Store, hash_of, texts},
    connection::Connection,
    limits::Holding,
    logging::{Repeats, Scope, debug, error, info, log, scope, warn},
    metrics::Task,
    node::Node,
    system::{memory, thread::guard},
    tasks::{message, report::Report},
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
    scopes: [Scope; 2],
    /// Times in a row that the hash was not that of the master.
    mismatches: u32,
    /// All groups of the master, if it tells.
    groups: Option<BTreeSet<String>>,
    told: Repeats,
}

impl<'a> Thread<'a> {
    /// For one connection.
    pub fn new(node: &'a Node, master: &'a Connection) -> Self {
        let tag = format!("Worker {}", node.cluster.node_name);
        let scopes = [scope(&tag, "Agent-groups recv"), scope(&tag, "Agent-groups recv full")];
        let agents = node.agents.clone();
        Self { node, agents, master, scopes, mismatches: 0, groups: None, told: Repeats::default() }
    }

    /// Runs until the connection closes.
    pub fn run(mut self, messages: &Messages) {
        loop {
            select! {
                recv(self.master.closed()) -> _ => return,
                recv(messages.0) -> received => {
                    let Ok(received) = received else { return };
                    let whole = received.whole;
                    if let Err(panic) = guard(|| self.take(received)) {
                        error!(self.scopes[usize::from(whole)], "The storing failed: {panic}. Please report this.");
                        self.fail(whole, "the assignments to groups were not stored: see the log");
                    }
                    memory::give_back();
                }
            }
        }
    }

    fn take(&mut self, Received { id, content, whole }: Received) {
        let scope = self.scopes[usize::from(whole)].clone();
        let task = if whole { Task::AgentGroupsFull } else { Task::AgentGroups };
        info!(scope, "Starting.");
        let begun = self.node.clock.now();
        let (chunks, groups) = match read(&id, content.as_ref().map(|content| &content.bytes[..])) {
            Ok(read) => read,
            Err(reason) => {
                error!(scope, "{reason}");
                return self.fail(whole, &reason);
            }
        };
        // The chunks are as long, so it keeps its share.
        let _share = content.and_then(|content| content.share);
        if let Some(groups) = groups {
            self.groups = Some(groups.into_iter().collect());
        }
        self.make_folders(&scope, &chunks);
        let (updated, errors) = self.store(&scope, &chunks);
        let took = self.node.clock.now().duration_since(begun);
        debug!(scope, "{updated}/{} chunks updated in wazuh-db in {:.3}s.", chunks.len(), took.as_secs_f64());
        let command = if whole { Command::AgentGroupsWholeEnd } else { Command::AgentGroupsEnd };
        self.tell(command, &Report::new(updated, errors, took).to_json());
        if whole {
            if let Err(error) = self.agents.recalculate_group_hashes() {
                warn!(scope, "The group hashes were not recalculated: {error}");
            }
        } else if let Some(chunk) = chunks.last() {
            self.compare(&scope, chunk);
        }
        let took = self.node.clock.now().duration_since(begun);
        self.node.metrics.done(task, took);
        info!(scope, "Finished in {:.3}s. Updated {updated} chunks.", took.as_secs_f64());
    }

    /// The master waits for word of each message, and sends again what was not stored.
    fn fail(&self, whole: bool, reason: &str) {
        let (task, command) = match whole {
            true => (Task::AgentGroupsFull, Command::AgentGroupsWholeFailed),
            false => (Task::AgentGroups, Command::AgentGroupsFailed),
        };
        self.node.metrics.failed(task);
        self.tell(command, reason);
    }

    /// Makes the folders of the groups that the master has, before agents are assigned to these, and removes what is left
    /// of groups that it has no more.
    fn make_folders(&self, scope: &Scope, chunks: &[String]) {
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
            let level = self.told.level(Level::Warn, &text, self.node.clock.now());
            log!(scope, level, "{text}. Folders of groups that the master has no more stay.");
        }
    }

    fn store(&self, scope: &Scope, chunks: &[String]) -> (usize, Vec<String>) {
        let (mut updated, mut errors) = (0, Vec::new());
        for chunk in chunks {
            match self.agents.set_groups(chunk) {
                Ok(()) => updated += 1,
                Err(Error::Refused(text)) => {
                    let level = self.told.level(Level::Warn, &text, self.node.clock.now());
                    log!(scope, level, "The agent database refused a chunk: {text}");
                    errors.push(text);
                }
                Err(unavailable) => {
                    let text = unavailable.to_string();
                    let level = self.told.level(Level::Error, &text, self.node.clock.now());
                    log!(scope, level, "The assignments to groups were not stored: {text}");
                    break;
                }
            }
        }
        (updated, errors)
    }

    /// Compares the hash that the last chunk brings with that of this node's database.
    fn compare(&mut self, scope: &Scope, chunk: &str) {
        let begun = self.node.clock.now();
        let Ok(Some(master)) = hash_of(chunk) else { return };
        let own = self.agents.groups_hash();
        let took = self.node.clock.now().duration_since(begun).as_secs_f64();
        debug!(scope, "Obtained 1 chunks of data in {took:.3}s.");
        if own.is_ok_and(|own| own == master) {
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
            // An original master refuses the first report on a whole table of each connection (12.3).
            debug!(self.scopes[0], "The master does not take note of it: {error}");
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
        let mut worker = Thread::new(pair.node(), &pair.master);
        worker.agents = Store::new(Panics::default());
        std::thread::scope(|scope| {
            scope.spawn(move || worker.run(&messages));
            for (whole, command) in [(false, "syn_w_g_err "), (true, "syn_wgc_err ")] {
                let content = br#"{"chunks": ["[{\"data\":[{\"id\":1,\"name\":\"a\",\"groups\":[]}]}]"]}"#;
                assert!(inbox.message("1", Some(Holding { bytes: content.to_vec(), share: None }), whole).is_ok());
                assert!(pair.wait(command).contains("were not stored: see the log"));
            }
            pair.master.close("the test ends");
        });
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
