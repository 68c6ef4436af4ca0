//! Statements whose rows are the answer to a command.

use rusqlite::ToSql;

use super::{
    Answer, Database,
    answer::{BoundedArray, Failure, LONGEST},
    fault::message,
    rows,
};
use crate::logging::error;

/// What a command answers that gives nothing.
pub(super) const OK: Answer = Answer::Ok(String::new());

/// Does a statement that gives nothing.
pub(super) fn execute(database: &Database, sql: &str, values: &[&dyn ToSql]) -> Result<Answer, Failure> {
    database.connection.prepare_cached(sql)?.execute(values)?;
    Ok(OK)
}

/// The rows of a query, as many as somebody can get; `failed` is what the stock daemon says when it cannot be made.
pub(super) fn select(database: &Database, sql: &str, values: &[&dyn ToSql], failed: &str) -> Result<Answer, Failure> {
    let rows = || rows::array(database.connection.prepare_cached(sql)?.query(values)?, LONGEST);
    rows().map(Answer::Ok).map_err(|error| logged(error, failed))
}

/// The rows of a query as far as they fit.
pub(super) fn sized(database: &Database, sql: &str, values: &[&dyn ToSql], failed: &str) -> Result<Answer, Failure> {
    let fill = || -> rusqlite::Result<Answer> {
        let mut statement = database.connection.prepare_cached(sql)?;
        let (mut rows, mut array, mut element) = (statement.query(values)?, BoundedArray::new(2), String::new());
        while let Some(row) = rows.next()? {
            element.clear();
            rows::push_row(&mut element, row)?;
            if !array.push(&element) {
                return Ok(Answer::Due(array.finish()));
            }
        }
        Ok(Answer::Ok(array.finish()))
    };
    fill().map_err(|error| logged(error, failed))
}

/// The stock daemon's text, and SQLite's own in the log: the caller cannot do anything about it, a person can.
pub(super) fn logged(error: rusqlite::Error, text: &str) -> Failure {
    error!("[Cluster] [Agent database]", "{text} SQLite says: {}", message(&error));
    Failure::Text(text.to_owned())
}
