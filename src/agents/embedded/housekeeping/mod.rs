//! The `housekeeping` thread: what the manager's other programs do with the agent database, as long as they are not
//! installed.
//!
//! | duty | where | instead of |
//! |---|---|---|
//! | `keys`: a row for each key in client.keys | worker, master | `wazuh-modulesd`, `wazuh-authd` |
//! | `folders`: a group for each folder in etc/shared | both | `wazuh-modulesd` |
//! | `first`: a group for an agent that connects for the first time | master | `wazuh-remoted` |
//! | `silent`: the end of the connection of an agent that has said nothing for long | both | `wazuh-monitord` |
//!
//! Period: one second. A turn looks at the stamps of one file and one folder; only what has changed is read, and what the
//! registrar of this process has changed in client.keys is not: it has made the rows. `silent` looks at all rows, at most
//! once a minute while agents may be silent for ten. Each duty gives the thread of the
//! database away after a bounded number of rows.

mod first;
mod folders;
mod keys;
mod silent;

use std::time::Duration;

use log::Level;

use super::{Database, Embedded};
use crate::{
    agents::{Covered, Error, GroupFolders},
    config::NodeType,
    logging::{Repeats, error, log, scope},
    node::Node,
    system::thread::guard,
};
use folders::Folders;
use keys::Keys;
use silent::Silent;

/// From one turn to the next.
const TURN: Duration = Duration::from_secs(1);

/// Does work on the thread of the database.
trait Rows {
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> T + Send + 'static) -> Result<T, Error>;
}

impl Rows for Embedded {
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> T + Send + 'static) -> Result<T, Error> {
        Self::with(self, |database| work(database))
    }
}

/// What could not be done; the next turn tries again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Database(#[from] Error),
    #[error("{0}")]
    Rows(String),
    #[error("{path} cannot be read: {error}. Nothing is removed while it is so")]
    File { path: std::path::PathBuf, error: std::io::Error },
}

impl From<super::answer::Failure> for Failed {
    fn from(failure: super::answer::Failure) -> Self {
        Self::Rows(failure.to_string())
    }
}

/// The thread: runs until the node stops. `covered` is also the registrar's, which makes rows too; `silence` is the time
/// for which an agent may be silent.
pub fn run(node: &Node, database: &Embedded, covered: Covered, silence: Duration) {
    let home = &node.home;
    let is_master = node.cluster.node_type == NodeType::Master;
    let keys_are_others = match node.cluster.node_type {
        NodeType::Master => node.settings.registration.is_external(home, "wazuh-authd"),
        NodeType::Worker => home.has_program("wazuh-modulesd"),
    };
    let mut keys = (!keys_are_others).then(|| Keys::new(home.client_keys(), is_master, covered));
    let kept = (!is_master).then(|| GroupFolders::new(home.shared_dir(), node.owner));
    let mut folders = (!home.has_program("wazuh-modulesd")).then(|| Folders::new(home.shared_dir(), kept));
    let assigns = is_master && !home.has_program("wazuh-remoted");
    let mut silent = (!home.has_program("wazuh-monitord")).then(|| Silent::new(silence, node.clock.now()));
    let mut instance = None;
    let (scope, told) = (scope("Cluster", "Agent database"), Repeats::default());
    loop {
        let turn = || -> Result<(), Failed> {
            let now = Some(database.with(|database| database.instance)?);
            if std::mem::replace(&mut instance, now) != now {
                // A new file has no rows yet.
                keys.iter_mut().for_each(Keys::forget);
                folders.iter_mut().for_each(Folders::forget);
            }
            // Groups come before the agents that belong to them.
            folders.as_mut().map_or(Ok(()), |folders| folders.turn(database))?;
            keys.as_mut().map_or(Ok(()), |keys| keys.turn(database))?;
            if assigns {
                first::turn(database)?;
            }
            silent.as_mut().map_or(Ok(()), |silent| silent.turn(database, node.clock.now(), &scope))
        };
        match guard(turn) {
            Ok(Ok(())) => told.clear(),
            // The owner of the file has told why.
            Ok(Err(Failed::Database(_))) => (),
            Ok(Err(failed)) => {
                let text = failed.to_string();
                log!(scope, told.level(Level::Error, &text, node.clock.now()), "{text}.");
            }
            Err(panic) => error!(scope, "Housekeeping failed: {panic}. Please report this."),
        }
        if !node.shutdown.sleep(&node.clock, TURN) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
