//! `sync-agent-groups-get` (`spec/agentdb.md` 7.13).

use rusqlite::{OptionalExtension, params};

use super::hash;
use crate::{
    agents::embedded::{
        Answer, Database,
        answer::{BoundedArray, Failure},
        arguments::json,
        changes::Changed,
        statements::logged,
    },
    logging::error,
    sockets::json::Json,
    system::json::push_text,
};

/// The bytes around the array of agents: `[{"data":[]}]`.
const AROUND: usize = 13;
/// The bytes that the hash takes: `,"hash":"` and 40 digits, less the quote that ends it, as the stock daemon counts.
const HASH: usize = 48;

/// One more agent than ever fits into a chunk: every element has at least 30 bytes.
const MOST: usize = 2_200;

/// What is asked for.
struct Question {
    condition: Option<String>,
    last: i64,
    set_synced: bool,
    with_hash: bool,
    /// Seconds since its registration that an agent must have.
    delta: i64,
}

impl Question {
    fn parse(arguments: &str) -> Result<Self, Failure> {
        let json = json(arguments)?;
        let wrong = || Failure::Text("Invalid JSON data, invalid alternative fields data".to_owned());
        let number = |name| match json.get(name) {
            None => Ok(0),
            Some(value) => value.number().filter(|number| *number >= 0).ok_or_else(wrong),
        };
        let flag = |name| json.get(name).map_or(Ok(false), |value: &Json| value.flag().ok_or_else(wrong));
        let condition = json.get("condition").map(|value| value.text().map(str::to_owned).ok_or_else(wrong));
        Ok(Self {
            condition: condition.transpose()?,
            last: number("last_id")?,
            set_synced: flag("set_synced")?,
            with_hash: flag("get_global_hash")?,
            delta: number("agent_registration_delta")?,
        })
    }
}

/// An agent that fits the question.
struct Found {
    id: i64,
    name: String,
}

pub(in crate::agents::embedded) fn sync(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let question = Question::parse(arguments)?;
    let chunk = match question.condition.as_deref() {
        None => fill(database, &question, Vec::new()),
        Some("all") => all(database, &question).and_then(|found| fill(database, &question, found)),
        Some("sync_status") => pending(database, &question).and_then(|found| fill(database, &question, found)),
        Some(_) => {
            return Err(Failure::Text("Could not obtain a response from wdb_global_sync_agent_groups_get".to_owned()));
        }
    };
    chunk.map_err(|error| {
        database.assignments.reset();
        logged(error, r#"[{"data":[]}]"#)
    })
}

fn all(database: &Database, question: &Question) -> rusqlite::Result<Vec<Found>> {
    let sql = format!("SELECT id, name FROM agent WHERE id > ?1 AND date_add < ?2 ORDER BY id LIMIT {MOST}");
    let mut statement = database.connection.prepare_cached(&sql)?;
    let found = |row: &rusqlite::Row<'_>| Ok(Found { id: row.get(0)?, name: row.get(1)? });
    statement.query_map(params![question.last, database.now() - question.delta], found)?.collect()
}

/// Looks at agents that have changed since the last time.
fn pending(database: &Database, question: &Question) -> rusqlite::Result<Vec<Found>> {
    let mut statement = database.connection.prepare_cached(
        "SELECT id, name, date_add FROM agent WHERE id = ?1 AND id > 0 AND group_sync_status = 'syncreq'",
    )?;
    let ids: Vec<i64> = match database.assignments.take() {
        Changed::Rows(ids) => ids,
        Changed::All => database
            .connection
            .prepare_cached("SELECT id FROM agent WHERE id > 0 AND group_sync_status = 'syncreq' ORDER BY id")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
    };
    let latest = database.now() - question.delta;
    let mut found = Vec::new();
    for id in ids {
        if found.len() == MOST {
            // Whoever asks comes back for them.
            database.assignments.note(id);
            continue;
        }
        let columns =
            |row: &rusqlite::Row<'_>| Ok((Found { id: row.get(0)?, name: row.get(1)? }, row.get::<_, i64>(2)?));
        if let Some((agent, date_add)) = statement.query_row([id], columns).optional()? {
            // It is still to be told of, in this answer or in a later one.
            database.assignments.note(id);
            if date_add < latest && id > question.last {
                found.push(agent);
            }
        }
    }
    Ok(found)
}

fn fill(database: &Database, question: &Question, found: Vec<Found>) -> rusqlite::Result<Answer> {
    let (mut array, mut complete, mut given) = (BoundedArray::new(AROUND), true, Vec::new());
    for Found { id, name } in found {
        let mut element = format!("{{\"id\":{id},\"name\":");
        push_text(&mut element, &name);
        element.push_str(",\"groups\":[");
        for (at, group) in hash::names_of(database, id)?.iter().enumerate() {
            if at > 0 {
                element.push(',');
            }
            push_text(&mut element, group);
        }
        element.push_str("]}");
        complete = array.push(&element);
        if complete {
            given.push(id);
        } else if given.is_empty() {
            // It would never fit, and whoever asks would ask for ever.
            error!(
                "[Cluster] [Agent database]",
                "Agent {id:03} has too long a name to be told to other nodes; it is left out."
            );
            complete = true;
        } else {
            break;
        }
    }
    if question.set_synced {
        let mut sent =
            database.connection.prepare_cached("UPDATE agent SET group_sync_status = 'synced' WHERE id = ?1")?;
        for id in given {
            sent.execute([id])?;
        }
    }
    let mut hash = String::new();
    if question.with_hash && complete {
        complete = array.fits(HASH);
        if complete {
            let digits = hash::of_all(database)?.map_or("null".to_owned(), |digits| format!("\"{digits}\""));
            hash = format!(",\"hash\":{digits}");
        }
    }
    let chunk = format!("[{{\"data\":{}{hash}}}]", array.finish());
    Ok(if complete { Answer::Ok(chunk) } else { Answer::Due(chunk) })
}
