//! What anybody may take of a node: the one table of limits, and the rules for who goes, or is next, when one is reached.
//!
//! Every module takes its figures from here. `docs/limits.md` shows [`TABLE`] row by row, and a test holds the two
//! together. `cluster.json` has those that a site may want to change.
//!
//! The memory of a node under any peers is at most [`MEMORY`] and what its own files, agents and workers take at rest:
//! [`HELD`] for the messages of all peers, and [`WORKING`] for what the node makes of them while it works on them.

mod budget;
mod house;
mod line;

use std::{fmt, time::Duration};

pub use budget::{Account, Budget, Full, Holding, Share};
pub use house::{Guest, who_leaves};
pub use line::{Job, Line, Place};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One message of a peer that has not shown who it is, as transmitted: enough for its hello and a small echo.
pub const STRANGER_MESSAGE: usize = 64 * KIB;

/// How long an address may have more strangers than it is allowed, if there is room: a worker behind an address that
/// somebody floods from has so long at least for its hello.
pub const STRANGER_GRACE: Duration = Duration::from_secs(1);

/// How long a stranger whose first message is whole is left alone: it is being looked at.
pub const STRANGER_LOOKED_AT: Duration = Duration::from_secs(5);

/// A frame of a session, with its header: nothing of it is believed before all of it is there.
pub const SESSION_FRAME: usize = MIB;

/// A message, as in the stock daemon.
pub const MESSAGE: usize = 256 * MIB;

/// A request or an answer that carries no content. Parsed JSON takes up to 20 times its length.
pub const REQUEST: usize = 64 * KIB;

/// An `echo`. No node sends a long one; two frames show that divided messages work.
pub const ECHO: usize = 8 * MIB;

/// An answer. The longest is what is known of all nodes (`get_health`): 2 MB for a thousand.
pub const ANSWER: usize = 16 * MIB;

/// A chunk of a file or of a string: what fits one frame (`spec/protocol.md` 8.1, 9).
pub const CHUNK: usize = 5 * MIB;

/// A request for a program of the manager: what a program written in C sends at most, and an origin.
pub const SEND: usize = 1_000_000 + 64;

/// A request of the API: it may carry a file. An answer of the API, too.
pub const API: usize = 64 * MIB;

/// Divided messages of one connection that may be incomplete at a time, as in the stock daemon.
pub const DIVIDED: usize = 10;

/// Strings of one connection at a time. The stock daemon has no limit.
pub const STRINGS: usize = 16;

/// One string: agent information of some ten thousand agents, or an answer of the API.
pub const STRING: usize = API;

/// Files of one connection at a time: the one that is expected, and one that was given up.
pub const FILES: usize = 2;

/// Messages of one connection that wait to go out: far more than a well-behaved peer can have open at a time.
pub const OUTBOX: usize = 64;

/// The same of those above [`LARGE`].
pub const OUTBOX_LARGE: usize = 1;

/// From this length on a payload is large.
pub const LARGE: usize = 64 * KIB;

/// Shorter messages are not counted, so that a full node still lives: keep-alives, acknowledgements, refusals.
pub const UNCOUNTED: usize = KIB;

/// Bytes of messages, coming in and going out, that one connection may have the node hold.
pub const HELD_BY_ONE: usize = 160 * MIB;

/// The same of all connections.
pub const HELD: usize = 256 * MIB;

/// How long one that needs room waits before a connection is closed that has given nothing back for so long. A chunk of
/// 512 KiB takes as long at 1 Mbit/s.
pub const HELD_PATIENCE: Duration = Duration::from_secs(5);

/// What a node makes of messages, all together, in bytes.
pub const WORKING: usize = 256 * MIB;

/// The memory of a node under any peers, beside what its own files, agents and workers take at rest.
pub const MEMORY: usize = HELD + WORKING;

/// Manifests of workers that are read at a time: one may take some 200 MiB while it is. Those that were read count as
/// messages that are held.
pub const COMPARISONS: usize = 1;

/// Archives that are made at a time, each up to its next chunk.
pub const PACKING: usize = 4;

/// What a file of several chunks takes while it is made and sent, besides its messages that are on their way: of a content and of
/// what it is packed to a part each, the state of the compressor, two chunks. It counts as messages that are held.
pub const LONG_FILE: usize = 2304 * KIB;

