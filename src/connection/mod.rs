//! One peer: a socket, a thread that reads from it, and the pen by which whoever sends something writes to it.
//!
//! ```text
//!              ┌────────── reader ──────────┐
//!  socket ───► │ deframe → decrypt → answer? ─┼─► the thread that waits in `Connection::request`
//!              │                  request? ───┼─► `Handler::request`
//!              └────────────────────────────┘
//!  socket ◄─── pen ◄── bounded outbox ◄── answers of the handler, requests of any thread
//! ```
//! Who puts something into the outbox takes the pen and writes it (`pen.rs`), unless another thread is writing: then that one
//! writes it too. Nobody waits for the peer with that. When the peer takes no more, or a message is large, the pen goes to a
//! thread of its own, the `writer`, until nothing has come for a while.
//!
//! Two rules keep it free of deadlock: the reader never waits for an answer, and only who has the pen writes. A request has
//! a deadline, is forgotten on every outcome and fails when the connection closes. A message whose command is an answer is
//! never answered.

mod arriving;
mod cipher;
mod connections;
mod dial;
mod incoming;
mod life;
mod outbox;
mod outgoing;
mod pen;
mod pending;
mod reader;
mod reply;
mod request;
mod session;
mod socket;
mod strings;
mod writer;

use std::{
    fmt, io,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::{
    arbiter::Deadline,
    crypto::{Fernet, Opener},
    limits::{self, Account, Budget, Full, Share},
    metrics,
    system::{
        clock::Clock,
        shutdown::{self, Never, Shutdown, Trigger},
        thread::Group,
    },
    wire::Message,
};
pub use arriving::Arriving;
use cipher::Cipher;
pub use connections::Connections;
pub use dial::{CONNECT_TIMEOUT, NotReached, reach};
pub use incoming::{FileLimits, FileRefused, IncomingFiles, Proof, ReceivedFile};
use life::Life;
pub use life::Work;
use outbox::Outgoing;
pub use outgoing::{FileSender, Transfer, send_string};
use pen::Pen;
use pending::Pending;
use reader::Reader;
pub use reply::Reply;
pub use request::{Answer, Begun, RequestError};
use session::Then;
pub use session::Undecided;
pub use socket::Socket;
pub use strings::IncomingStrings;
use writer::Writer;

/// The reason when the peer closed the connection between two messages.
pub const PEER_CLOSED: &str = "the peer closed it";

/// The reason when a stranger was not accepted in time.
pub const NOT_IN_TIME: &str = "the peer did not say hello in time";

/// The reason when others needed the room that it took.
const HELD_MOST: &str = "its messages took most of the room for those of all peers, and others had to wait for it";

/// The reason when another node may be the master.
const NO_MASTER: &str = "this node is not the master any more";

/// The reason when this node stops.
const NODE_STOPS: &str = "this node stops";

/// How a connection is set up.
pub struct Options {
    /// The name of the peer in the log.
    pub peer: String,
    /// Encrypt the link between nodes: the peer's first message chooses one for good, and if there is one only, this side
    /// may speak first. The control socket has none.
    pub ciphers: Vec<Fernet>,
    /// From when on the peer is no stranger. A stranger has small limits, and the time of
    /// [`Options::handshake_timeout`].
    pub known: Known,
    /// Until a stranger must have been accepted.
    pub handshake_timeout: Duration,
    /// Until a frame that has begun must be complete, and until a frame must have been written.
    pub frame_timeout: Duration,
    /// Until a request must have been answered.
    pub request_timeout: Duration,
    /// Counts what passes.
    pub traffic: Arc<metrics::Link>,
    /// Until when this node may say anything: that of an elected master.
    pub deadline: Option<Deadline>,
    /// The room for the messages of all peers.
    pub budget: Budget,
    /// For the deadlines of requests.
    pub clock: Clock,
}

/// From when on a peer is no stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// From the beginning: a program of this machine.
    AtOnce,
    /// From its first message on that the key opens: the master that was dialled.
    ByKey,
    /// From [`Connection::accept`] on: a worker.
    ByHello,
}

/// Takes the requests of a peer, in the order of arrival, on the reader's thread: it must not wait for an answer of the
/// same peer.
pub trait Handler: Send + 'static {
    /// A request has arrived, with the way to answer it; `message.body` is its decrypted payload.
    fn request(&mut self, reply: Reply, message: Message);

    /// The connection has ended, for the given reason; the last call.
    fn closed(&mut self, reason: &str);
}

/// The handle of a connection; cheap to clone, and usable from any thread.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    peer: String,
    socket: Socket,
    cipher: Cipher,
    /// Of a session that has begun, until the reader takes it.
    opener: Mutex<Option<Opener>>,
    /// Whether the reader has it.
    in_session: AtomicBool,
    /// A place takes little as long as nothing is in it.
    outbox: Sender<Box<Outgoing>>,
    bulk: Sender<Box<Outgoing>>,
    pen: Pen<Box<Writer>>,
    /// For the thread of a writer.
    threads: Group,
    pending: Pending,
    accepted: AtomicBool,
    account: Account,
    life: Life,
    clock: Clock,
    request_timeout: Duration,
    reason: OnceLock<String>,
    end: Mutex<Option<Trigger>>,
    ended: Shutdown,
    traffic: Arc<metrics::Link>,
}

