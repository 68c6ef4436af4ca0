//! `agent_database`: ours.

use serde_json::Value;

use super::section::Section;

/// Which agent database a node uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentDatabase {
    /// That of the original's database daemon if `bin/wazuh-db` is installed in the home, else the embedded one.
    Auto,
    /// The embedded one, which other programs find at the sockets of the original.
    Embedded,
    /// That of the original's database daemon.
    WazuhDb,
}

impl AgentDatabase {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        root.convert("agent_database", "auto, embedded or wazuh-db", parse).unwrap_or(Self::Auto)
    }
}

fn parse(value: &Value) -> Option<AgentDatabase> {
    match value.as_str()? {
        "auto" => Some(AgentDatabase::Auto),
        "embedded" => Some(AgentDatabase::Embedded),
        "wazuh-db" => Some(AgentDatabase::WazuhDb),
        _ => None,
    }
}
