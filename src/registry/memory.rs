//! `queue/cluster-state/nodes.json`: the workers that this master knows, connected or not, over its restarts.
//!
//! ```text
//! {"nodes": [
//! {"name":"w1","type":"worker","version":"4.14.7","ip":"10.0.0.1","key":"0123abcd","left":null},
//! {"name":"w2","type":"worker","version":"4.14.7","ip":"10.0.0.2","key":"0123abcd","session":true,
//!  "left":{"since":"2026-11-29T15:00:12.000000Z","reason":"no keep-alive came in time"}}
//! ]}
//! ```
//! Each in one line. Thread `nodes` writes it when what it says has changed, and rests after that: whoever has the key and
//! comes and goes all the time is not to wear the disk out. If it cannot be written, or is damaged, the cluster goes on, and
//! the log tells what to do: what is lost are nodes that people miss, and that some have had a session (`spec/native.md` 4).

use std::{io, time::Duration};

use crossbeam_channel::select;
use log::Level;
use serde::Deserialize;

use super::{
    Registry,
    away::{Away, Left, least_missed},
};
use crate::{
    limits::AWAY,
    logging::{Repeats, Scope, error, log, scope},
    node::Node,
    system::{clock::Clock, state_file::StateFile},
    verdict::natural,
};

/// From one writing to the next, at least.
const PAUSE: Duration = Duration::from_secs(2);

/// From one attempt to the next, after one that failed.
const RETRY: Duration = Duration::from_secs(30);

/// A longer file is none of this daemon's.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The file.
pub struct Memory(StateFile);

#[derive(Deserialize)]
struct File {
    nodes: Vec<Away>,
}

impl Memory {
    /// That of a node; nothing is opened yet.
    pub fn new(node: &Node) -> Self {
        Self(StateFile::new(node.home.known_nodes(), LONGEST))
    }

    /// What an earlier run has known, the longest gone first; `own` is the name of this master. A file that cannot be read
    /// is set aside, and the log tells it.
    pub fn load(&self, own: &str, clock: &Clock) -> Vec<Away> {
        let nodes = match self.read() {
            Ok(nodes) => nodes,
            Err(error) => {
                self.set_aside(&error);
                Vec::new()
            }
        };
        let now = clock.wall();
        let since = |away: &Away| away.left.as_ref().map_or(now, |left| left.since);
        let mut known: Vec<Away> = Vec::new();
        for mut away in nodes.into_iter().map(Away::bounded) {
            if away.name.is_empty() || away.name == own || known.iter().any(|other| other.name == away.name) {
                continue;
            }
            away.left.get_or_insert_with(|| Left::with_the_master(now));
            known.push(away);
        }
        known.sort_by_key(since);
        while known.len() > AWAY {
            known.remove(least_missed(&known));
        }
        known
    }

    fn read(&self) -> io::Result<Vec<Away>> {
        let Some(bytes) = self.0.read()? else { return Ok(Vec::new()) };
        serde_json::from_slice(&bytes).map(|File { nodes }| nodes).map_err(io::Error::from)
    }

    fn set_aside(&self, why: &io::Error) {
        let done = self.0.set_aside();
        error!(
            log_scope(),
            "{}, by which this master knows the workers that are away, cannot be read: {why}. {done}. Every worker that connects is \
             known again; look into that file for those that do not. A worker that has had a session is accepted without one \
             until it has one again.",
            self.0.path().display()
        );
    }

    /// The thread `nodes`: writes the file when it has changed, until the node stops.
    pub fn run(&self, node: &Node, registry: &Registry) {
        let told = Repeats::default();
        let mut written = self.0.read().ok().flatten().unwrap_or_default();
        loop {
            let goes_on = match self.write(&mut written, registry) {
                Ok(false) => has_changed(node, registry),
                // What has changed meanwhile is written then.
                Ok(true) => node.shutdown.sleep(&node.clock, PAUSE),
                Err(error) => {
                    self.tell(&error, told.level(Level::Warn, &error.to_string(), node.clock.now()));
                    node.shutdown.sleep(&node.clock, RETRY)
                }
            };
            if !goes_on {
                break;
            }
        }
        if let Err(error) = self.write(&mut written, registry) {
            self.tell(&error, Level::Warn);
        }
    }

    /// Makes the file say what is known now; whether it did not.
    fn write(&self, written: &mut Vec<u8>, registry: &Registry) -> io::Result<bool> {
        let content = content(registry);
        if *written == content || written.is_empty() && content == NOBODY {
            return Ok(false);
        }
        self.0.write(&content)?;
        *written = content;
        Ok(true)
    }

    fn tell(&self, error: &io::Error, level: Level) {
        log!(
            log_scope(),
            level,
            "{} cannot be written: {error}. When this master starts again, it will not know all workers that are away now. \
             Let the user of this daemon write to that directory, and let there be room.",
            self.0.path().display()
        );
    }
}

