//! A group for each agent that connects for the first time: that of its registration, or `default`. The workers hear of
//! it like of any other assignment.

use rusqlite::OptionalExtension;

use super::duty::{DutyFailure, Rows};
use crate::agents::{
    embedded::{
        Database,
        answer::Failure,
        changes::Changed,
        groups::{self, Assignment, Mode},
    },
    first_groups,
};

/// Agents that are assigned at a time.
const BATCH: usize = 1_000;

/// Assigns those that have connected since the turn before.
pub(super) fn turn(database: &impl Rows) -> Result<(), DutyFailure> {
    while database.with(assign)?? {}
    Ok(())
}

/// Assigns some agents; whether there are more. One that fails is tried again in the next turn and keeps no other waiting.
///
/// # Errors
/// When the database fails. Who was not assigned then is found again.
fn assign(database: &Database) -> Result<bool, Failure> {
    let looked = look(database).inspect_err(|_| database.connected.reset())?;
    if looked.is_empty() {
        return Ok(false);
    }
    let (now, later) = looked.split_at(looked.len().min(BATCH));
    let work = |database: &Database| {
        let mut failed = Vec::new();
        for (agent, registered) in now {
            if !assign_one(database, *agent, registered.as_deref())? {
                failed.push(*agent);
            }
        }
        Ok(failed)
    };
    let failed = database.transaction(work).inspect_err(|_| database.connected.reset())?;
    let all_failed = failed.len() == now.len();
    // What was done just now has changed these rows again, and says nothing new of them.
    database.connected.replace(later.iter().map(|(agent, _)| *agent).chain(failed));
    Ok(!later.is_empty() && !all_failed)
}

/// Agents that have connected and belong to no group, with the groups of their registration.
fn look(database: &Database) -> Result<Vec<(i64, Option<String>)>, Failure> {
    const WITHOUT: &str = "id > 0 AND connection_status <> 'never_connected'
        AND NOT EXISTS (SELECT 1 FROM belongs WHERE id_agent = agent.id)";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    match database.connected.take() {
        Changed::All => {
            let sql = format!("SELECT id, `group` FROM agent WHERE {WITHOUT}");
            Ok(database.connection.prepare_cached(&sql)?.query_map([], row)?.collect::<Result<_, _>>()?)
        }
        Changed::Rows(ids) => {
            let sql = format!("SELECT id, `group` FROM agent WHERE id = ?1 AND {WITHOUT}");
            let mut statement = database.connection.prepare_cached(&sql)?;
            let mut found = Vec::new();
            for id in ids {
                found.extend(statement.query_row([id], row).optional()?);
            }
            Ok(found)
        }
    }
}

/// Assigns one agent; whether that succeeded.
fn assign_one(database: &Database, agent: i64, registered: Option<&str>) -> Result<bool, Failure> {
    let exists = |name: &str| groups::id_or_new(database, name).map(|id| id.is_some());
    let mut names = first_groups(registered.unwrap_or_default(), None, exists)?;
    names.truncate(groups::MOST);
    let assignment = Assignment { agent, name: None, groups: &names };
    assignment.apply(database, Mode::EmptyOnly, "syncreq", &mut true)
}
