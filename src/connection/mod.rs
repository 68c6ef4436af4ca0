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
mod outgoing;
mod pen;
mod pending;
mod reader;
mod reply;
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

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use parking_lot::Mutex;

use crate::{
    arbiter::Deadline,
    crypto::{Fernet, Opener},
    limits::{self, Account, Budget, Full, Holding, Share},
    metrics,
    system::{
        clock::Clock,
        shutdown::{self, Never, Shutdown, Trigger},
        thread::{Group, guard},
    },
    wire::{Command, CommandField, ErrorObject, Message},
};
pub use arriving::Arriving;
use cipher::Cipher;
pub use connections::Connections;
pub use dial::{CONNECT_TIMEOUT, NotReached, reach};
pub use incoming::{FileLimits, FileRefused, IncomingFiles, Proof, ReceivedFile};
use life::Life;
pub use life::Work;
pub use outgoing::{FileSender, Transfer, send_string};
use pen::Pen;
use pending::{Pending, Waiting};
use reader::Reader;
pub use reply::Reply;
use session::Then;
pub use session::Undecided;
pub use socket::Socket;
pub use strings::IncomingStrings;
use writer::{Came, Writer};

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

enum Outgoing {
    Message {
        counter: u32,
        command: CommandField,
        payload: Holding,
        then: Then,
    },
    /// A frame that is sealed already, as on a link without a session.
    Frame(Holding),
    Close {
        reason: String,
    },
}

/// Why a request brought no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// The peer refused it.
    #[error("{0}")]
    Refused(ErrorObject),
    /// The peer did not answer in time.
    #[error("Error 3020 - Timeout sending request: {command}")]
    Timeout {
        /// What was asked.
        command: Command,
    },
    /// The connection closed before the answer came.
    #[error("the connection was closed: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
    /// This node holds too much for its peers to send it.
    #[error("{0}")]
    NoRoom(ErrorObject),
    /// The peer answered with something that is no answer to this.
    #[error("Unkown response command received: {0}")]
    Unexpected(String),
}

impl RequestError {
    /// The error as it is told to somebody else.
    pub fn to_object(&self) -> ErrorObject {
        match self {
            Self::Refused(error) | Self::NoRoom(error) => error.clone(),
            Self::Timeout { command } => ErrorObject::cluster(3020, command.to_string()),
            Self::Closed { reason } => ErrorObject::cluster(3023, reason.clone()),
            Self::Unexpected(command) => ErrorObject::cluster(3018, command.clone()),
        }
    }
}

/// A request that is ready to be sent. Dropping it forgets it.
struct Ready {
    connection: Connection,
    command: Command,
    waiting: Waiting,
    message: Outgoing,
}

impl Ready {
    /// Sends it. `limit`: until it must have been answered.
    fn send(self, limit: Duration) -> Result<Begun, RequestError> {
        let Self { connection, command, waiting, message } = self;
        let timeout = connection.0.clock.after(limit);
        select! {
            send(connection.way_of(&message), Box::new(message)) -> sent => sent.map_err(|_| connection.closed_error())?,
            recv(connection.closed()) -> _ => return Err(connection.closed_error()),
            recv(timeout) -> _ => return Err(RequestError::Timeout { command }),
        }
        connection.write();
        Ok(Begun { connection, command, waiting, timeout })
    }
}

/// A request that has been sent and whose answer has not been waited for. Dropping it forgets it.
pub struct Begun {
    connection: Connection,
    command: Command,
    waiting: Waiting,
    timeout: Receiver<Instant>,
}

impl Begun {
    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn wait(self) -> Answer {
        let Self { connection, command, waiting, timeout } = self;
        let failure = select! {
            recv(waiting.answer) -> answer => return interpret(answer.map_err(|_| connection.closed_error())?),
            recv(connection.closed()) -> _ => connection.closed_error(),
            recv(timeout) -> _ => RequestError::Timeout { command },
        };
        // The answer may have come at the same moment, and it says what was done.
        waiting.answer.try_recv().map_or(Err(failure), interpret)
    }
}