fn log_scope() -> Scope {
    scope("Master", "Nodes")
}

/// Waits until there is something to write; false if the node stops before.
fn has_changed(node: &Node, registry: &Registry) -> bool {
    select! {
        recv(node.shutdown.channel()) -> _ => false,
        recv(registry.changed()) -> _ => true,
    }
}

/// The file of a master that knows nobody.
const NOBODY: &[u8] = b"{\"nodes\": [\n]}\n";

/// What the file is to say.
fn content(registry: &Registry) -> Vec<u8> {
    let (connected, mut nodes) = registry.all();
    nodes.extend(connected.iter().map(|worker| Away::of(worker)));
    text(nodes)
}

fn text(mut nodes: Vec<Away>) -> Vec<u8> {
    // Who comes and goes is not to move the lines of others.
    nodes.sort_by(|one, other| natural(&one.name, &other.name));
    // Nothing in it can fail to become text.
    let line = |away: &Away| serde_json::to_string(away).unwrap_or_default();
    let lines: Vec<String> = nodes.iter().map(line).collect();
    let end = if lines.is_empty() { "" } else { "\n" };
    format!("{{\"nodes\": [\n{}{end}]}}\n", lines.join(",\n")).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use super::*;
    use crate::config::Home;

    fn memory(home: &tempfile::TempDir) -> Memory {
        let home = Home::new(home.path());
        fs::create_dir_all(home.cluster_state_dir()).unwrap();
        Memory(StateFile::new(home.known_nodes(), LONGEST))
    }

    fn away(name: &str, since: Option<u64>) -> Away {
        let left = |seconds| Left::new(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), "why");
        let [node_type, version, ip] = ["worker", "4.14.7", "::1"].map(str::to_owned);
        Away {
            name: name.to_owned(),
            node_type,
            version,
            ip,
            key: Some("0123abcd".into()),
            session: false,
            left: since.map(left),
        }
    }

    /// Case 2.1: over a restart, too. What was connected then is away until it comes back.
    #[test]
    fn what_was_written_is_known_again() {
        let home = tempfile::tempdir().unwrap();
        let memory = memory(&home);
        let clock = Clock::real();
        assert!(memory.load("m", &clock).is_empty(), "there is no file");
        let nodes = vec![away("w10", Some(70)), away("w2", None), away("w1", Some(80)), away("m", Some(60))];
        fs::write(memory.0.path(), text(nodes)).unwrap();
        let known = memory.load("m", &clock);
        let names: Vec<&str> = known.iter().map(|away| away.name.as_str()).collect();
        assert_eq!(names, ["w10", "w1", "w2"], "the longest gone first, and not this master itself");
        assert_eq!(known[0], away("w10", Some(70)));
        let left = known[2].left.as_ref().unwrap();
        assert!(left.reason.contains("since this master started") && left.since > SystemTime::UNIX_EPOCH, "{left:?}");
        let lines = String::from_utf8(text(known)).unwrap();
        assert_eq!(lines.lines().count(), 5);
        assert_eq!(text(Vec::new()), NOBODY);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_one_without_end_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        let memory = memory(&home);
        let aside = memory.0.path().with_extension("json.damaged");
        let valid = String::from_utf8(text(vec![away("w1", Some(1))])).unwrap();
        let long = valid.clone() + &" ".repeat(LONGEST as usize);
        for damaged in ["", "{", "[]", "{\"nodes\": [{\"name\": 3}]}", &valid[..valid.len() / 2], &long] {
            fs::write(memory.0.path(), damaged).unwrap();
            assert!(memory.load("m", &Clock::real()).is_empty());
            assert!(!memory.0.path().exists());
            assert_eq!(fs::read_to_string(&aside).unwrap(), damaged);
        }
        fs::write(memory.0.path(), valid).unwrap();
        assert_eq!(memory.load("m", &Clock::real()).len(), 1);
    }

    #[test]
    fn names_without_end_are_not_kept() {
        let home = tempfile::tempdir().unwrap();
        let memory = memory(&home);
        let nodes = (0..3 * AWAY as u64).map(|number| away(&format!("w{number}"), Some(number)));
        fs::write(memory.0.path(), text(nodes.chain([away("w0", Some(7))]).collect())).unwrap();
        let known = memory.load("m", &Clock::real());
        assert_eq!((known.len(), &*known[AWAY - 1].name), (AWAY, &*format!("w{}", 3 * AWAY - 1)));
        let mut nodes = vec![Away { session: true, ..away("old", Some(1)) }];
        nodes.extend((0..AWAY as u64).map(|number| away(&format!("w{number}"), Some(2 + number))));
        fs::write(memory.0.path(), text(nodes)).unwrap();
        let known = memory.load("m", &Clock::real());
        assert_eq!((known.len(), &*known[0].name, &*known[1].name), (AWAY, "old", "w1"), "its session counts");
    }
}
