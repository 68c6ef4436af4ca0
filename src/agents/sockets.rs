//! Where the sockets of the agent database stand (`spec/agentdb.md` 1 and 9).

use std::path::PathBuf;

use crate::config::Home;

/// For commands, in frames.
pub(super) fn wdb(home: &Home) -> PathBuf {
    home.path().join("queue/db/wdb")
}

/// For HTTP.
pub(super) fn http(home: &Home) -> PathBuf {
    home.path().join("queue/sockets/wdb-http.sock")
}
