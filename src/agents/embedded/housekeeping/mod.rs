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
//! Period: one second. A turn looks at the stamps of one file and one folder; only what has changed is read. A
//! client.keys without an outline is not, if it was the registrar of this process that has changed it: it has made the
//! rows. `silent` looks at all rows, at most once a minute while agents may be silent for ten. Each duty gives the
//! thread of the database away after a bounded number of rows.

mod duty;
mod first;
mod folders;
mod index;
mod keys;
mod silent;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Database, Embedded};
use crate::{
    agents::{Covered, GroupFolders},
    config::{Home, NodeType, settings::Choice},
    files::Outlines,
    logging::{Scope, scope},
    system::{clock::Clock, shutdown::Shutdown, user::Owner},
    turn::{Failure, Turns},
};
use duty::DutyFailure;
use folders::Folders;
use keys::Keys;
use silent::Silent;

/// From one turn to the next.
const TURN: Duration = Duration::from_secs(1);

/// What the thread works with.
pub struct Housekeeping {
    /// The installation, whose programs are looked for.
    pub home: Home,
    /// The role of this node.
    pub role: NodeType,
    /// Who registers agents on this node.
    pub registration: Choice,
    /// Who gets the folders that are made.
    pub owner: Option<Owner>,
    /// The state of client.keys that has its rows; the registrar of this process sets it, too.
    pub covered: Covered,
    /// What the scan of this node knows of large files.
    pub outlines: Arc<Outlines>,
    /// How long an agent that the master has assigned to groups may be without a key.
    pub keyless: Duration,
    /// The time for which an agent may be silent.
    pub silence: Duration,
    /// Paces the turns.
    pub clock: Clock,
}

impl Housekeeping {
    /// The thread: runs until the order to stop.
    pub fn run(self, database: &Embedded, order: &Shutdown) {
        let (clock, mut duties) = (self.clock.clone(), self.duties());
        let turns = Turns::uncounted(scope("Cluster", "Agent database"), &clock);
        loop {
            let begun = clock.now();
            duties.run(&turns, |duties| {
                match duties.turn(database, begun, turns.scope()) {
                    Ok(()) => _ = turns.done(begun),
                    // The owner of the file has told why.
                    Err(DutyFailure::Database(_)) => (),
                    Err(failure) => return Err(format!("{failure}.")),
                }
                Ok(())
            });
            if !order.sleep(&clock, TURN) {
                return;
            }
        }
    }

    /// The duties of the programs that are not there.
    fn duties(self) -> Duties {
        let Self { home, role, registration, owner, covered, outlines, keyless, silence, clock } = self;
        let (is_master, lacks) = (role == NodeType::Master, |program| !home.has_program(program));
        let has_keys = match role {
            NodeType::Master => !registration.is_external(&home, "wazuh-authd"),
            NodeType::Worker => lacks("wazuh-modulesd"),
        };
        let kept = (!is_master).then(|| GroupFolders::new(home.shared_dir(), owner));
        Duties {
            instance: None,
            folders: lacks("wazuh-modulesd").then(|| Folders::new(home.shared_dir(), kept)),
            keys: has_keys
                .then(|| Keys::new(home.client_keys(), is_master, covered, keyless).with_outlines(Some(outlines))),
            assigns: is_master && lacks("wazuh-remoted"),
            silent: lacks("wazuh-monitord").then(|| Silent::new(silence, clock.now())),
        }
    }
}

/// What there is to do in a turn.
struct Duties {
    /// The file that the duties were done to.
    instance: Option<u32>,
    folders: Option<Folders>,
    keys: Option<Keys>,
    /// Whether agents that connect for the first time get a group.
    assigns: bool,
    silent: Option<Silent>,
}

impl Duties {
    /// Runs a turn. After a panic it is not known what was done, so the next one does all of it.
    fn run(&mut self, turns: &Turns, turn: impl FnOnce(&mut Self) -> Result<(), String>) {
        if let Err(Failure::Panic(_)) = turns.run_damped(|_| true, || turn(self)) {
            self.instance = None;
        }
    }

    fn turn(&mut self, database: &Embedded, now: Instant, scope: &Scope) -> Result<(), DutyFailure> {
        let begin = |database: &mut Database| (database.instance, database.ahead.take(), database.connected.clone());
        let (instance, ahead, connected) = database.with(begin)?;
        self.keys.iter_mut().for_each(|keys| keys.await_keys(ahead, now));
        if self.instance.replace(instance) != Some(instance) {
            // A new file has no rows yet.
            self.keys.iter_mut().for_each(Keys::forget);
            self.folders.iter_mut().for_each(Folders::forget);
        }
        // Groups come before the agents that belong to them.
        self.folders.as_mut().map_or(Ok(()), |folders| folders.turn(database))?;
        self.keys.as_mut().map_or(Ok(()), |keys| keys.turn(database))?;
        if self.assigns && !connected.are_none() {
            first::turn(database)?;
        }
        self.silent.as_mut().map_or(Ok(()), |silent| silent.turn(database, now, scope))
    }
}

#[cfg(test)]
mod tests;
