//! Requests that take long: the thread that reads a connection does not wait for them.

use std::sync::Arc;

use crate::{
    connection::Reply,
    limits::LONG_REQUESTS,
    system::thread::{Group, guard},
    wire::ErrorObject,
};

/// The long requests of one connection, of bounded number.
pub struct Later {
    threads: Group,
    /// Each request holds a reference until it is done.
    under_way: Arc<()>,
}

impl Later {
    /// None yet; each gets a thread among `threads`.
    pub fn new(threads: &Group) -> Self {
        Self { threads: threads.clone(), under_way: Arc::default() }
    }

    /// Does `work` on a thread of its own and answers with what comes of it.
    pub fn answer(&self, reply: Reply, work: impl FnOnce() -> Result<String, ErrorObject> + Send + 'static) {
        let under_way = self.under_way.clone();
        if Arc::strong_count(&under_way) > LONG_REQUESTS + 1 {
            return reply.fail(format!("{LONG_REQUESTS} requests of this connection are under way already"));
        }
        let run = move |reply: Reply| {
            let busy = reply.connection().work();
            let result = guard(work);
            drop(under_way);
            match result {
                Ok(result) => reply.result(result),
                Err(panic) => reply.fail(panic),
            }
            drop(busy);
        };
        if let Err((error, reply)) = self.threads.spawn_with("request", reply, run) {
            reply.fail(error);
        }
    }
}
