//! Why a request to the daemon brought no result.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::wire::{Command, ErrorObject};

/// Why a request to the daemon brought no result. It is shown as `Error <code> - <message>`.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens at the socket.
    NotRunning {
        /// Where it should be.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// This user may not use the socket.
    NotPermitted {
        /// Where it is.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon, or the master behind it, answered with an error.
    Refused(ErrorObject),
    /// The time limit passed.
    Timeout {
        /// What was asked.
        command: Command,
        /// The limit.
        limit: Duration,
        /// Whether the daemon had passed the request to the master.
        forwarded: bool,
    },
    /// The daemon closed the connection without a result.
    Closed {
        /// What was asked.
        command: Command,
    },
    /// The connection failed, or what came over it is not the protocol.
    Broken {
        /// What was asked.
        command: Command,
        /// What failed.
        source: io::Error,
    },
}

impl AskError {
    /// The number, `spec/protocol.md` 5.3.
    pub fn code(&self) -> u32 {
        match self {
            Self::NotRunning { .. } => 3012,
            Self::NotPermitted { .. } | Self::Closed { .. } | Self::Broken { .. } => 3009,
            Self::Refused(error) => error.code,
            Self::Timeout { .. } => 3020,
        }
    }

    /// The sentence, without the number and without the cause, which is the error's source.
    pub fn message(&self) -> String {
        match self {
            Self::NotRunning { socket, .. } => {
                format!("Cluster is not running: no daemon listens at {}", socket.display())
            }
            Self::NotPermitted { socket, .. } => {
                format!("Cannot talk to the cluster: no permission to use {}", socket.display())
            }
            Self::Refused(error) => error.message(),
            Self::Timeout { command, limit, forwarded } => {
                let who = if *forwarded { "the master" } else { "the daemon" };
                let limit = limit.as_secs_f64();
                format!("Timeout sending request: {who} did not answer {command} within {limit} s")
            }
            Self::Closed { command } => {
                format!("Cannot talk to the cluster: the daemon closed the connection before it answered {command}")
            }
            Self::Broken { command, .. } => {
                format!("Cannot talk to the cluster: the connection failed during {command}")
            }
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error {} - {}", self.code(), self.message())
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotRunning { source, .. } | Self::NotPermitted { source, .. } | Self::Broken { source, .. } => {
                Some(source)
            }
            Self::Refused(_) | Self::Timeout { .. } | Self::Closed { .. } => None,
        }
    }
}
