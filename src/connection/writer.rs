//! The writer thread: outbox → socket.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, select};

use super::{Connection, NODE_STOPS, Outgoing, Socket};
use crate::{
    crypto::Fernet,
    system::{random, shutdown::Shutdown},
    wire::{CommandField, frame},
};

/// What an idle connection keeps of its buffer.
const KEPT: usize = 8 * 1024;

pub struct Writer {
    connection: Connection,
    socket: Socket,
    cipher: Option<Fernet>,
    messages: Receiver<Outgoing>,
    shutdown: Shutdown,
    buffer: Vec<u8>,
}

impl Writer {
    pub fn new(
        connection: Connection,
        socket: Socket,
        cipher: Option<Fernet>,
        messages: Receiver<Outgoing>,
        shutdown: Shutdown,
    ) -> Self {
        Self { connection, socket, cipher, messages, shutdown, buffer: Vec::new() }
    }

    pub fn run(mut self) {
        loop {
            let message = select! {
                recv(self.messages) -> message => message,
                recv(self.connection.closed()) -> _ => return,
                recv(self.shutdown.channel()) -> _ => return self.connection.close(NODE_STOPS),
            };
            match message {
                Ok(Outgoing::Message { counter, command, payload }) => {
                    if let Err(reason) = self.write(counter, command, &payload) {
                        return self.connection.close(&reason);
                    }
                }
                Ok(Outgoing::Close { reason }) => return self.connection.close(&reason),
                Err(_) => return,
            }
        }
    }

    /// Writes header and body with one call, as the reader of original nodes needs it (`spec/protocol.md` 2.5).
    fn write(&mut self, counter: u32, command: CommandField, payload: &[u8]) -> Result<(), String> {
        self.buffer.clear();
        self.buffer.resize(frame::HEADER, 0);
        match &self.cipher {
            None => self.buffer.extend_from_slice(payload),
            Some(cipher) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let iv = random::bytes().map_err(|error| format!("the system gives no random bytes: {error}"))?;
                cipher.seal(payload, now, iv, &mut self.buffer);
            }
        }
        frame::complete(&mut self.buffer, counter, command, payload.len());
        self.socket.write_all(&self.buffer).map_err(|error| format!("the peer takes no data: {error}"))?;
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}