/// What became of a request of this side.
pub type Answer = Result<Vec<u8>, RequestError>;

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

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`RequestError`]: the peer refused it or did not answer in time, or the connection closed.
    pub fn request(&self, command: Command, payload: impl Into<Vec<u8>>) -> Answer {
        self.request_within(self.0.request_timeout, command, payload)
    }

    /// [`Connection::request`] with a time limit of its own.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn request_within(&self, limit: Duration, command: Command, payload: impl Into<Vec<u8>>) -> Answer {
        self.begin_within(limit, command, payload)?.wait()
    }

    /// Sends a request whose answer is waited for later. Requests of one thread, unless they are large, arrive in the
    /// order in which they were begun.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn begin(&self, command: Command, payload: impl Into<Vec<u8>>) -> Result<Begun, RequestError> {
        self.begin_within(self.0.request_timeout, command, payload)
    }

    /// [`Connection::begin`] with a time limit of its own.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn begin_within(
        &self,
        limit: Duration,
        command: Command,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Begun, RequestError> {
        self.begin_then(limit, command, payload, Then::GoOn)
    }

    fn begin_then(
        &self,
        limit: Duration,
        command: Command,
        payload: impl Into<Vec<u8>>,
        then: Then,
    ) -> Result<Begun, RequestError> {
        let payload = self.holding(payload.into(), |bytes| self.hold(bytes)).map_err(no_room)?;
        self.prepare(command, payload, then).send(limit)
    }

    /// Prepares a large request, and seals it on this thread where that does not depend on when it is sent: without a
    /// session.
    fn prepare_sealed(&self, command: Command, payload: Vec<u8>) -> Result<Ready, RequestError> {
        let payload = self.holding(payload, |bytes| self.hold(bytes)).map_err(no_room)?;
        let mut ready = self.prepare(command, payload, Then::GoOn);
        if let Outgoing::Message { counter, command, payload, .. } = &mut ready.message
            && !self.in_session()
            && payload.bytes.len() > limits::LARGE
            && self.cipher().is_some()
        {
            let mut bytes = Vec::new();
            let sealed = writer::seal_plainly(&self.0.cipher, *counter, *command, &payload.bytes, &mut bytes);
            sealed.map_err(|reason| RequestError::Closed { reason })?;
            ready.message = Outgoing::Frame(Holding { bytes, share: payload.share.take() });
        }
        Ok(ready)
    }

    /// [`Connection::begin_within`] for whoever asks many at a time: a peer that takes nothing is not waited for, and
    /// counts as one that does not answer in time.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn begin_at_once(
        &self,
        limit: Duration,
        command: Command,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Begun, RequestError> {
        let payload = self.holding(payload.into(), |bytes| self.0.account.try_take(bytes)).map_err(no_room)?;
        let Ready { connection, waiting, message, .. } = self.prepare(command, payload, Then::GoOn);
        let timeout = self.0.clock.after(limit);
        match self.way_of(&message).try_send(Box::new(message)) {
            Ok(()) => {
                self.write();
                Ok(Begun { connection, command, waiting, timeout })
            }
            Err(TrySendError::Full(_)) => Err(RequestError::Timeout { command }),
            Err(TrySendError::Disconnected(_)) => Err(self.closed_error()),
        }
    }

    fn prepare(&self, command: Command, payload: Holding, then: Then) -> Ready {
        let waiting = self.0.pending.open();
        let message =
            Outgoing::Message { counter: waiting.counter, command: CommandField::new(command), payload, then };
        Ready { connection: self.clone(), command, waiting, message }
    }

    /// Sends a request whose answer nobody waits for. Never waits; false if the peer has closed, or takes nothing.
    pub fn tell(&self, command: Command, payload: impl Into<Vec<u8>>) -> bool {
        let counter = self.0.pending.open().counter;
        let Ok(payload) = self.holding(payload.into(), |bytes| self.0.account.try_take(bytes)) else { return false };
        let message = Outgoing::Message { counter, command: CommandField::new(command), payload, then: Then::GoOn };
        let told = !self.is_closed() && self.way_of(&message).try_send(Box::new(message)).is_ok();
        self.write();
        told
    }

    /// Sends the answer to the request with this counter, or error 3050 if there is no room for it.
    fn answer(&self, counter: u32, command: Command, payload: impl Into<Vec<u8>>) {
        self.answer_then(counter, command, payload, Then::GoOn);
    }

    fn answer_then(&self, counter: u32, command: Command, payload: impl Into<Vec<u8>>, then: Then) {
        let (command, payload) = match self.holding(payload.into(), |bytes| self.hold(bytes)) {
            Ok(payload) => (command, payload),
            Err(full) => {
                let error = no_room(full).to_object().to_json().into_bytes();
                (Command::Err, Holding { bytes: error, share: None })
            }
        };
        self.send(Outgoing::Message { counter, command: CommandField::new(command), payload, then });
    }

    /// `payload` with the room that it takes until it is written: what it is encrypted to, because it goes when that is
    /// there, or itself and its copy.
    fn holding(&self, bytes: Vec<u8>, take: impl FnOnce(usize) -> Result<Share, Full>) -> Result<Holding, Full> {
        let length = bytes.len();
        let room = if matches!(self.0.cipher, Cipher::Plain) { 2 * length } else { length + length / 3 };
        let share = if length > limits::UNCOUNTED { Some(take(room)?) } else { None };
        Ok(Holding { bytes, share })
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

    fn send(&self, message: Outgoing) {
        select! {
            // A closed connection needs no answers.
            send(self.way_of(&message), Box::new(message)) -> _ => (),
            recv(self.closed()) -> _ => (),
        }
        self.write();
    }

    /// Has what waits in the outbox written: by this thread, as far as it need not wait for the peer, or by the one that has
    /// the pen. With a closed connection the pen goes, and all that waits.
    fn write(&self) {
        let waits = || self.is_closed() || !(self.0.outbox.is_empty() && self.0.bulk.is_empty());
        self.0.pen.write(waits, |writer| self.write_at_once(writer));
    }

    fn write_at_once(&self, mut writer: Box<Writer>) -> Option<Box<Writer>> {
        if self.is_closed() {
            return None;
        }
        // With a panic the pen would be lost, and the connection mute.
        match guard(|| writer.write_at_once(self)).unwrap_or_else(Err) {
            Ok(Came::Through) => Some(writer),
            Ok(Came::NoFurther) => {
                self.start_writer(writer);
                None
            }
            Err(reason) => {
                self.close(&reason);
                None
            }
        }
    }

    fn start_writer(&self, writer: Box<Writer>) {
        let connection = self.clone();
        let started =
            self.0.threads.spawn_with("writer", writer, move |mut writer| match writer.write_on(&connection) {
                Ok(()) => {
                    connection.0.pen.put_back(writer);
                    connection.write();
                }
                Err(reason) => connection.close(&reason),
            });
        if let Err((error, _)) = started {
            self.close(&format!("no thread could be started: {error}"));
        }
    }

    /// The order among messages is free, so large ones may have a way of their own.
    fn way_of(&self, message: &Outgoing) -> &Sender<Box<Outgoing>> {
        match message {
            Outgoing::Message { payload: Holding { bytes, .. }, .. } | Outgoing::Frame(Holding { bytes, .. })
                if bytes.len() > limits::LARGE =>
            {
                &self.0.bulk
            }
            _ => &self.0.outbox,
        }
    }

    fn closed_error(&self) -> RequestError {
        RequestError::Closed { reason: self.0.reason.get().cloned().unwrap_or_else(|| "by this side".to_owned()) }
    }
}

/// Whether this is how it shows that the peer has closed while something was on its way to it.
fn has_left(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// What whoever wanted to send something is told.
fn no_room(full: Full) -> RequestError {
    let text = match full {
        Full::OfOne => format!("it would be more than the {} bytes that one connection may have", limits::HELD_BY_ONE),
        Full::OfAll => format!("this node holds {} bytes of messages, which is the most", limits::HELD),
    };
    RequestError::NoRoom(ErrorObject::cluster(3050, text))
}

/// What an answer means (`spec/protocol.md` 4.2).
fn interpret(answer: Message) -> Answer {
    match Command::named(answer.command.name()) {
        Some(Command::Ok | Command::OkMaster | Command::OkClient) => Ok(answer.body),
        Some(Command::Err) => Err(RequestError::Refused(ErrorObject::from_payload(&answer.body))),
        _ => Err(RequestError::Unexpected(answer.command.to_string())),
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.0.peer)
    }
}

#[cfg(test)]
mod tests;
