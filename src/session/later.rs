//! Requests that take long: the thread that reads a connection is not to wait for them.

use std::sync::Arc;

use crate::{
    connection::Connection,
    limits::LONG_REQUESTS,
    system::thread::{Group, guard},
    wire::ErrorObject,
};

/// The long requests of one connection.
#[derive(Default)]
pub struct Later(Arc<()>);

impl Later {
    /// Does `work` on a thread of its own and answers with what comes of it.
    pub fn answer(
        &self,
        threads: &Group,
        connection: &Connection,
        counter: u32,
        work: impl FnOnce() -> Result<String, ErrorObject> + Send + 'static,
    ) {
        // Each holds a reference until it is done.
        let (answering, under_way) = (connection.clone(), self.0.clone());
        if Arc::strong_count(&under_way) > LONG_REQUESTS + 1 {
            let text = format!("{LONG_REQUESTS} requests of this connection are under way already");
            return connection.refuse(counter, &ErrorObject::unexpected(text));
        }
        let work_of = connection.work();
        let run = move || {
            let result = guard(work);
            drop(under_way);
            match result {
                Ok(result) => answering.answer_with(counter, result),
                Err(panic) => answering.refuse(counter, &ErrorObject::unexpected(panic)),
            }
            drop(work_of);
        };
        if let Err(error) = threads.spawn("request", run) {
            connection.refuse(counter, &ErrorObject::unexpected(error.to_string()));
        }
    }
}
