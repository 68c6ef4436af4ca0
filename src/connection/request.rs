//! A request of this side, and what becomes of it.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TrySendError, select};

use super::{Connection, outbox::Outgoing, pending::Waiting, session::Then, writer};
use crate::{
    limits::{self, Full, Holding},
    wire::{Command, CommandField, ErrorObject, Message},
};

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
pub(super) struct Ready {
    connection: Connection,
    command: Command,
    waiting: Waiting,
    message: Outgoing,
}

impl Ready {
    /// Sends it. `limit`: until it must have been answered.
    pub(super) fn send(self, limit: Duration) -> Result<Begun, RequestError> {
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

    pub(super) fn begin_then(
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
    pub(super) fn prepare_sealed(&self, command: Command, payload: Vec<u8>) -> Result<Ready, RequestError> {
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
}

/// What an answer means (`spec/protocol.md` 4.2).
fn interpret(answer: Message) -> Answer {
    match Command::named(answer.command.name()) {
        Some(Command::Ok | Command::OkMaster | Command::OkClient) => Ok(answer.body),
        Some(Command::Err) => Err(RequestError::Refused(ErrorObject::from_payload(&answer.body))),
        _ => Err(RequestError::Unexpected(answer.command.to_string())),
    }
}

/// What whoever wanted to send something is told.
pub(super) fn no_room(full: Full) -> RequestError {
    let text = match full {
        Full::OfOne => format!("it would be more than the {} bytes that one connection may have", limits::HELD_BY_ONE),
        Full::OfAll => format!("this node holds {} bytes of messages, which is the most", limits::HELD),
    };
    RequestError::NoRoom(ErrorObject::cluster(3050, text))
}
