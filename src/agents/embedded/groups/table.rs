//! The rows of `group` and `belongs`.

use rusqlite::OptionalExtension;

use crate::agents::{embedded::Database, is_group};

/// The id of a group; none if there is no such group.
pub(in crate::agents::embedded) fn id_of(database: &Database, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = database.connection.prepare_cached("SELECT id FROM `group` WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

/// The id of a group, which may have been made a moment ago: one that has a folder and no row gets its row now, and not
/// when housekeeping comes to it.
pub(in crate::agents::embedded) fn id_or_new(database: &Database, name: &str) -> rusqlite::Result<Option<i64>> {
    let has_folder = || database.shared.as_ref().is_some_and(|shared| is_group(shared, name));
    match id_of(database, name)? {
        None if has_folder() => make(database, name).map(Some),
        id => Ok(id),
    }
}

/// Makes a group that is known to be one.
pub(super) fn make(database: &Database, name: &str) -> rusqlite::Result<i64> {
    database.connection.prepare_cached("INSERT INTO `group` (name) VALUES (?1)")?.execute([name])?;
    Ok(database.connection.last_insert_rowid())
}

/// An agent that is left without a group goes to `default`; whether that succeeded.
pub(super) fn leave_none_without(database: &Database, agent: i64) -> rusqlite::Result<bool> {
    if database.connection.prepare_cached("SELECT 1 FROM belongs WHERE id_agent = ?1")?.exists([agent])? {
        return Ok(true);
    }
    let Some(default) = id_of(database, "default")? else { return Ok(false) };
    if !exists(database, agent)? {
        return Ok(false);
    }
    belong(database, agent, default, 0).map(|()| true)
}

pub(super) fn belong(database: &Database, agent: i64, group: i64, priority: i64) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO belongs (id_agent, id_group, priority) VALUES (?1, ?2, ?3)";
    database.connection.prepare_cached(sql)?.execute([agent, group, priority]).map(drop)
}

pub(super) fn exists(database: &Database, agent: i64) -> rusqlite::Result<bool> {
    let mut statement = database.connection.prepare_cached("SELECT 1 FROM agent WHERE id = ?1")?;
    Ok(statement.query_row([agent], |_| Ok(())).optional()?.is_some())
}
