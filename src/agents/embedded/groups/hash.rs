//! The hashes of section 5, and the columns that are made from an agent's groups.

use rusqlite::{OptionalExtension, params};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{agents::embedded::Database, system::hex::hex};

/// Names of an agent's groups in order of priority. SQLite would plan anew for each agent if it were to sort them.
pub(in crate::agents::embedded) fn names_of(database: &Database, agent: i64) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT priority, name FROM belongs JOIN `group` ON `group`.id = id_group WHERE id_agent = ?1";
    let mut statement = database.connection.prepare_cached(sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut names: Vec<(i64, String)> = statement.query_map([agent], row)?.collect::<Result<_, _>>()?;
    names.sort_unstable();
    Ok(names.into_iter().map(|(_, name)| name).collect())
}

/// The hash of an agent's groups, 8 hex digits.
fn of_names(names: &str) -> String {
    let mut digits = hex(&Sha256::digest(names.as_bytes()));
    digits.truncate(8);
    digits
}

/// Makes the columns of an agent from its groups; unchanged ones are not written again.
pub(super) fn recompute(database: &Database, agent: i64, sync_status: &str) -> rusqlite::Result<()> {
    let names = names_of(database, agent)?.join(",");
    let names = (!names.is_empty()).then_some(names);
    let mut statement =
        database.connection.prepare_cached("SELECT `group`, group_hash, group_sync_status FROM agent WHERE id = ?1")?;
    type Columns = (Option<String>, Option<String>, String);
    let before: Option<Columns> =
        statement.query_row([agent], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let after = (names.clone(), names.as_deref().map(of_names), sync_status.to_owned());
    if before.is_none_or(|before| before == after) {
        return Ok(());
    }
    database.group_hash.take();
    database
        .connection
        .prepare_cached("UPDATE agent SET `group` = ?2, group_hash = ?3, group_sync_status = ?4 WHERE id = ?1")?
        .execute(params![agent, after.0, after.1, after.2])?;
    Ok(())
}

/// The hash of all agents' groups, 40 hex digits; none if no agent has any.
pub(super) fn of_all(database: &Database) -> rusqlite::Result<Option<String>> {
    if let Some(known) = &*database.group_hash.borrow() {
        return Ok(known.clone());
    }
    let mut statement = database
        .connection
        .prepare_cached("SELECT group_hash FROM agent WHERE id > 0 AND group_hash IS NOT NULL ORDER BY id")?;
    let (mut rows, mut sum, mut any) = (statement.query([])?, Sha1::new(), false);
    while let Some(row) = rows.next()? {
        sum.update(row.get_ref(0)?.as_bytes()?);
        any = true;
    }
    let hash = any.then(|| hex(&sum.finalize()));
    *database.group_hash.borrow_mut() = Some(hash.clone());
    Ok(hash)
}

/// Makes the columns of all agents from their groups.
pub(super) fn recalculate(database: &Database) -> rusqlite::Result<()> {
    database.group_hash.take();
    let mut statement = database.connection.prepare_cached(
        "SELECT id, `group`, (SELECT group_concat(name, ',' ORDER BY priority)
             FROM belongs JOIN `group` AS g ON g.id = id_group WHERE id_agent = agent.id)
         FROM agent WHERE id > 0",
    )?;
    let mut differing: Vec<(i64, Option<String>)> = Vec::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if row.get_ref(1)? != row.get_ref(2)? {
            differing.push((row.get(0)?, row.get(2)?));
        }
    }
    let mut update =
        database.connection.prepare_cached("UPDATE agent SET `group` = ?2, group_hash = ?3 WHERE id = ?1")?;
    for (agent, names) in differing {
        let hash = names.as_deref().map(of_names);
        update.execute(params![agent, names, hash])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_original() {
        for (names, hash) in [
            ("default", "37a8eec1"),
            ("TestGroup1", "4fe98742"),
            ("TestGroup1,TestGroup2", "7acd0069"),
            ("default,webservers", "845a5394"),
        ] {
            assert_eq!(of_names(names), hash);
        }
    }
}
