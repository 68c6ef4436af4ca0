//! Outbox → socket: the frames of messages, sealed in the order in which they go out.

use std::{
    io::{ErrorKind, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, select};
use zeroize::Zeroize;

use super::{Connection, NO_MASTER, Outgoing, PEER_CLOSED, Then, cipher::Cipher, has_left};
use crate::{
    arbiter::Deadline,
    crypto::Sealer,
    limits::Holding,
    system::random,
    wire::{CommandField, FRAME_LIMIT, frame, sealed},
};

/// What an idle connection keeps of its buffer, in bytes.
const KEPT: usize = 1024;

/// How long one write of a thread may wait.
pub const TURN: Duration = Duration::from_millis(500);

/// How long a thread waits for more, so that the chunks of a file need no thread each.
const LINGER: Duration = Duration::from_millis(250);

/// What writes: all that is the same from one frame to the next.
pub struct Writer {
    messages: Receiver<Box<Outgoing>>,
    large: Receiver<Box<Outgoing>>,
    /// Of the session, from its beginning on.
    sealer: Option<Sealer>,
    /// Decides on a session; nothing goes out before.
    decision: Option<Receiver<Sealer>>,
    /// What is being written.
    message: Option<Underway>,
    /// One frame of it, and how much of that has gone.
    buffer: Vec<u8>,
    gone: usize,
    frame_timeout: Duration,
    /// As in [`super::Options`].
    deadline: Option<Deadline>,
}

/// A message that is being written.
struct Underway {
    payload: Holding,
    /// What is not in a frame yet.
    rest: Option<Rest>,
    then: Then,
}

/// The payload from here on, and what the frames of it begin with.
struct Rest {
    from: usize,
    counter: u32,
    command: CommandField,
}

/// How far a thread came that must not wait.
pub enum Came {
    /// Nothing is left.
    Through,
    /// The rest needs a thread that may wait: the peer takes no more now, or there is much.
    NoFurther,
}

/// What to do when the peer takes no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocked {
    /// For whoever sends.
    Leave,
    /// For a thread that does nothing else.
    Wait,
}

impl Writer {
    /// `deadline`: nothing is written after it.
    pub fn new(
        messages: Receiver<Box<Outgoing>>,
        large: Receiver<Box<Outgoing>>,
        frame_timeout: Duration,
        deadline: Option<Deadline>,
    ) -> Self {
        let (sealer, decision, message, buffer) = (None, None, None, Vec::new());
        Self { messages, large, sealer, decision, message, buffer, gone: 0, frame_timeout, deadline }
    }

