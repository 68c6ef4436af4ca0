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

mod between_nodes;
mod checks;
mod command;
mod pool;
mod queue;
mod refusal;

use std::{
    convert::Infallible,
    fmt,
    fs::File,
    io::{self, Read, Seek, Write},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use parking_lot::Mutex;

use crate::{
    config::settings::{DistributedApi, Executor},
    connection::{Connection, RequestError, send_string},
    framework::Framework,
    limits::{self, Holding},
    logging::{info, scope, warn},
    node::Node,
    redirection::Program,
    system::thread::Group,
    turn::Turns,
    wire::{Command, ErrorObject, Routed},
};
pub use between_nodes::BetweenNodes;
use checks::Checked;
use pool::Pool;
use queue::Queue;
use refusal::{Refusal, no_executor};

/// The requests that wait, and those that are being executed.
pub struct Api {
    executor: Kind,
    /// Requests that are executed at a time.
    places: usize,
    queue: Mutex<Queue<Party, Job>>,
    /// Something waits. A full channel wakes all who execute.
    wake: (Sender<()>, Receiver<()>),
}

/// What executes them.
enum Kind {
    Nothing,
    Command(Vec<String>),
    Pool(Pool),
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
        /// Its name.
        node: String,
        /// The connection to it.
        connection: Connection,
        /// The name of the request.
        name: String,
    },
}

struct Job {
    asker: Asker,
    request: Request,
    /// When it came.
    came: Instant,
}

enum Request {
    /// For a command, which reads it from there. The file has no name.
    File(File),
    /// For the pool: it may hold passwords, so it is on no disk.
    Memory(Holding, Checked),
}

impl Api {
    /// What these settings want.
    pub fn new(settings: &DistributedApi) -> Self {
        let (executor, of_one) = match &settings.executor {
            Executor::None => (Kind::Nothing, 0),
            Executor::Command(command) => (Kind::Command(command.clone()), limits::API_EXECUTIONS - 1),
            Executor::Auto => (Kind::Pool(Pool::new()), settings.processes as usize),
        };
        // One place is for others.
        let places = of_one + 1;
        let queue = Mutex::new(Queue::new(limits::API_WAITING, of_one));
        Self { executor, places, queue, wake: bounded(places) }
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
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(request) {
            return vec![(asker, Refusal::Words(malformed(request, &error)))];
        }
        let bytes = request.len();
        let request = match self.accept(node, &asker, request) {
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
        // All who execute are awake, or about to look.
        let _ = self.wake.0.try_send(());
        let full = || {
            let text = format!("{} requests of the API wait already", limits::API_WAITING);
            Refusal::from(ErrorObject::unexpected(text).with_remedy(LATER))
        };
        refused.into_iter().map(|Job { asker, .. }| (asker, full())).collect()
    }

    /// Keeps a request that may be executed for its turn.
    fn accept(&self, node: &Node, asker: &Asker, request: &[u8]) -> Result<Request, Refusal> {
        match &self.executor {
            Kind::Nothing => Err(no_executor().into()),
            Kind::Command(_) => store(node, request).map(Request::File).map_err(|error| {
                let error = ErrorObject::unexpected(format!("the request cannot be stored: {error}"));
                error.with_remedy("see whether queue/cluster may be written and has room").into()
            }),
            Kind::Pool(_) => {
                Framework::find(node.home.path()).map_err(pool::no_framework)?;
                let from_node = matches!(asker, Asker::Node { .. });
                let checked = checks::check(request, node.cluster.node_type, from_node)?;
                let share = asker.connection().try_hold(request.len()).map_err(|_| {
                    ErrorObject::unexpected("this node holds too much for its peers already").with_remedy(LATER)
                })?;
                Ok(Request::Memory(Holding { bytes: request.to_vec(), share: Some(share) }, checked))
            }
        }
    }

    /// Has what was read from the files of the manager be read again.
    pub fn renew(&self) {
        if let Kind::Pool(pool) = &self.executor {
            pool.renew();
        }
    }

    /// Starts the threads, if there is an executor.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(self: &Arc<Self>, node: &Arc<Node>, threads: &Group) -> io::Result<()> {
        if matches!(self.executor, Kind::Nothing) {
            return Ok(());
        }
        for _ in 0..self.places {
            let (api, node) = (self.clone(), node.clone());
            threads.spawn("dapi", move || run(&api, &node))?;
        }
        Ok(())
    }

    fn carry_out(&self, node: &Node, asker: &Asker, request: Request, came: Instant) {
        let limit = node.settings.communication.timeout_dapi_request;
        if node.clock.now().saturating_duration_since(came) >= limit {
            let text = format!("the request has waited for {} s behind others", limit.as_secs_f64());
            return asker.refused(&ErrorObject::cluster(3021, text).with_remedy(LATER).into());
        }
        let outcome = match (&self.executor, request) {
            (Kind::Command(command), Request::File(file)) => {
                command::execute(node, command, file, asker.connection().closed())
                    .map(|(length, answer)| asker.answered(length, answer))
            }
            (Kind::Pool(pool), Request::Memory(Holding { bytes, share }, Checked { function, waits })) => {
                info!("[Cluster] [D API]", "Receiving request: {function} from {asker}");
                let outcome = pool.execute(node, asker.connection(), (&bytes, waits), |length, answer| {
                    asker.answered(length, answer);
                });
                drop(share);
                outcome
            }
            // What was accepted is for the executor that there is.
            _ => Err(no_executor().into()),
        };
        if let Err(refusal) = outcome {
            asker.refused(&refusal);
        }
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
        let rested = match &api.executor {
            Kind::Pool(pool) => pool.rested(node),
            _ => never(),
        };
        select! {
            recv(api.wake.1) -> _ => (),
            recv(rested) -> _ => if let Kind::Pool(pool) = &api.executor { pool.rest(node) },
            recv(node.shutdown.channel()) -> _ => return,
        }
        while let Some((names, Job { asker, request, came })) = api.next() {
            serve(&turns, &asker, || api.carry_out(node, &asker, request, came));
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

/// The remedy where others are being served.
const LATER: &str = "ask again later";

/// As the stock daemon writes it.
impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(program) => f.write_str(program.connection.peer()),
            Self::Node { node, name, .. } => write!(f, "{node} ({name})"),
        }
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
            Self::Node { connection, name, .. } => {
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
            Self::Node { connection, name, .. } => {
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
        let asker = Asker::Node { node: "w".into(), connection: pair.master.clone(), name: "one".into() };
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
