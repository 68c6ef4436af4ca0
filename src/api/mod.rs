//! Requests of the API (`dapi`): executed on this node by processes that understand them (`spec/protocol.md` 13.8, 14).
//!
//! ```text
//!  a local program, the master or a worker ── request ──► queue ──► dapi (threads) ──► pool: the manager's framework, or
//!                                           ◄── string, dapi_res │ dapi_err ──────     command: one process each
//! ```
//! The stock daemon executes one request after the other, in the order in which they come. Here some are executed at a
//! time, and nodes take turns (`queue`). A request that waits is forgotten when whoever asked goes, or has waited for
//! as long as anybody waits for an answer.
//!
//! The content is opaque here: nothing that a peer sends is ever made an object. What executes it, `distributed_api.executor`
//! in cluster.json says; where nothing does, who asks is told so.

mod asker;
mod between_nodes;
mod checks;
mod command;
mod executor;
mod pool;
mod queue;
mod refusal;

use std::{convert::Infallible, io, sync::Arc, time::Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use crate::{
    config::settings::DistributedApi, connection::Connection, limits, logging::scope, node::Node,
    system::thread::Group, turn::Turns, wire::ErrorObject,
};
pub use asker::Asker;
use asker::Party;
pub use between_nodes::BetweenNodes;
use executor::{Executor, Request};
use queue::{Queue, Ticket};
use refusal::{LATER, Refusal};

/// The requests that wait, and those that are being executed.
pub struct Api {
    executor: Executor,
    queue: Mutex<Queue<Party, Job>>,
    /// Something may begin. A full channel wakes all who execute.
    wake: (Sender<()>, Receiver<()>),
}

struct Job {
    asker: Asker,
    request: Request,
    /// When it came.
    came: Instant,
}

/// The place of a request that has begun, until this is dropped.
struct Place<'a> {
    api: &'a Api,
    ticket: Ticket,
}

impl Place<'_> {
    /// Leaves it to the next request, while this one is answered.
    fn leave(&self) {
        self.api.queue.lock().executed(self.ticket);
        self.api.wake_one();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Who drops it looks for the next by itself.
        self.api.queue.lock().done(self.ticket);
    }
}

impl Api {
    /// What these settings want.
    pub fn new(settings: &DistributedApi) -> Self {
        let (executor, of_one) = Executor::of(settings);
        let queue = Queue::new(limits::API_WAITING, of_one);
        let wake = bounded(queue.places());
        Self { executor, queue: Mutex::new(queue), wake }
    }

    /// Takes a request, which was acknowledged already. Never waits for its execution.
    pub fn execute(&self, node: &Node, asker: Asker, request: &[u8]) {
        for (asker, refusal) in self.take(node, asker, request) {
            asker.refused(&refusal);
        }
    }

    /// Whether a request of this peer waits or is being executed.
    pub fn has(&self, peer: &Connection) -> bool {
        self.queue.lock().has(|Party(other)| other.as_ref().is_some_and(|other| other.is(peer)))
    }

    /// Puts a request into the queue; gives those that are not executed, this one or others that gave way.
    fn take(&self, node: &Node, asker: Asker, request: &[u8]) -> Vec<(Asker, Refusal)> {
        let bytes = request.len();
        let request =
            checks::is_json(request).map_err(Refusal::Words).and_then(|()| self.executor.accept(node, &asker, request));
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return vec![(asker, refusal)],
        };
        let (names, came) = (asker.names(), node.clock.now());
        let mut queue = self.queue.lock();
        let forgotten = queue.forget(has_gone);
        let refused = queue.add(names, Job { asker, request, came }, bytes);
        drop(queue);
        // Their files are closed when nobody waits for the lock any more.
        drop(forgotten);
        self.wake_one();
        let full = || {
            let text = format!("{} requests of the API wait already", limits::API_WAITING);
            Refusal::from(ErrorObject::unexpected(text).with_remedy(LATER))
        };
        refused.into_iter().map(|Job { asker, .. }| (asker, full())).collect()
    }

    /// Has what was read from the files of the manager be read again.
    pub fn renew(&self) {
        self.executor.renew();
    }

    /// Starts the threads, if there is an executor.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(self: &Arc<Self>, node: &Arc<Node>, threads: &Group) -> io::Result<()> {
        if matches!(self.executor, Executor::Nothing) {
            return Ok(());
        }
        let places = self.queue.lock().places();
        for _ in 0..places {
            let (api, node) = (self.clone(), node.clone());
            threads.spawn("dapi", move || run(&api, &node))?;
        }
        Ok(())
    }

    fn carry_out(&self, node: &Node, asker: &Asker, (request, came): (Request, Instant), place: &Place<'_>) {
        let limit = node.settings.communication.timeout_dapi_request;
        if node.clock.now().saturating_duration_since(came) >= limit {
            let text = format!("the request has waited for {} s behind others", limit.as_secs_f64());
            return asker.refused(&ErrorObject::cluster(3021, text).with_remedy(LATER).into());
        }
        if let Err(refusal) = self.executor.execute(node, asker, request, || place.leave()) {
            asker.refused(&refusal);
        }
    }

    fn next(&self) -> Option<(Place<'_>, Job)> {
        let mut queue = self.queue.lock();
        let forgotten = queue.forget(has_gone);
        let next = queue.next();
        drop(queue);
        drop(forgotten);
        next.map(|(ticket, job)| (Place { api: self, ticket }, job))
    }

    fn wake_one(&self) {
        // If that fails, all who execute are awake, or about to look.
        let _ = self.wake.0.try_send(());
    }
}

fn has_gone(peer: &Party) -> bool {
    peer.0.as_ref().is_some_and(Connection::is_closed)
}

fn run(api: &Api, node: &Node) {
    let turns = Turns::uncounted(scope("Cluster", "Main"), &node.clock);
    loop {
        select! {
            recv(api.wake.1) -> _ => (),
            recv(api.executor.rested(node)) -> _ => api.executor.rest(node),
            recv(node.shutdown.channel()) -> _ => return,
        }
        while let Some((place, Job { asker, request, came })) = api.next() {
            serve(&turns, &asker, || api.carry_out(node, &asker, (request, came), &place));
            drop(place);
            if node.shutdown.ordered() {
                return;
            }
        }
    }
}

/// Executes one request. After a panic the asker is not left without an answer.
fn serve(turns: &Turns, asker: &Asker, execute: impl FnOnce()) {
    let executed = turns.run(|| {
        execute();
        Ok::<_, Infallible>(())
    });
    if let Err(failure) = executed {
        turns.follow_up(|| asker.refused(&ErrorObject::unexpected(failure.to_string()).into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::Pair;

    #[test]
    fn after_a_panic_the_asker_is_refused() {
        let pair = Pair::new();
        let turns = Turns::uncounted(scope("a", "b"), &pair.node().clock);
        let asker = Asker::Node { node: "w".into(), connection: pair.master.clone(), name: "one".into() };
        serve(&turns, &asker, || panic!("as ordered"));
        let refused = pair.wait("dapi_err ");
        assert!(refused.starts_with("dapi_err one ") && refused.contains("as ordered"), "{refused}");
    }
}