/// Long requests of one connection that are under way at a time: one peer is not to take the threads of all others.
pub const LONG_REQUESTS: usize = 4;

/// Requests of all local programs that take long, or whose answer waits for them, at a time: two for each of them.
pub const LOCAL_REQUESTS: usize = 256;

/// Requests of the API that a command executes at a time; one node has at most all but one of these places.
pub const API_EXECUTIONS: usize = 4;

/// Requests of the API that wait for that. For a command each is a file on the disk; a large one counts once more for each
/// 512 KiB, so that all of them take 256 MiB there.
pub const API_WAITING: usize = 512;

/// An answer of the API that is taken out of its process as a whole, so that the process is free before whoever asked has it.
/// The answer to the API's own limit of 500 agents has half of it. Longer ones pass through in chunks.
pub const API_KEPT: usize = MIB;

/// Requests that one process of the manager's framework executes before another takes its place.
pub const API_PROCESS_REQUESTS: usize = 500;

/// Memory of such a process at which another takes its place, in bytes.
pub const API_PROCESS_MEMORY: usize = 300 * MIB;

/// How long these processes are kept without a request.
pub const API_IDLE: Duration = Duration::from_secs(600);

/// Programs at each of `queue/db/wdb`, `queue/sockets/wdb-http.sock` and `queue/sockets/auth`.
pub const PROGRAMS: usize = 256;

/// Those who watch: each asks a few times a minute.
pub const WATCHERS: usize = 16;

/// How long a program must have been idle before it may be disconnected for another.
pub const IDLE: Duration = Duration::from_secs(1);

/// How long a program waits for a place.
pub const PLACE_PATIENCE: Duration = Duration::from_millis(1500);

/// A frame of `queue/db/wdb` and `queue/sockets/auth`, as in the stock daemon.
pub const PROGRAM_FRAME: usize = 64 * KIB;

/// The body of a request at `queue/sockets/wdb-http.sock`: what is known of some ten thousand agents.
pub const HTTP_BODY: usize = 64 * MIB;

/// All bodies there together.
pub const HTTP_BODIES: usize = 128 * MIB;

/// An answer of the arbiter: a page of [`MOST_ENTRIES`](crate::arbiter::MOST_ENTRIES) registrations has some 100 KiB.
pub const ARBITER_ANSWER: usize = 4 * MIB;

/// A line of a watch of the arbiter: what has changed at once, for two keys.
pub const ARBITER_LINE: usize = 256 * KIB;

/// Addresses that were turned away and are counted one by one in the log.
pub const TURNED_AWAY: usize = 256;

/// Workers that are away and remembered.
pub const AWAY: usize = 256;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is limited.
    pub what: &'static str,
    /// How much there may be.
    pub most: Most,
    /// What happens when that is reached.
    pub full: &'static str,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub enum Most {
    /// A number.
    Count(usize),
    /// A number of bytes.
    Bytes(usize),
    /// A setting of cluster.json, and its default.
    Setting(&'static str, usize),
    /// The same for a time, in seconds.
    Seconds(&'static str, usize),
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Bytes(bytes) if bytes % MIB == 0 => write!(f, "{} MiB", bytes / MIB),
            Self::Bytes(bytes) if bytes % KIB == 0 => write!(f, "{} KiB", bytes / KIB),
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
            Self::Setting(name, default) => write!(f, "`{name}`, {default}"),
            Self::Seconds(name, default) => write!(f, "`{name}`, {default} s"),
        }
    }
}

const fn row(what: &'static str, most: Most, full: &'static str) -> Row {
    Row { what, most, full }
}

