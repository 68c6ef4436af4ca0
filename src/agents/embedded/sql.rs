//! `global sql`: one statement of SQLite (`spec/agentdb.md` 7.20).

use super::{
    Answer, Database,
    answer::{Failure, LONGEST},
    rows,
};

pub(super) fn sql(database: &Database, statement: &str) -> Result<Answer, Failure> {
    let mut prepared = database.connection.prepare(statement)?;
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
