//! Requests of the API (`dapi`): executed on this node by a program that understands them (`spec/protocol.md` 13.8, 14).
//!
//! ```text
//!  a local program, the master or a worker ── request ──► queue ──► dapi (threads) ──► the executor, one process each
//!                                           ◄── string, dapi_res │ dapi_err ──────────
//! ```
//! The stock daemon executes one request after the other, in the order in which they come. Here some are executed at a
//! time, and nodes take turns (`queue`). A request that waits is forgotten when whoever asked goes, or has waited for
//! as long as anybody waits for an answer.
//!
//! The content is opaque here: nothing that a peer sends is ever made an object. The program is named in cluster.json,
//! `distributed_api.executor`; without one, who asks is told so.

mod between_nodes;
mod executor;
mod queue;

use std::{
    convert::Infallible,
    fs::File,
    io::{self, Read, Seek, Write},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use crate::{
    connection::{Connection, RequestError, send_string},
    limits,
    logging::{scope, warn},
    node::Node,
    redirection::Program,
    system::thread::Group,
    turn::Turns,
    wire::{Command, ErrorObject, Routed},
};
pub use between_nodes::BetweenNodes;
use queue::Queue;

/// The requests that wait, and those that are being executed.
pub struct Api {
    queue: Mutex<Queue<Party, Job>>,
    /// Something waits. A full channel wakes all who execute.
    wake: (Sender<()>, Receiver<()>),
}

/// A node, or a peer: that at the other end of a connection. None is this node, for all its programs.
#[derive(Clone)]
struct Party(Option<Connection>);

impl PartialEq for Party {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.is(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// Who asks.
pub enum Asker {
    /// A local program.
    Program(Program),
    /// Another node, on behalf of a request that has this name there.
    Node {
        /// The connection to it.
        connection: Connection,
        /// The name.
        name: String,
    },
}

struct Job {
    asker: Asker,
    /// Without a name; requests may be large.
    request: File,
    /// When it came.
    came: Instant,
}

impl Default for Api {
    fn default() -> Self {
        let queue = Queue::new(limits::API_WAITING, limits::API_EXECUTIONS - 1);
        Self { queue: Mutex::new(queue), wake: bounded(limits::API_EXECUTIONS) }
    }
}

impl Api {
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
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(request) {
            return vec![(asker, Refusal::Words(malformed(request, &error)))];
        }
        if node.settings.distributed_api.executor.is_empty() {
            return vec![(asker, no_executor().into())];
        }
        let bytes = request.len();
        let stored = store(node, request);
        let request = match stored {
            Ok(file) => file,
            Err(error) => {
                let error = ErrorObject::unexpected(format!("the request cannot be stored: {error}"));
                let remedy = "see whether queue/cluster may be written and has room";
                return vec![(asker, error.with_remedy(remedy).into())];
            }
        };
        let (names, came) = (asker.names(), node.clock.now());
        let mut queue = self.queue.lock();
        let forgotten = queue.forget(has_gone);
        let refused = queue.add(names, Job { asker, request, came }, bytes);
        drop(queue);
        // Their files are closed when nobody waits for the lock any more.
        drop(forgotten);
        // All who execute are awake, or about to look.
        let _ = self.wake.0.try_send(());
        let full = || {
            let text = format!("{} requests of the API wait already", limits::API_WAITING);
            Refusal::from(ErrorObject::unexpected(text).with_remedy(LATER))
        };
        refused.into_iter().map(|Job { asker, .. }| (asker, full())).collect()
    }

    /// Starts the threads, if there is an executor.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(self: &Arc<Self>, node: &Arc<Node>, threads: &Group) -> io::Result<()> {
        if node.settings.distributed_api.executor.is_empty() {
            return Ok(());
        }
        for _ in 0..limits::API_EXECUTIONS {
            let (api, node) = (self.clone(), node.clone());
            threads.spawn("dapi", move || run(&api, &node))?;
        }
        Ok(())
    }

    fn next(&self) -> Option<((Party, Party), Job)> {
        let mut queue = self.queue.lock();
        let forgotten = queue.forget(has_gone);
        let next = queue.next();
        drop(queue);
        drop(forgotten);
        next
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
            recv(node.shutdown.channel()) -> _ => return,
        }
        while let Some((names, Job { asker, request, came })) = api.next() {
            serve(&turns, &asker, || execute(node, &asker, request, came));
            api.queue.lock().done(&names);
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

fn execute(node: &Node, asker: &Asker, request: File, came: Instant) {
    let limit = node.settings.communication.timeout_dapi_request;
    if node.clock.now().saturating_duration_since(came) >= limit {
        let text = format!("the request has waited for {} s behind others", limit.as_secs_f64());
        return asker.refused(&ErrorObject::cluster(3021, text).with_remedy(LATER).into());
    }
    match executor::execute(node, request, asker.connection().closed()) {
        Ok((length, answer)) => asker.answered(length, answer),
        Err(refusal) => asker.refused(&refusal),
    }
}

/// The remedy where others are being served.
const LATER: &str = "ask again later";

fn no_executor() -> ErrorObject {
    ErrorObject::unexpected("this node has no program that executes requests of the API")
        .with_remedy("name one in etc/cluster.json, distributed_api.executor")
}

/// Why a request was not executed.
enum Refusal {
    /// The words of the executor, which knows what the framework expects, or of the stock daemon.
    Words(String),
    /// An error of this node.
    Error(ErrorObject),
}

impl From<ErrorObject> for Refusal {
    fn from(error: ErrorObject) -> Self {
        Self::Error(error)
    }
}

impl Asker {
    fn connection(&self) -> &Connection {
        match self {
            Self::Program(program) => &program.connection,
            Self::Node { connection, .. } => connection,
        }
    }

    /// The node and the peer that asked.
    fn names(&self) -> (Party, Party) {
        let peer = Party(Some(self.connection().clone()));
        match self {
            Self::Program(_) => (Party(None), peer),
            Self::Node { .. } => (peer.clone(), peer),
        }
    }

    /// Waits until the answer has been taken.
    fn answered(&self, length: usize, answer: impl Read) {
        match self {
            Self::Program(program) => program.api_answered(length, answer),
            Self::Node { connection, name } => {
                let sent = send_string(connection, length, answer)
                    .and_then(|id| connection.request(Command::ApiResult, Routed::payload(name, id.as_bytes())));
                match sent {
                    // The program that asked there has gone.
                    Ok(_) | Err(RequestError::Refused(_)) => (),
                    Err(error) => {
                        warn!("[Cluster] [Main]", "An answer of the API for {} is lost: {error}", connection.peer());
                    }
                }
            }
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let text = match refusal {
            Refusal::Words(words) => words,
            Refusal::Error(error) => &error.to_json(),
        };
        match self {
            Self::Program(program) => program.refused(text),
            // A peer that takes nothing is about to be disconnected.
            Self::Node { connection, name } => {
                _ = connection.tell(Command::ApiFailed, Routed::payload(name, text.as_bytes()));
            }
        }
    }
}

fn store(node: &Node, request: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(node.home.cluster_dir())?;
    file.write_all(request)?;
    file.rewind()?;
    Ok(file)
}

/// What the stock daemon says of text that is no JSON.
fn malformed(request: &[u8], error: &serde_json::Error) -> String {
    // The parser's column is that of the first wrong character; the stock daemon's is that where the word begins.
    let before: usize =
        request.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let mut at = (before + error.column().saturating_sub(1)).min(request.len());
    while at > before && request[at - 1].is_ascii_alphanumeric() {
        at -= 1;
    }
    let text = error.to_string();
    let what = if text.starts_with("expected") || text.starts_with("EOF") { "Expecting value" } else { "Invalid JSON" };
    format!("{what}: line {} column {} (char {at})", error.line().max(1), at - before + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::Pair;

    #[test]
    fn after_a_panic_the_asker_is_refused() {
        let pair = Pair::new();
        let turns = Turns::uncounted(scope("a", "b"), &pair.node().clock);
        let asker = Asker::Node { connection: pair.master.clone(), name: "one".into() };
        serve(&turns, &asker, || panic!("as ordered"));
        let refused = pair.wait("dapi_err ");
        assert!(refused.starts_with("dapi_err one ") && refused.contains("as ordered"), "{refused}");
    }

    #[test]
    fn text_that_is_no_json_is_refused_in_the_words_of_the_original() {
        let text = |request: &[u8]| {
            malformed(request, &serde_json::from_slice::<serde::de::IgnoredAny>(request).expect_err("no JSON"))
        };
        assert_eq!(text(b"not json"), "Expecting value: line 1 column 1 (char 0)");
        assert_eq!(text(b""), "Expecting value: line 1 column 1 (char 0)");
        assert_eq!(text(b"{\"a\":\n nul}"), "Expecting value: line 2 column 2 (char 7)");
        assert!(text(b"{} {}").starts_with("Invalid JSON: line 1 column 4"));
        assert!(text(b"\xff").contains("line 1"));
    }
}
