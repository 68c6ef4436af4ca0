//! `queue/cluster-state/master.json`: the master with which this worker has had a session (`spec/native.md` 4).
//!
//! ```text
//! {"address": "10.0.0.1:1516", "name": "m"}
//! ```
//! Whoever answers without a session may be somebody who plays back what the master said once, so it is not accepted until a
//! person forgets the master. Where `<nodes>` names several hosts, that holds for all of them. If they name that address no
//! more, it is another cluster.

use std::io;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::Worker;
use crate::{
    logging::{Scope, error, info, scope, warn},
    node::Node,
    system::{json, state_file::StateFile},
    verdict::{Listed, State, Verdict},
    wire::ErrorObject,
};

/// A longer file is none of this daemon's.
const LONGEST: u64 = 4096;

/// What is remembered.
pub struct KnownMaster {
    file: StateFile,
    /// Where this worker connects to.
    addresses: Vec<String>,
    port: u16,
    known: RwLock<Option<Record>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    address: String,
    name: String,
}

impl KnownMaster {
    /// What an earlier run has remembered. A file that cannot be read is set aside, and the log tells it.
    pub fn load(node: &Node) -> Self {
        Self::read(StateFile::new(node.home.known_master(), LONGEST), &node.cluster.nodes, node.cluster.port)
    }

    fn read(file: StateFile, hosts: &[String], port: u16) -> Self {
        let addresses = hosts.iter().map(|host| format!("{host}:{port}")).collect();
        let record = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(io::Error::from);
        let known = file.read().and_then(|bytes| bytes.map(record).transpose()).unwrap_or_else(|why| {
            let done = file.set_aside();
            error!(
                log_scope(),
                "{}, by which this worker knows with which master it has had a session, cannot be read: {why}. {done}. Until the \
                 next session, the master is accepted without one.",
                file.path().display()
            );
            None
        });
        Self { file, port, addresses, known: RwLock::new(known) }
    }

    /// The name of the master, if this worker has had a session with it.
    pub fn name(&self) -> Option<String> {
        let known = self.known.read();
        known.as_ref().filter(|known| self.addresses.contains(&known.address)).map(|known| known.name.clone())
    }

    /// There is a session with the master of this name at `host`.
    pub fn remember(&self, host: &str, name: &str) {
        let record = Record { address: format!("{host}:{}", self.port), name: name.to_owned() };
        if self.known.read().as_ref() == Some(&record) {
            return;
        }
        if let Err(error) = self.file.write(json::text(&record).as_bytes()) {
            warn!(
                log_scope(),
                "{} cannot be written: {error}. After its next start this worker accepts its master without a session. Let \
                 the user of this daemon write to that directory, and let there be room.",
                self.file.path().display()
            );
        }
        *self.known.write() = Some(record);
        info!(
            log_scope(),
            "There is a session with the master {name}, and it is not accepted without one from now on. If it is to run the \
             stock daemon again: 'cluster_control --forget {name}' on this worker."
        );
    }

    /// Forgets the master.
    ///
    /// # Errors
    /// When that cannot be written down; it is known still.
    fn forget(&self) -> io::Result<()> {
        self.file.remove()?;
        *self.known.write() = None;
        Ok(())
    }
}

impl Worker {
    /// The answer to `forget_node` for the master whose name is in this JSON text.
    ///
    /// # Errors
    /// When it is another node, or there is a session with it now; the asking person is at fault.
    pub fn forget(&self, name: &[u8]) -> Result<String, ErrorObject> {
        let name: String =
            serde_json::from_slice(name).map_err(|error| ErrorObject::unexpected(format!("the name: {error}")))?;
        let refuse = |text: String| Err(ErrorObject::cluster(3000, text));
        match self.known_master.name() {
            Some(master) if master == name => {}
            Some(master) => return refuse(format!("run it on the master: a worker forgets only its master, {master}")),
            None => {
                return refuse("run it on the master: this worker has no session with its own to forget".to_owned());
            }
        }
        if self.master().is_some_and(|master| master.in_session()) {
            return refuse(format!(
                "there is a session with {name}: stop it there first; it would be known again at once"
            ));
        }
        let forgotten = self.known_master.forget().and_then(|()| self.node.term.forget());
        forgotten.map_err(|error| ErrorObject::unexpected(error.to_string()))?;
        info!(log_scope(), "Forgotten by 'cluster_control --forget': {name}.");
        self.hurry.wake();
        let address = self.node.cluster.master().to_owned();
        let verdict = Verdict::bad(State::Away, None, "it is accepted without a session again");
        let listed = Listed::new([name, "master".to_owned(), self.node.settings.version.to_string(), address], verdict);
        Ok(json::text(&serde_json::json!({"forgotten": listed})))
    }
}

fn log_scope() -> Scope {
    scope("Worker", "Link")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(directory: &tempfile::TempDir, hosts: &[&str]) -> KnownMaster {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        KnownMaster::read(StateFile::new(directory.path().join("master.json"), LONGEST), &hosts, 1516)
    }

    #[test]
    fn a_master_is_known_at_its_address_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let known = load(&directory, &["m"]);
        assert_eq!(known.name(), None);
        known.remember("m", "m1");
        known.remember("m", "m1");
        assert_eq!(load(&directory, &["m"]).name().as_deref(), Some("m1"), "over a restart, too");
        assert_eq!(load(&directory, &["other"]).name(), None, "another cluster");
        assert_eq!(load(&directory, &["other", "m"]).name().as_deref(), Some("m1"), "whichever is the master now");
        known.forget().unwrap();
        known.forget().unwrap();
        assert_eq!(known.name(), None);
        assert_eq!(load(&directory, &["m"]).name(), None);
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        for damaged in ["", "{", "[]", &" ".repeat(5000)] {
            fs::write(directory.path().join("master.json"), damaged).unwrap();
            assert_eq!(load(&directory, &["m"]).name(), None);
            assert_eq!(fs::read_to_string(directory.path().join("master.json.damaged")).unwrap(), damaged);
        }
    }
}
