//! `sync-agent-info-get` and `sync-agent-info-set`, by which nodes until 4.12 exchange agents (`spec/agentdb.md` 7.16,
//! 7.17).

use rusqlite::params;

use super::{NUMBERS, RECORD, mark_sent};
use crate::{
    agents::embedded::{
        Answer, Database,
        answer::{BoundedArray, Failure},
        arguments::{integer, json},
        labels, rows,
    },
    logging::error,
    sockets::json::Json,
};

/// The kinds of records, in the order in which they are given out.
const KINDS: [(&str, &[&str]); 3] = [
    ("syncreq", &RECORD),
    ("syncreq_status", &["id", "last_keepalive", "connection_status", "disconnection_time", "status_code"]),
    ("syncreq_keepalive", &["id", "last_keepalive"]),
];

pub(in crate::agents::embedded) fn get(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    // What was given out is not pending any more, so without a last id it goes on where it ended.
    let last = arguments.trim_start().strip_prefix("last_id ").map_or(0, integer);
    let (mut array, mut complete) = (BoundedArray::new(2), true);
    for (status, columns) in KINDS {
        let columns = columns.join(", ");
        let sql = format!("SELECT {columns} FROM agent WHERE id > ?1 AND sync_status = ?2 ORDER BY id");
        let mut statement = database.connection.prepare_cached(&sql)?;
        let (mut rows, mut ids) = (statement.query(params![last, status])?, Vec::new());
        while complete && let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let mut record = String::new();
            rows::push_row(&mut record, row)?;
            if status == "syncreq" {
                push_labels(database, &mut record, id)?;
            }
            complete = array.push(&record);
            if complete {
                ids.push(id);
            } else if array.is_empty() {
                // It would never fit, and whoever asks would ask for ever.
                error!(
                    "[Cluster] [Agent database]",
                    "What is known of agent {id:03} is too long to be told to other nodes; it is left out."
                );
                ids.push(id);
                complete = true;
            }
        }
        drop(rows);
        mark_sent(database, &ids)?;
    }
    let array = array.finish();
    Ok(if complete { Answer::Ok(array) } else { Answer::Due(array) })
}

fn push_labels(database: &Database, record: &mut String, id: i64) -> rusqlite::Result<()> {
    let mut statement = database.connection.prepare_cached("SELECT id, key, value FROM labels WHERE id = ?1")?;
    let labels = rows::array(statement.query([id])?, usize::MAX)?;
    if labels != "[]" {
        record.truncate(record.len() - 1);
        record.push_str(",\"labels\":");
        record.push_str(&labels);
        record.push('}');
    }
    Ok(())
}

pub(in crate::agents::embedded) fn set(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agents = json(arguments)?;
    let Some(agents) = agents.array() else { return Err(Failure::Shape(arguments.to_owned())) };
    for agent in agents {
        set_one(database, agent)?;
    }
    Ok(Answer::Ok(String::new()))
}

fn set_one(database: &Database, agent: &Json) -> Result<(), Failure> {
    // Without an id no row is meant.
    let Some(id) = agent.number_of("id") else { return Ok(()) };
    let columns = &RECORD[1..];
    let values: String = columns.iter().zip(2..).map(|(name, place)| format!("{name} = ?{place}, ")).collect();
    let sql = format!("UPDATE agent SET {values} sync_status = 'synced' WHERE id = ?1 AND id > 0");
    let mut statement = database.connection.prepare_cached(&sql)?;
    statement.raw_bind_parameter(1, id)?;
    for (name, place) in columns.iter().zip(2..) {
        if NUMBERS.contains(name) {
            // Times are longer than what a number is elsewhere.
            statement.raw_bind_parameter(place, agent.long_of(name))?;
        } else {
            statement.raw_bind_parameter(place, agent.text_of(name))?;
        }
    }
    statement.raw_execute()?;
    if let Some(all) = agent.get("labels").and_then(Json::array) {
        let own = all.iter().filter(|label| label.number_of("id") == Some(id));
        labels::replace(database, id, own.filter_map(|label| Some((label.text_of("key")?, label.text_of("value")?))))?;
    }
    Ok(())
}
