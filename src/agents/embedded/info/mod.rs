//! What a worker tells the master of its agents, and how the master stores it.
//!
//! Two forms: the commands of 4.4 to 4.12 in [`texts`], the object of 4.13 (section 9.1) in [`collect`] and [`store`].

mod collect;
mod store;
mod texts;

use super::Database;

pub(super) use texts::{get, set};

/// Bytes of one object that is given out, or a little more: what is known of some twenty thousand agents. What is left
/// follows with the next.
pub(super) const LONGEST_OBJECT: usize = 16 * 1024 * 1024;

/// Agents that one statement names.
const NAMED: usize = 100_000;

/// Notes that the master has been told of these agents. One statement for many: the check of `sync_status` costs SQLite
/// more than the rest of it, once for each statement.
fn mark_sent(database: &Database, ids: &[i64]) -> rusqlite::Result<()> {
    let sql = "UPDATE agent SET sync_status = 'synced' WHERE id IN (SELECT value FROM json_each(?1))";
    let mut statement = database.connection.prepare_cached(sql)?;
    ids.chunks(NAMED).try_for_each(|ids| statement.execute([serde_json::json!(ids).to_string()]).map(drop))
}

/// The columns of a whole record in the order in which they travel.
const RECORD: [&str; 22] = [
    "id",
    "name",
    "ip",
    "os_name",
    "os_version",
    "os_major",
    "os_minor",
    "os_codename",
    "os_build",
    "os_platform",
    "os_uname",
    "os_arch",
    "version",
    "config_sum",
    "merged_sum",
    "manager_host",
    "node_name",
    "last_keepalive",
    "connection_status",
    "disconnection_time",
    "group_config_status",
    "status_code",
];

/// Those of them that are numbers: these are always told.
const NUMBERS: [&str; 4] = ["id", "last_keepalive", "disconnection_time", "status_code"];