impl Connection {
    /// A connection over `socket`, and its reader, which runs nowhere yet. `handler` is made with the handle of the new
    /// connection; `threads` are for its writer.
    ///
    /// # Errors
    /// When the socket cannot be set up.
    fn new<H: Handler>(
        socket: Socket,
        options: Options,
        threads: &Group,
        handler: impl FnOnce(&Self) -> H,
    ) -> io::Result<(Self, Reader<H>)> {
        socket.set_write_timeout(Some(writer::TURN))?;
        let (outbox, messages) = bounded(limits::OUTBOX);
        let (bulk, large) = bounded(limits::OUTBOX_LARGE);
        let (end, ended) = shutdown::channel();
        let (cipher, candidates) = Cipher::of(options.ciphers);
        let connection = Self(Arc::new_cyclic(|this: &Weak<Shared>| {
            let this = this.clone();
            let close = move || {
                if let Some(shared) = this.upgrade() {
                    Self(shared).close(HELD_MOST);
                }
            };
            Shared {
                peer: options.peer,
                socket,
                cipher,
                opener: Mutex::default(),
                in_session: AtomicBool::new(false),
                outbox,
                bulk,
                pen: Pen::new(Box::new(Writer::new(messages, large, options.frame_timeout, options.deadline))),
                threads: threads.clone(),
                pending: Pending::new(),
                accepted: AtomicBool::new(options.known == Known::AtOnce),
                account: options.budget.account(close),
                life: Life::new(),
                clock: options.clock,
                request_timeout: options.request_timeout,
                reason: OnceLock::new(),
                end: Mutex::new(Some(end)),
                ended,
                traffic: options.traffic,
            }
        }));
        let handler = handler(&connection);
        let reader = Reader::new(connection.clone(), candidates, handler)
            .of(options.known)
            .with_timeouts(options.handshake_timeout, options.frame_timeout);
        Ok((connection, reader))
    }

    /// The name of the peer, for the log.
    pub fn peer(&self) -> &str {
        &self.0.peer
    }

    /// The cipher that was chosen; none yet, or none at all.
    pub fn cipher(&self) -> Option<&Fernet> {
        self.0.cipher.chosen()
    }

    /// Gives the peer the limits of one that is known; from now on it may be silent between frames.
    pub fn accept(&self) {
        self.0.accepted.store(true, Ordering::Release);
    }

    /// Takes room for so many bytes of this peer's messages; waits a little for it, and then for the connection to be closed
    /// that holds most.
    ///
    /// # Errors
    /// When there is none: the bytes must not be held.
    pub fn hold(&self, bytes: usize) -> Result<Share, Full> {
        self.0.account.take(bytes, || self.is_closed())
    }

    /// [`Connection::hold`] for a frame of a session, which cannot be passed over: it may be beyond what one connection may
    /// hold.
    fn hold_frame(&self, bytes: usize) -> Result<Share, Full> {
        self.0.account.take_beyond(limits::SESSION_FRAME, bytes, || self.is_closed())
    }

    /// [`Connection::hold`], without waiting.
    ///
    /// # Errors
    /// As [`Connection::hold`].
    pub fn try_hold(&self, bytes: usize) -> Result<Share, Full> {
        self.0.account.try_take(bytes)
    }

    /// What is done for this peer; as long as it is kept, the connection is not idle.
    pub fn work(&self) -> Work {
        self.0.life.work()
    }

    /// Since when nothing has been done for the peer; none while something is.
    pub fn idle_since(&self) -> Option<Instant> {
        self.0.life.idle_since()
    }

    /// Closes the connection at once. The first reason given is the one that is told.
    pub fn close(&self, reason: &str) {
        let _ = self.0.reason.set(reason.to_owned());
        self.0.socket.shutdown();
        drop(self.0.end.lock().take());
        // What waits goes.
        self.write();
    }

    /// Closes the connection when all that was sent before has been written.
    pub fn close_after_answers(&self, reason: &str) {
        self.send(Outgoing::Close { reason: reason.to_owned() });
    }

    /// For `select!`: becomes ready, with an error, when the connection has closed.
    pub fn closed(&self) -> &Receiver<Never> {
        self.0.ended.channel()
    }

    /// Whether the connection has closed.
    pub fn is_closed(&self) -> bool {
        self.0.ended.ordered()
    }

    /// Whether both are handles of one connection.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn closed_error(&self) -> RequestError {
        RequestError::Closed { reason: self.0.reason.get().cloned().unwrap_or_else(|| "by this side".to_owned()) }
    }
}

/// Whether this is how it shows that the peer has closed while something was on its way to it.
fn has_left(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.0.peer)
    }
}

#[cfg(test)]
mod tests;
