//! Groups, which agents belong to them, and the hashes that compare nodes (`spec/agentdb.md` 5, 7.11 to 7.15).
//!
//! An agent's groups stand in three places: rows of `belongs` in order of priority, their names joined by commas in the
//! column `group`, and the hash of that text in `group_hash`. The first decides; [`hash::recompute`] makes the others.

mod assign;
mod collect;
mod hash;
mod names;

use rusqlite::{OptionalExtension, params};

pub(in crate::agents) use self::assign::{Assignment, MOST, Mode};
pub use self::names::is_valid as is_valid_name;
pub(super) use self::{assign::set, collect::sync, hash::names_of};
use super::{
    Answer, Database,
    agents::{sized, told},
    answer::{Failure, Sized},
    command::integer,
    rows,
};
use crate::{agents::is_group, config::NodeType};

const OK: Answer = Answer::Ok(String::new());

/// The id of a group; none if there is no such group.
pub(super) fn id_of(database: &Database, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = database.connection.prepare_cached("SELECT id FROM `group` WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

/// The id of a group, which may have been made a moment ago: one that has a folder and no row gets its row now, and not
/// when housekeeping comes to it.
pub(super) fn id_or_new(database: &Database, name: &str) -> rusqlite::Result<Option<i64>> {
    let has_folder = || database.shared.as_ref().is_some_and(|shared| is_group(shared, name));
    match id_of(database, name)? {
        None if has_folder() => make(database, name).map(Some),
        id => Ok(id),
    }
}

/// Makes a group that is known to be one.
fn make(database: &Database, name: &str) -> rusqlite::Result<i64> {
    database.connection.prepare_cached("INSERT INTO `group` (name) VALUES (?1)")?.execute([name])?;
    Ok(database.connection.last_insert_rowid())
}

pub(super) fn find(database: &Database, name: &str) -> Result<Answer, Failure> {
    let id = id_or_new(database, name).map_err(|error| told(error, "Error getting group id from global.db."))?;
    Ok(Answer::Ok(id.map_or_else(|| "[]".to_owned(), |id| format!(r#"[{{"id":{id}}}]"#))))
}

pub(super) fn insert(database: &Database, name: &str) -> Result<Answer, Failure> {
    const FAILED: &str = "Error inserting group in global.db.";
    if !is_valid_name(name) {
        names::warn(name);
        return Err(Failure::Text(FAILED.to_owned()));
    }
    let mut statement = database.connection.prepare_cached("INSERT INTO `group` (name) VALUES (?1)")?;
    statement.execute([name]).map(|_| OK).map_err(|_| Failure::Text(FAILED.to_owned()))
}

pub(super) fn all(database: &Database, _: &str) -> Result<Answer, Failure> {
    const FAILED: &str = "Error getting groups from global.db.";
    // Callers take what they get for all there is.
    match sized(database, "SELECT name FROM `group` ORDER BY id", &[], FAILED)? {
        Answer::Due(part) => Ok(Answer::Ok(part)),
        answer => Ok(answer),
    }
}

pub(super) fn of_agent(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let names = hash::names_of(database, integer(arguments))
        .map_err(|error| told(error, "Error getting agent groups information from global.db."))?;
    let mut array = Sized::new(2);
    for name in names {
        let mut text = String::new();
        rows::push_text(&mut text, &name);
        if !array.push(&text) {
            break;
        }
    }
    Ok(Answer::Ok(array.finish()))
}

pub(super) fn agents(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let missing = |what: &str| Failure::Text(format!("Invalid arguments, {what} not found."));
    let group = words.next().ok_or_else(|| missing("group name"))?;
    words.next().filter(|word| *word == "last_id").ok_or_else(|| missing("'last_id'"))?;
    let last = integer(words.next().ok_or_else(|| missing("last agent id"))?);
    let sql = "SELECT id_agent FROM belongs JOIN `group` ON `group`.id = id_group
               WHERE name = ?1 AND id_agent > ?2 ORDER BY id_agent";
    let fill = || -> rusqlite::Result<Answer> {
        let mut statement = database.connection.prepare_cached(sql)?;
        let (mut rows, mut array) = (statement.query(params![group, last])?, Sized::new(2));
        while let Some(row) = rows.next()? {
            if !array.push(&row.get::<_, i64>(0)?.to_string()) {
                return Ok(Answer::Due(array.finish()));
            }
        }
        Ok(Answer::Ok(array.finish()))
    };
    fill().map_err(|error| told(error, "Error getting group agents from global.db."))
}

pub(super) fn delete(database: &Database, name: &str) -> Result<Answer, Failure> {
    let work = || -> rusqlite::Result<bool> {
        let Some(group) = id_of(database, name)? else { return Ok(true) };
        let members: Vec<i64> = database
            .connection
            .prepare_cached("SELECT id_agent FROM belongs WHERE id_group = ?1")?
            .query_map([group], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        database.connection.prepare_cached("DELETE FROM `group` WHERE id = ?1")?.execute([group])?;
        // Others hear of it from the master only.
        let status = if database.role == NodeType::Master { "syncreq" } else { "synced" };
        let mut complete = true;
        for agent in members {
            complete &= assign::leave_none_without(database, agent)?;
            hash::recompute(database, agent, status)?;
        }
        Ok(complete)
    };
    const FAILED: &str = "Error deleting group in global.db.";
    match work().map_err(|error| told(error, FAILED))? {
        true => Ok(OK),
        false => Err(Failure::Text(FAILED.to_owned())),
    }
}

pub(super) fn integrity(database: &Database, hash: &str) -> Result<Answer, Failure> {
    const LENGTH: usize = 40;
    if hash.len() < LENGTH {
        let length = hash.len();
        return Err(Failure::Text(format!(
            "Hash hex-digest does not have the expected length. Expected ({LENGTH}) got ({length})"
        )));
    }
    let state = || -> rusqlite::Result<&str> {
        let sql = "SELECT 1 FROM agent WHERE id > 0 AND group_sync_status = 'syncreq' LIMIT 1";
        if database.connection.prepare_cached(sql)?.exists([])? {
            return Ok("syncreq");
        }
        let own = hash::of_all(database)?;
        Ok(if own.is_some_and(|own| hash.as_bytes().starts_with(own.as_bytes())) { "synced" } else { "hash_mismatch" })
    };
    let state = state().map_err(|error| told(error, "Error getting groups integrity information from global.db."))?;
    Ok(Answer::Ok(format!(r#"["{state}"]"#)))
}

pub(super) fn recalculate(database: &Database, _: &str) -> Result<Answer, Failure> {
    hash::recalculate(database)
        .map(|()| OK)
        .map_err(|error| told(error, "Error recalculating group hash of agents in global.db"))
}

pub(super) fn distinct(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let sql = "SELECT DISTINCT `group`, group_hash FROM agent
               WHERE id > 0 AND group_hash > ?1 ORDER BY group_hash";
    sized(database, sql, params![arguments.trim()], "Error getting agent groups from global.db.")
}
