//! The writer thread: outbox → socket.

use std::{
    io::{ErrorKind, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, select};
use zeroize::Zeroize;

use super::{Connection, NO_MASTER, NODE_STOPS, Outgoing, PEER_CLOSED, Socket, Then, cipher::Cipher, has_left};
use crate::{
    arbiter::Deadline,
    crypto::Sealer,
    limits::Holding,
    system::{random, shutdown::Shutdown},
    wire::{CommandField, frame, sealed},
};

/// What an idle connection keeps of its buffer.
const KEPT: usize = 1024;
/// How long one write may wait.
pub const TURN: Duration = Duration::from_millis(500);

pub struct Writer {
    connection: Connection,
    socket: Socket,
    messages: Receiver<Box<Outgoing>>,
    large: Receiver<Box<Outgoing>>,
    shutdown: Shutdown,
    /// Of the session, from its beginning on.
    sealer: Option<Sealer>,
    buffer: Vec<u8>,
    frame_timeout: Duration,
    /// As in [`super::Options`].
    deadline: Option<Deadline>,
}

impl Writer {
    pub fn new(
        connection: Connection,
        socket: Socket,
        (messages, large): (Receiver<Box<Outgoing>>, Receiver<Box<Outgoing>>),
        shutdown: Shutdown,
        frame_timeout: Duration,
    ) -> Self {
        let (sealer, buffer) = (None, Vec::new());
        Self { connection, socket, messages, large, shutdown, sealer, buffer, frame_timeout, deadline: None }
    }

    /// Writes nothing after this deadline.
    pub fn until(mut self, deadline: Option<Deadline>) -> Self {
        self.deadline = deadline;
        self
    }

    pub fn run(mut self) {
        loop {
            let message = select! {
                recv(self.messages) -> message => message,
                recv(self.large) -> message => message,
                recv(self.connection.closed()) -> _ => return,
                recv(self.shutdown.channel()) -> _ => return self.connection.close(NODE_STOPS),
            };
            let Ok(message) = message else { return };
            match *message {
                Outgoing::Message { counter, command, payload, then } => {
                    if let Err(reason) = self.write(counter, command, payload) {
                        return self.connection.close(&reason);
                    }
                    self.connection.0.life.sign();
                    self.go_on(then);
                }
                Outgoing::Frame(frame) => {
                    if let Err(reason) = self.write_frame(frame) {
                        return self.connection.close(&reason);
                    }
                    self.connection.0.life.sign();
                }
                Outgoing::Close { reason } => return self.connection.close(&reason),
            }
        }
    }

    /// Switches to a session, if that is the time for it.
    fn go_on(&mut self, then: Then) {
        self.sealer = match then {
            Then::GoOn => return,
            Then::Seal(sealer) => Some(sealer),
            Then::Wait(decision) => select! {
                recv(decision) -> sealer => sealer.ok(),
                // The next turn sees it.
                recv(self.connection.closed()) -> _ => None,
                recv(self.shutdown.channel()) -> _ => None,
            },
        };
    }

    /// Writes in turns of [`TURN`], so that the order to stop is seen while the peer takes nothing. Each 5 MiB have
    /// `frame_timeout`, however small the sips are that the peer takes.
    fn write_buffer(&mut self) -> Result<(), String> {
        for part in self.buffer.chunks(crate::wire::FRAME_LIMIT) {
            let (mut rest, deadline) = (part, Instant::now() + self.frame_timeout);
            while !rest.is_empty() {
                if self.deadline.as_ref().is_some_and(|deadline| !deadline.holds()) {
                    return Err(NO_MASTER.into());
                }
                match self.socket.write(rest) {
                    Ok(0) => return Err("the peer takes no data".into()),
                    Ok(count) => {
                        self.connection.0.traffic.sent.add(count as u64);
                        rest = &rest[count..];
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                        ) => {}
                    Err(error) if has_left(&error) => return Err(PEER_CLOSED.into()),
                    Err(error) => return Err(format!("the peer takes no data: {error}")),
                }
                if self.shutdown.ordered() && !rest.is_empty() {
                    return Err(NODE_STOPS.into());
                }
                if Instant::now() >= deadline && !rest.is_empty() {
                    return Err(format!("the peer took too little data within {:?}", self.frame_timeout));
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, counter: u32, command: CommandField, payload: Holding) -> Result<(), String> {
        let written = if self.sealer.is_some() {
            self.write_sealed(counter, command, &payload.bytes)
        } else {
            self.write_plainly(counter, command, payload)
        };
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
        written
    }

    /// Writes a frame that was sealed by whoever sends it.
    fn write_frame(&mut self, frame: Holding) -> Result<(), String> {
        if self.sealer.is_some() {
            return Err("a frame was sealed before the session began".into());
        }
        let Holding { bytes, share } = frame;
        self.buffer = bytes;
        let written = self.write_buffer();
        self.buffer = Vec::new();
        drop(share);
        written
    }

    /// Writes the frames of a session (`spec/native.md` 2.8).
    fn write_sealed(&mut self, counter: u32, command: CommandField, payload: &[u8]) -> Result<(), String> {
        let mut left = payload;
        loop {
            let (piece, after) = left.split_at(left.len().min(sealed::PAYLOAD));
            let whole = piece.len() == payload.len();
            let field = if whole { command } else { command.fragment(after.is_empty()) };
            let Some(sealer) = &mut self.sealer else { return Ok(()) };
            self.buffer.clear();
            sealed::seal(sealer, counter, field, piece, initial()?, &mut self.buffer)
                .map_err(|error| error.to_string())?;
            self.write_buffer()?;
            if after.is_empty() {
                return Ok(());
            }
            left = after;
        }
    }

    /// Writes header and body with one call, as the reader of stock nodes needs it (`spec/protocol.md` 2.5).
    fn write_plainly(&mut self, counter: u32, command: CommandField, payload: Holding) -> Result<(), String> {
        let Holding { bytes: mut payload, share } = payload;
        self.buffer.clear();
        seal_plainly(&self.connection.0.cipher, counter, command, &payload, &mut self.buffer)?;
        if !matches!(self.connection.0.cipher, Cipher::Plain) {
            payload = Vec::new();
        }
        let written = self.write_buffer();
        if matches!(self.connection.0.cipher, Cipher::Plain) {
            // A local program may be told the key (`get_config`). Between nodes it is never sent.
            payload.zeroize();
            self.buffer.zeroize();
        }
        drop(share);
        written
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
