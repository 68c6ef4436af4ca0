//! `global sql`: one statement of SQLite (`spec/agentdb.md` 7.20).

use std::time::Duration;

use rusqlite::{Batch, Connection, Statement, fallible_iterator::FallibleIterator};

use super::{
    Answer, Database,
    answer::{Failure, LONGEST},
    fault::blames_the_request,
    limit::TimeLimit,
    rows,
};

/// How long a statement may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn sql(database: &Database, statement: &str) -> Result<Answer, Failure> {
    limited(&database.connection, &database.limit, || {
        let mut prepared = prepare(&database.connection, statement)?;
        if prepared.readonly() {
            return run(&mut prepared);
        }
        let result = database.bounded(|| database.transaction(|_| run(&mut prepared)));
        // It may have changed anything.
        database.group_hash.take();
        result
    })
}

/// Does a statement on a connection that only reads. None if it is not for that: it writes, or nothing can be read here
/// now.
pub(super) fn read(connection: &Connection, limit: &TimeLimit, statement: &str) -> Option<Result<Answer, Failure>> {
    let result = limited(connection, limit, || {
        let mut prepared = prepare(connection, statement)?;
        if prepared.readonly() { run(&mut prepared).map(Some) } else { Ok(None) }
    });
    match result {
        Err(Failure::Sql(error)) if !blames_the_request(&error) => None,
        result => result.transpose(),
    }
}

fn limited<T>(
    connection: &Connection,
    limit: &TimeLimit,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    limit.set(PATIENCE);
    let result = work();
    limit.clear();
    if !connection.is_autocommit() {
        // Commands have transactions of their own, and no client may leave one open for the others.
        connection.execute_batch("ROLLBACK")?;
        return Err(Failure::Text("Cannot execute Global database query; transactions are not for clients".to_owned()));
    }
    result
}

/// What stands behind the first statement is left out, as by the stock daemon.
fn prepare<'c>(connection: &'c Connection, statement: &str) -> Result<Statement<'c>, Failure> {
    Batch::new(connection, statement).next()?.ok_or_else(|| Failure::Syntax("sql".to_owned()))
}

/// Nobody gets more than fits into a frame.
fn run(prepared: &mut Statement<'_>) -> Result<Answer, Failure> {
    Ok(Answer::Ok(rows::array(prepared.raw_query(), LONGEST)?))
}
