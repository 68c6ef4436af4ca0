//! The commands about groups (`spec/agentdb.md` 7.11, 7.14, 7.15).

use rusqlite::params;

use super::{
    hash, names,
    table::{id_of, id_or_new, leave_none_without},
};
use crate::{
    agents::embedded::{
        Answer, Database,
        answer::{BoundedArray, Failure},
        arguments::integer,
        statements::{OK, logged, sized},
    },
    config::NodeType,
    system::json::push_text,
};

pub(in crate::agents::embedded) fn find(database: &Database, name: &str) -> Result<Answer, Failure> {
    let id = id_or_new(database, name).map_err(|error| logged(error, "Error getting group id from global.db."))?;
    Ok(Answer::Ok(id.map_or_else(|| "[]".to_owned(), |id| format!(r#"[{{"id":{id}}}]"#))))
}

pub(in crate::agents::embedded) fn insert(database: &Database, name: &str) -> Result<Answer, Failure> {
    const FAILED: &str = "Error inserting group in global.db.";
    if !names::is_valid(name) {
        names::warn(name);
        return Err(Failure::Text(FAILED.to_owned()));
    }
    let mut statement = database.connection.prepare_cached("INSERT INTO `group` (name) VALUES (?1)")?;
    statement.execute([name]).map(|_| OK).map_err(|_| Failure::Text(FAILED.to_owned()))
}

pub(in crate::agents::embedded) fn all(database: &Database, _: &str) -> Result<Answer, Failure> {
    const FAILED: &str = "Error getting groups from global.db.";
    // Callers take what they get for all there is.
    match sized(database, "SELECT name FROM `group` ORDER BY id", &[], FAILED)? {
        Answer::Due(part) => Ok(Answer::Ok(part)),
        answer => Ok(answer),
    }
}

pub(in crate::agents::embedded) fn of_agent(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let names = hash::names_of(database, integer(arguments))
        .map_err(|error| logged(error, "Error getting agent groups information from global.db."))?;
    let mut array = BoundedArray::new(2);
    for name in names {
        let mut text = String::new();
        push_text(&mut text, &name);
        if !array.push(&text) {
            break;
        }
    }
    Ok(Answer::Ok(array.finish()))
}

pub(in crate::agents::embedded) fn agents(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let missing = |what: &str| Failure::Text(format!("Invalid arguments, {what} not found."));
    let group = words.next().ok_or_else(|| missing("group name"))?;
    words.next().filter(|word| *word == "last_id").ok_or_else(|| missing("'last_id'"))?;
    let last = integer(words.next().ok_or_else(|| missing("last agent id"))?);
    let sql = "SELECT id_agent FROM belongs JOIN `group` ON `group`.id = id_group
               WHERE name = ?1 AND id_agent > ?2 ORDER BY id_agent";
    let fill = || -> rusqlite::Result<Answer> {
        let mut statement = database.connection.prepare_cached(sql)?;
        let (mut rows, mut array) = (statement.query(params![group, last])?, BoundedArray::new(2));
        while let Some(row) = rows.next()? {
            if !array.push(&row.get::<_, i64>(0)?.to_string()) {
                return Ok(Answer::Due(array.finish()));
            }
        }
        Ok(Answer::Ok(array.finish()))
    };
    fill().map_err(|error| logged(error, "Error getting group agents from global.db."))
}

pub(in crate::agents::embedded) fn delete(database: &Database, name: &str) -> Result<Answer, Failure> {
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
            complete &= leave_none_without(database, agent)?;
            hash::recompute(database, agent, status)?;
        }
        Ok(complete)
    };
    const FAILED: &str = "Error deleting group in global.db.";
    match work().map_err(|error| logged(error, FAILED))? {
        true => Ok(OK),
        false => Err(Failure::Text(FAILED.to_owned())),
    }
}

pub(in crate::agents::embedded) fn integrity(database: &Database, hash: &str) -> Result<Answer, Failure> {
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
    let state = state().map_err(|error| logged(error, "Error getting groups integrity information from global.db."))?;
    Ok(Answer::Ok(format!(r#"["{state}"]"#)))
}

pub(in crate::agents::embedded) fn recalculate(database: &Database, _: &str) -> Result<Answer, Failure> {
    hash::recalculate(database)
        .map(|()| OK)
        .map_err(|error| logged(error, "Error recalculating group hash of agents in global.db"))
}

pub(in crate::agents::embedded) fn distinct(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let sql = "SELECT DISTINCT `group`, group_hash FROM agent
               WHERE id > 0 AND group_hash > ?1 ORDER BY group_hash";
    sized(database, sql, params![arguments.trim()], "Error getting agent groups from global.db.")
}
