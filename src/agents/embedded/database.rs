//! The open file.

use std::{path::Path, time::UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, hooks::Action};

use super::{
    Answer,
    answer::{Failure, message},
    changes::Changes,
    command, schema,
};
use crate::{config::NodeType, system::clock::Clock};

/// The agent database of this node. One thread owns it.
pub struct Database {
    pub(super) connection: Connection,
    /// Whose file it is: a worker takes names from the master, and only a master tells others of groups.
    pub(super) role: NodeType,
    clock: Clock,
    /// For what must go to the master.
    pub(super) info: Changes,
    /// For assignments to groups that workers do not know yet.
    pub(super) assignments: Changes,
    /// For agents that connect for the first time.
    pub(super) connected: Changes,
}

impl Database {
    /// Opens the file, or creates it with mode 0640.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do.
    pub fn open(path: &Path, role: NodeType, clock: Clock) -> Result<Self, String> {
        todo!()
    }

    /// Unix time in seconds.
    pub(super) fn now(&self) -> i64 {
        self.clock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
    }

    /// Does what a request says, in one transaction.
    pub fn answer(&mut self, request: &str) -> Answer {
        todo!()
    }
}