    /// Writes what waits, as far as that goes without waiting. What is large is left to a thread, so that it is sealed while
    /// the next is made.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub fn write_at_once(&mut self, connection: &Connection) -> Result<Came, String> {
        while let Ok(message) = self.messages.try_recv() {
            self.begin(*message)?;
            if !self.write_message(connection, Blocked::Leave)? || self.decision.is_some() {
                return Ok(Came::NoFurther);
            }
        }
        self.shrink();
        Ok(if self.large.is_empty() { Came::Through } else { Came::NoFurther })
    }

    /// Goes on where [`Writer::write_at_once`] came no further, until nothing has come for a while or the connection has
    /// closed.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub fn write_on(&mut self, connection: &Connection) -> Result<(), String> {
        let ended = self.write_until_idle(connection);
        self.shrink();
        ended
    }

    fn write_until_idle(&mut self, connection: &Connection) -> Result<(), String> {
        loop {
            self.write_message(connection, Blocked::Wait)?;
            if let Some(decision) = self.decision.take() {
                self.sealer = select! {
                    recv(decision) -> sealer => sealer.ok(),
                    // The next wait sees it.
                    recv(connection.closed()) -> _ => None,
                };
            }
            let message = select! {
                recv(self.messages) -> message => message,
                recv(self.large) -> message => message,
                recv(connection.closed()) -> _ => return Ok(()),
                default(LINGER) => return Ok(()),
            };
            let Ok(message) = message else { return Ok(()) };
            self.begin(*message)?;
        }
    }

    fn begin(&mut self, message: Outgoing) -> Result<(), String> {
        self.message = Some(match message {
            Outgoing::Message { counter, command, payload, then } => {
                Underway { payload, rest: Some(Rest { from: 0, counter, command }), then }
            }
            // It was sealed by whoever sends it.
            Outgoing::Frame(mut frame) => {
                if self.sealer.is_some() {
                    return Err("a frame was sealed before the session began".into());
                }
                self.buffer = std::mem::take(&mut frame.bytes);
                Underway { payload: frame, rest: None, then: Then::GoOn }
            }
            Outgoing::Close { reason } => return Err(reason),
        });
        Ok(())
    }

    /// Writes the message that is under way, and does what is to follow it. False if the peer takes no more now.
    fn write_message(&mut self, connection: &Connection, blocked: Blocked) -> Result<bool, String> {
        while let Some(mut message) = self.message.take() {
            if self.gone == self.buffer.len()
                && let Some(rest) = message.rest.take()
            {
                message.rest = self.seal(&connection.0.cipher, &mut message.payload.bytes, rest)?;
            }
            let written = self.write_frame(connection, blocked);
            if matches!(written, Ok(true)) && message.rest.is_none() {
                self.end(connection, message);
                return Ok(true);
            }
            self.message = Some(message);
            if !written? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fills the buffer with the next frame of a message; gives what comes behind it. A payload that is in it as a whole is
    /// let go, unless it has to be wiped later.
    fn seal(&mut self, cipher: &Cipher, payload: &mut Vec<u8>, rest: Rest) -> Result<Option<Rest>, String> {
        let Rest { from, counter, command } = rest;
        self.buffer.clear();
        self.gone = 0;
        let Some(sealer) = &mut self.sealer else {
            seal_plainly(cipher, counter, command, payload, &mut self.buffer)?;
            if !matches!(cipher, Cipher::Plain) {
                *payload = Vec::new();
            }
            return Ok(None);
        };
        // As in `spec/native.md` 2.8.
        let to = payload.len().min(from + sealed::PAYLOAD);
        let is_last = to == payload.len();
        let field = if from == 0 && is_last { command } else { command.fragment(is_last) };
        sealed::seal(sealer, counter, field, &payload[from..to], initial()?, &mut self.buffer)
            .map_err(|error| error.to_string())?;
        Ok((!is_last).then_some(Rest { from: to, counter, command }))
    }

    /// Writes what the buffer holds; false if the peer takes no more now. Header and body go with one call, as the reader of
    /// stock nodes needs it (`spec/protocol.md` 2.5).
    ///
    /// A thread waits in turns of [`TURN`], so that it sees the deadline of a master while the peer takes nothing. Each 5 MiB
    /// have `frame_timeout`, however small the sips are that the peer takes.
    fn write_frame(&mut self, connection: &Connection, blocked: Blocked) -> Result<bool, String> {
        let (mut part, mut until) = (self.gone + FRAME_LIMIT, Instant::now() + self.frame_timeout);
        while self.gone < self.buffer.len() {
            if self.deadline.as_ref().is_some_and(|deadline| !deadline.holds()) {
                return Err(NO_MASTER.into());
            }
            let rest = &self.buffer[self.gone..part.min(self.buffer.len())];
            let written = match blocked {
                Blocked::Leave => connection.0.socket.write_at_once(rest),
                Blocked::Wait => (&connection.0.socket).write(rest),
            };
            match written {
                Ok(0) => return Err("the peer takes no data".into()),
                Ok(count) => {
                    connection.0.traffic.sent.add(count as u64);
                    self.gone += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if blocked == Blocked::Leave {
                        return Ok(false);
                    }
                }
                Err(error) if has_left(&error) => return Err(PEER_CLOSED.into()),
                Err(error) => return Err(format!("the peer takes no data: {error}")),
            }
            if self.gone == part {
                (part, until) = (self.gone + FRAME_LIMIT, Instant::now() + self.frame_timeout);
            } else if self.gone < self.buffer.len() && Instant::now() >= until {
                return Err(format!("the peer took too little data within {:?}", self.frame_timeout));
            }
        }
        Ok(true)
    }

    /// Nothing is written for a while.
    fn shrink(&mut self) {
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
    }

    /// All of a message is written.
    fn end(&mut self, connection: &Connection, message: Underway) {
        let Underway { mut payload, then, .. } = message;
        if matches!(connection.0.cipher, Cipher::Plain) {
            // A local program may be told the key (`get_config`). Between nodes it is never sent.
            payload.bytes.zeroize();
            self.buffer.zeroize();
        }
        self.buffer.clear();
        self.gone = 0;
        drop(payload);
        connection.0.life.sign();
        match then {
            Then::GoOn => {}
            Then::Seal(sealer) => self.sealer = Some(sealer),
            Then::Wait(decision) => self.decision = Some(decision),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // As at the end of a message, for one that has none.
        self.buffer.zeroize();
        if let Some(message) = &mut self.message {
            message.payload.bytes.zeroize();
        }
        // A channel keeps what nobody can receive any more, and others want its room.
        self.messages.try_iter().chain(self.large.try_iter()).for_each(drop);
    }
}

/// Appends the frame of a message as it is without a session.
pub(super) fn seal_plainly(
    cipher: &Cipher,
    counter: u32,
    command: CommandField,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), String> {
    out.resize(frame::HEADER, 0);
    match cipher {
        Cipher::Plain => out.extend_from_slice(payload),
        Cipher::Chosen(chosen) => {
            // Whoever may choose speaks first, and everything said to it is an answer.
            let cipher = chosen.get().ok_or("the peer has chosen no key yet")?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            cipher.seal(payload, now, initial()?, out);
        }
    }
    frame::complete(out, counter, command, payload.len());
    Ok(())
}

/// A new initialisation vector.
fn initial() -> Result<[u8; 16], String> {
    random::bytes().map_err(|error| format!("the system gives no random bytes: {error}"))
}
