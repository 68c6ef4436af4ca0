//! Requests of the API (`dapi`): executed on this node by a program that understands them (`spec/protocol.md` 13.8, 14).
//!
//! ```text
//!  a local program, the master or a worker ── request ──► queue ──► dapi (threads) ──► the executor, one process each
//!                                           ◄── string, dapi_res │ dapi_err ──────────
//! ```
//! The content is opaque here: nothing that a peer sends is ever made an object. The program is named in cluster.json,
//! `distributed_api.executor`; without one, who asks is told so.

mod executor;

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use log::warn;
use parking_lot::Mutex;

use crate::{
    connection::{Connection, RequestError, send_string},
    node::Node,
    redirection::Program,
    system::thread::{Group, guard},
    wire::{Command, ErrorObject, Routed},
};

/// Processes at a time.
const EXECUTIONS: usize = 4;

/// Requests that may wait for one.
const QUEUE: usize = 32;

/// Requests of one peer that may wait or be executed at a time.
const PER_PEER: usize = 8;

/// The requests that wait, and those that are being executed.
pub struct Api {
    jobs: (Sender<Job>, Receiver<Job>),
    /// The peers of all of them.
    peers: Mutex<Vec<Connection>>,
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
}

impl Default for Api {
    fn default() -> Self {
        Self { jobs: bounded(QUEUE), peers: Mutex::default() }
    }
}

impl Api {
    /// Takes a request, which was acknowledged already. Never waits for its execution.
    pub fn execute(&self, node: &Node, asker: Asker, request: &[u8]) {
        if let Err((asker, refusal)) = self.take(node, asker, request) {
            asker.refused(&refusal);
        }
    }

    /// Whether a request of this peer waits or is being executed.
    pub fn has(&self, peer: &Connection) -> bool {
        self.peers.lock().iter().any(|other| other.is(peer))
    }

    fn take(&self, node: &Node, asker: Asker, request: &[u8]) -> Result<(), (Asker, Refusal)> {
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(request) {
            return Err((asker, Refusal::Words(malformed(request, &error))));
        }
        if node.settings.distributed_api.executor.is_empty() {
            return Err((asker, no_executor().into()));
        }
        let stored = store(node, request);
        let request = match stored {
            Ok(file) => file,
            Err(error) => {
                let error = ErrorObject::unexpected(format!("the request cannot be stored: {error}"));
                return Err((asker, error.with_remedy("see whether queue/cluster may be written and has room").into()));
            }
        };
        let connection = asker.connection().clone();
        if !self.admit(&connection) {
            let text = format!("{PER_PEER} requests of this peer are being executed already");
            return Err((asker, ErrorObject::unexpected(text).with_remedy(LATER).into()));
        }
        self.jobs.0.try_send(Job { asker, request }).map_err(|error| {
            self.done(&connection);
            let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = error;
            let text = format!("{QUEUE} requests of the API wait already");
            (job.asker, ErrorObject::unexpected(text).with_remedy(LATER).into())
        })
    }

    fn admit(&self, peer: &Connection) -> bool {
        let mut peers = self.peers.lock();
        let free = peers.iter().filter(|other| other.is(peer)).count() < PER_PEER;
        if free {
            peers.push(peer.clone());
        }
        free
    }

    fn done(&self, peer: &Connection) {
        let mut peers = self.peers.lock();
        if let Some(at) = peers.iter().position(|other| other.is(peer)) {
            peers.swap_remove(at);
        }
    }
}

/// Starts the threads, if there is an executor.
///
/// # Errors
/// When one cannot be started.
pub fn start(node: &Arc<Node>, threads: &Group) -> io::Result<()> {
    if node.settings.distributed_api.executor.is_empty() {
        return Ok(());
    }
    for _ in 0..EXECUTIONS {
        let node = node.clone();
        threads.spawn("dapi", move || run(&node))?;
    }
    Ok(())
}

fn run(node: &Node) {
    loop {
        let job = select! {
            recv(node.api.jobs.1) -> job => job,
            recv(node.shutdown.channel()) -> _ => return,
        };
        let Ok(Job { asker, request }) = job else { return };
        let connection = asker.connection().clone();
        let work = || match executor::execute(node, request, connection.closed()) {
            Ok((length, answer)) => asker.answered(length, answer),
            Err(refusal) => asker.refused(&refusal),
        };
        if let Err(panic) = guard(work) {
            log::error!(target: "[Cluster] [Main]", "A request of the API failed: {panic}. Please report this.");
        }
        node.api.done(&connection);
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
    /// The words of the executor, which knows what the framework expects, or of the original.
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
                        warn!(target: "[Cluster] [Main]", "An answer of the API for {} is lost: {error}", connection.peer());
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

/// What the original says of text that is no JSON.
fn malformed(request: &[u8], error: &serde_json::Error) -> String {
    // The parser's column is that of the first wrong character; the original's is that where the word begins.
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
