//! Requests that take long: the thread that reads a connection is not to wait for them.

use crate::{
    connection::Connection,
    system::thread::{Group, guard},
    wire::ErrorObject,
};

/// Does `work` on a thread of its own and answers with what comes of it.
pub fn later(
    threads: &Group,
    connection: &Connection,
    counter: u32,
    work: impl FnOnce() -> Result<String, ErrorObject> + Send + 'static,
) {
    let answering = connection.clone();
    let run = move || match guard(work) {
        Ok(result) => answering.answer_with(counter, result),
        Err(panic) => answering.refuse(counter, &ErrorObject::unexpected(panic)),
    };
    if let Err(error) = threads.spawn("request", run) {
        connection.refuse(counter, &ErrorObject::unexpected(error.to_string()));
    }
}