/// The table, as `docs/limits.md` shows it.
pub const TABLE: &[(&str, &[Row])] = &[
    (
        "Before hello, or the proof of a session; and before a master's first message that the key decrypts, or its session",
        &[
            row(
                "connections of one address",
                Most::Setting("link.max_unauthenticated_per_address", 10),
                "the oldest of the address is closed, once it is a second old",
            ),
            row(
                "connections in all",
                Most::Setting("link.max_unauthenticated", 256),
                "the oldest of the address with the most is closed",
            ),
            row("time until then", Most::Seconds("link.handshake_timeout", 30), "it is closed"),
            row("one message", Most::Bytes(STRANGER_MESSAGE), "it is closed"),
        ],
    ),
    (
        "Each connection between nodes, and each program at the control socket",
        &[
            row("a request without content", Most::Bytes(REQUEST), TOO_LONG),
            row("`echo`, `echo-c`, `echo-m`", Most::Bytes(ECHO), TOO_LONG),
            row("a chunk of a file or a string", Most::Bytes(CHUNK), TOO_LONG),
            row("`sendsync`, `sendasync`", Most::Bytes(SEND), TOO_LONG),
            row("`dapi`, `dapi_fwd`", Most::Bytes(API), TOO_LONG),
            row("a response", Most::Bytes(ANSWER), "its receiver gets error 3050"),
            row("incomplete divided messages", Most::Count(DIVIDED), "it is closed"),
            row("a string", Most::Bytes(STRING), "it is refused"),
            row("strings in transfer", Most::Count(STRINGS), "the oldest is dropped"),
            row("files in transfer", Most::Count(FILES), "the next is refused"),
            row("messages in the outbox", Most::Count(OUTBOX), "the node stops reading from it"),
            row("the same, above 64 KiB", Most::Count(OUTBOX_LARGE), "the node stops reading from it"),
            row("long requests in progress", Most::Count(LONG_REQUESTS), "the next is refused"),
            row("a frame of a session", Most::Bytes(SESSION_FRAME), "it is closed"),
            row("bytes of its messages in memory", Most::Bytes(HELD_BY_ONE), TOO_LONG),
            row(
                "time in which a worker takes an archive",
                Most::Seconds("intervals.communication.timeout_receiving_file", 120),
                "it is cancelled",
            ),
        ],
    ),
    (
        "The node in total",
        &[
            row("workers", Most::Setting("link.max_workers", 1024), "the next is refused"),
            row(
                "remembered workers that are away",
                Most::Count(AWAY),
                "the one away for longest is forgotten, with a warning; one that has had a session only after all others",
            ),
            row(
                "bytes of messages, and of files being sent, in memory",
                Most::Bytes(HELD),
                "further messages wait; after 5 s the connection with the most bytes that has released none meanwhile is closed",
            ),
            row("manifests being parsed", Most::Count(COMPARISONS), "the next waits"),
            row(
                "archives being packed at the same time",
                Most::Count(PACKING),
                "the next waits, as long as these need not wait for their workers; short ones go first",
            ),
            row(
                "memory, beyond that at rest for files, agents and workers",
                Most::Bytes(MEMORY),
                "follows from the other limits",
            ),
            row(
                "DAPI requests of one node being executed",
                Most::Setting("distributed_api.processes", 2),
                "its next waits; all others have one more place",
            ),
            row("the same by a command of yours", Most::Count(API_EXECUTIONS - 1), "the same"),
            row("DAPI requests executed by one process", Most::Count(API_PROCESS_REQUESTS), "a new one replaces it"),
            row("memory of such a process", Most::Bytes(API_PROCESS_MEMORY), "a new one replaces it after its request"),
            row(
                "waiting DAPI requests, each counted once more for each 512 KiB of it",
                Most::Count(API_WAITING),
                "the youngest of the node with the most is refused",
            ),
            row("long requests of local programs in progress", Most::Count(LOCAL_REQUESTS), "the next is refused"),
            row("rejected addresses that the log counts", Most::Count(TURNED_AWAY), "the oldest is logged and dropped"),
        ],
    ),
    (
        "The sockets of this machine",
        &[
            row("programs at the control socket", Most::Setting("local.max_clients", 128), IDLE_GOES),
            row("programs at `queue/db/wdb`, `wdb-http.sock` and `auth`, each", Most::Count(PROGRAMS), IDLE_GOES),
            row("connections to `metrics.listen`", Most::Count(WATCHERS), IDLE_GOES),
            row("a frame of `wdb` and `auth`", Most::Bytes(PROGRAM_FRAME), "it is disconnected"),
            row("an HTTP body at `wdb-http.sock`", Most::Bytes(HTTP_BODY), "status 413"),
            row("all HTTP bodies there", Most::Bytes(HTTP_BODIES), "status 503"),
        ],
    ),
];

const TOO_LONG: &str = "it is skipped, and answered with error 3050";
const IDLE_GOES: &str = "the one that has been idle for longest, if for a second, is disconnected";
