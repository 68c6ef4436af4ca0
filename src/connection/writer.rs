//! The writer thread: outbox → socket.

use std::{
    io::{ErrorKind, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, select};
use zeroize::Zeroize;

use super::{Connection, NODE_STOPS, Outgoing, PEER_CLOSED, Socket, cipher::Cipher, has_left};
use crate::{
    limits::Holding,
    system::{random, shutdown::Shutdown},
    wire::{CommandField, frame},
};

/// What an idle connection keeps of its buffer.
const KEPT: usize = 8 * 1024;
/// How long one write may wait.
pub const TURN: Duration = Duration::from_millis(500);

pub struct Writer {
    connection: Connection,
    socket: Socket,
    messages: Receiver<Outgoing>,
    large: Receiver<Outgoing>,
    shutdown: Shutdown,
    buffer: Vec<u8>,
    frame_timeout: Duration,
}

impl Writer {
    pub fn new(
        connection: Connection,
        socket: Socket,
        (messages, large): (Receiver<Outgoing>, Receiver<Outgoing>),
        shutdown: Shutdown,
        frame_timeout: Duration,
    ) -> Self {
        Self { connection, socket, messages, large, shutdown, buffer: Vec::new(), frame_timeout }
    }

    pub fn run(mut self) {
        loop {
            let message = select! {
                recv(self.messages) -> message => message,
                recv(self.large) -> message => message,
                recv(self.connection.closed()) -> _ => return,
                recv(self.shutdown.channel()) -> _ => return self.connection.close(NODE_STOPS),
            };
            match message {
                Ok(Outgoing::Message { counter, command, payload }) => {
                    if let Err(reason) = self.write(counter, command, payload) {
                        return self.connection.close(&reason);
                    }
                    self.connection.0.life.sign();
                }
                Ok(Outgoing::Close { reason }) => return self.connection.close(&reason),
                Err(_) => return,
            }
        }
    }

    /// Writes in turns of [`TURN`], so that the order to stop is seen while the peer takes nothing. Each 5 MiB have
    /// `frame_timeout`, however small the sips are that the peer takes.
    fn write_buffer(&mut self) -> Result<(), String> {
        for part in self.buffer.chunks(crate::wire::FRAME_LIMIT) {
            let (mut rest, deadline) = (part, Instant::now() + self.frame_timeout);
            while !rest.is_empty() {
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

    /// Writes header and body with one call, as the reader of stock nodes needs it (`spec/protocol.md` 2.5).
    fn write(&mut self, counter: u32, command: CommandField, payload: Holding) -> Result<(), String> {
        let Holding { bytes: mut payload, share } = payload;
        let length = payload.len();
        self.buffer.clear();
        self.buffer.resize(frame::HEADER, 0);
        match &self.connection.0.cipher {
            Cipher::Plain => self.buffer.extend_from_slice(&payload),
            Cipher::Chosen(chosen) => {
                // Whoever may choose speaks first, and everything said to it is an answer.
                let cipher = chosen.get().ok_or("the peer has chosen no key yet")?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let iv = random::bytes().map_err(|error| format!("the system gives no random bytes: {error}"))?;
                cipher.seal(&payload, now, iv, &mut self.buffer);
                payload = Vec::new();
            }
        }
        frame::complete(&mut self.buffer, counter, command, length);
        let written = self.write_buffer();
        if matches!(self.connection.0.cipher, Cipher::Plain) {
            // A local program may be told the key (`get_config`). Between nodes it is never sent.
            payload.zeroize();
            self.buffer.zeroize();
        }
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
        drop(share);
        written
    }
}
