//! What the shell learns.

use std::process::ExitCode;

/// The verdict of a run, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every node that was asked for is connected and in sync; also after help.
    InSync = 0,
    /// The daemon does not run, cannot be asked, or answered with an error.
    CannotAsk = 1,
    /// The command line is wrong.
    WrongUsage = 2,
    /// Some node is not in sync or not connected; or it differs from the master, or could not be compared.
    NotInSync = 3,
}

/// The exit codes as the help explains them.
pub(super) const TABLE: [(Exit, &str); 4] = [
    (Exit::InSync, "done; or every requested node is connected and in sync, has the master's key, or does not differ"),
    (Exit::CannotAsk, "the daemon is not running, cannot be asked, or answered with an error; or the master refused"),
    (Exit::WrongUsage, "wrong usage of cluster_control"),
    (
        Exit::NotInSync,
        "at least one node is away, behind, joining or unknown, has another key or configuration, could not be compared,
     or has not loaded its ruleset; this worker is not connected to the master; or this node has set something aside",
    ),
];

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
