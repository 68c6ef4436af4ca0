//! Errors as people and programs see them.

use std::{error::Error, fmt::Write, fs, os::unix::fs::MetadataExt, path::Path};

use serde_json::{Value, json};

use super::{Exit, Output, arguments::Request, not_running, report};
use crate::{
    config::Home,
    local::client::AskError,
    system::{user, visible::visible},
};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The daemon gave no result.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The master is a stock one, which does not know the question.
    #[error("Error {MALFORMED} - {}", self.message())]
    OriginalMaster {
        /// What it cannot do.
        what: &'static str,
    },
    /// The registrar refused.
    #[error("Error {code} - {message}")]
    NotRegistered {
        /// The number, `spec/registration.md` 2.
        code: u32,
        /// The master's reason.
        message: String,
    },
    /// The candidate has not become the master.
    #[error("Error {NOT_SWITCHED} - {}", self.message())]
    NotSwitched {
        /// The candidate.
        to: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The registrar of this node cannot be asked.
    #[error("Error {MALFORMED} - {0}")]
    Registrar(String),
    /// The daemon's result has not the shape that it should have; its version may be another.
    #[error("Error {MALFORMED} - {}", self.message())]
    Malformed {
        /// The request.
        what: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What a user is to do who may not use `socket`. Where its directory is closed too, its group is that of the daemon.
fn permission(socket: &Path) -> String {
    let about = fs::metadata(socket).ok();
    let owner = about.as_ref().and_then(|about| {
        let (user, group) = (user::user_name(about.uid())?, user::group_name(about.gid())?);
        Some((format!(" (it belongs to {user}:{group}, mode {:04o})", about.mode() & 0o7777), group))
    });
    let (belongs, group) = owner.unwrap_or_else(|| (String::new(), user::GROUP.to_owned()));
    let me = user::own_name();
    format!("run it with sudo, or join the group of the socket{belongs}: usermod -aG {group} {me}, then log in again")
}

/// The stock daemon's number for what has none of its own.
const MALFORMED: u32 = 1000;
const NO_MASTER: u32 = 3023;
const NOT_SWITCHED: u32 = 3000;
/// Error 1730: no node has the name that was asked for.
const NO_NODE: u32 = 1730;

impl Failure {
    /// The failure of a question that a master of ours knows, and that is about to `what`.
    pub(super) fn of_master(error: AskError, what: &'static str) -> Self {
        match error {
            AskError::Refused(refused) if refused.message().contains("unknown command") => {
                Self::OriginalMaster { what }
            }
            other => Self::Ask(other),
        }
    }

    fn code(&self) -> u32 {
        match self {
            Self::Ask(error) => error.code(),
            Self::NotRegistered { code, .. } => *code,
            Self::NotSwitched { .. } => NOT_SWITCHED,
            Self::Malformed { .. } | Self::OriginalMaster { .. } | Self::Registrar(_) => MALFORMED,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Ask(error) => error.message(),
            Self::NotRegistered { message, .. } | Self::Registrar(message) => message.clone(),
            Self::OriginalMaster { what } => format!("the master of this cluster cannot {what} for this program"),
            Self::NotSwitched { to, seconds } => format!("{to} is not the master after {seconds} s"),
            Self::Malformed { what, .. } => format!("cannot parse the daemon's answer to {what}"),
        }
    }

    /// A worker without its master, or a name that no node has, is a node that is not connected; anything else is a
    /// question without an answer.
    fn exit(&self) -> Exit {
        if matches!(self.code(), NO_MASTER | NO_NODE) { Exit::NotInSync } else { Exit::CannotAsk }
    }

    fn remedy(&self, home: &Home) -> Option<String> {
        match self {
            Self::Ask(AskError::NotRunning { .. }) => Some(not_running::remedy(home)),
            Self::Ask(AskError::NotPermitted { socket, .. }) => Some(permission(socket)),
            _ => self.general_remedy().map(str::to_owned),
        }
    }

    fn general_remedy(&self) -> Option<&'static str> {
        Some(match (self, self.code()) {
            (Self::Ask(AskError::Timeout { forwarded: true, .. }), _) => {
                "ask on the master; a stock worker does not answer either if a node after -fn does not exist"
            }
            (Self::Ask(AskError::Timeout { .. } | AskError::Closed { .. }), _) => {
                "try again; if it stays so, logs/cluster.log shows what the daemon is doing"
            }
            (Self::OriginalMaster { .. }, _) => {
                "it is a stock master: run its own cluster_control there, or ask the Wazuh server API"
            }
            (Self::NotSwitched { .. }, _) => {
                "logs/cluster.log of that node tells why; 'cluster_control --failover-status' shows who the master is"
            }
            (Self::Malformed { .. }, _) => "use the cluster_control that was installed with the daemon",
            (Self::NotRegistered { .. }, 9005) => {
                "a name has 2 to 128 letters, digits, '-', '_' and '.', and does not begin with '.'"
            }
            (Self::NotRegistered { .. }, 9006) => "write an IPv4 or IPv6 address, with /BITS for a network, or any",
            (Self::NotRegistered { .. }, 9007 | 9008) => {
                "'cluster_control -a' shows who has it; --force replaces that agent"
            }
            (Self::NotRegistered { .. }, 9011) => "'cluster_control -a' lists the agents",
            (Self::NotRegistered { .. }, 9014) => "each group needs its directory in etc/shared of the master",
            (Self::NotRegistered { .. } | Self::Registrar(_), _) => {
                "it may have been done: 'cluster_control -a' shows whether; the reason is in the log of the master"
            }
            (_, NO_NODE) => "'cluster_control -l' lists the known nodes",
            (_, 2005) => "the agent database does not answer; the reason is in logs/cluster.log",
            // What it says names the remedy.
            (Self::Ask(AskError::Refused(error)), NO_MASTER) if error.extra.is_some() => return None,
            (_, NO_MASTER) => {
                "check <nodes>, <port> and <key> of <cluster> in etc/ossec.conf; the reason is in logs/cluster.log"
            }
            _ => return None,
        })
    }

    /// The error for programs.
    pub(super) fn to_value(&self) -> Value {
        json!({"code": self.code(), "message": self.message()})
    }

    /// What is printed about the daemon of `home`. With `--json` the error is a document on standard output.
    pub(super) fn output(&self, request: &Request, home: &Home) -> Output {
        let (mut out, mut err) = (String::new(), String::new());
        if request.json {
            out = report::document(&json!({"error": self.to_value()}));
        } else {
            // Writing to a string cannot fail.
            let _ = writeln!(err, "ERROR: {}", visible(&self.to_string()));
            if let Some(remedy) = self.remedy(home) {
                let _ = writeln!(err, "Remedy: {remedy}.");
            }
        }
        let mut cause = if request.debug { self.source() } else { None };
        while let Some(error) = cause {
            let _ = writeln!(err, "Caused by: {}", visible(&error.to_string()));
            cause = error.source();
        }
        Output { out, err, exit: self.exit() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_use_the_socket_reads_its_owner_and_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        fs::write(&socket, "").unwrap();
        let (me, group) = (user::own_name(), user::own_group_name());
        let said = permission(&socket);
        assert!(said.contains(&format!("(it belongs to {me}:{group}, mode 0")), "{said}");
        assert!(said.contains(&format!("usermod -aG {group} {me}")), "{said}");
        let closed = permission(&directory.path().join("none"));
        assert!(closed.contains(&format!("usermod -aG {} {me}", user::GROUP)), "{closed}");
    }
}
