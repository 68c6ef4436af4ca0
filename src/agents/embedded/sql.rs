//! `global sql`: one statement of SQLite (`spec/agentdb.md` 7.20).

use std::time::Duration;

use rusqlite::{Batch, fallible_iterator::FallibleIterator};

use super::{
    Answer, Database,
    answer::{Failure, LONGEST},
    rows,
};

/// How long a statement may take: everybody else waits meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn sql(database: &Database, statement: &str) -> Result<Answer, Failure> {
    database.limit.set(PATIENCE);
    let result = run(database, statement);
    database.limit.clear();
    if !database.connection.is_autocommit() {
        // Commands have transactions of their own, and no client may leave one open for the others.
        database.connection.execute_batch("ROLLBACK")?;
        return Err(Failure::Text("Cannot execute Global database query; transactions are not for clients".to_owned()));
    }
    result
}

fn run(database: &Database, statement: &str) -> Result<Answer, Failure> {
    // What stands behind the first statement is left out, as by the original.
    let first = Batch::new(&database.connection, statement).next()?;
    let mut prepared = first.ok_or_else(|| Failure::Syntax("sql".to_owned()))?;
    let reads = prepared.readonly();
    // Nobody gets more than fits into a frame.
    let mut run = || Ok(Answer::Ok(rows::array(prepared.raw_query(), LONGEST)?));
    if reads {
        return run();
    }
    let result = database.transaction(|_| run());
    // It may have changed anything.
    database.group_hash.take();
    result
}
