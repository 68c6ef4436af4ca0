//! What waits to go out, and who writes it.

use crossbeam_channel::{Sender, select};

use super::{
    Connection,
    cipher::Cipher,
    request::no_room,
    session::Then,
    writer::{Came, Writer},
};
use crate::{
    limits::{self, Full, Holding, Share},
    system::thread::guard,
    wire::{Command, CommandField},
};

/// What is in an outbox.
pub(super) enum Outgoing {
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

impl Connection {
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
    pub(super) fn answer(&self, counter: u32, command: Command, payload: impl Into<Vec<u8>>) {
        self.answer_then(counter, command, payload, Then::GoOn);
    }

    pub(super) fn answer_then(&self, counter: u32, command: Command, payload: impl Into<Vec<u8>>, then: Then) {
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
    pub(super) fn holding(
        &self,
        bytes: Vec<u8>,
        take: impl FnOnce(usize) -> Result<Share, Full>,
    ) -> Result<Holding, Full> {
        let length = bytes.len();
        let room = if matches!(self.0.cipher, Cipher::Plain) { 2 * length } else { length + length / 3 };
        let share = if length > limits::UNCOUNTED { Some(take(room)?) } else { None };
        Ok(Holding { bytes, share })
    }

    pub(super) fn send(&self, message: Outgoing) {
        select! {
            // A closed connection needs no answers.
            send(self.way_of(&message), Box::new(message)) -> _ => (),
            recv(self.closed()) -> _ => (),
        }
        self.write();
    }

    /// Has what waits in the outbox written: by this thread, as far as it need not wait for the peer, or by the one that has
    /// the pen. With a closed connection the pen goes, and all that waits.
    pub(super) fn write(&self) {
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
    pub(super) fn way_of(&self, message: &Outgoing) -> &Sender<Box<Outgoing>> {
        match message {
            Outgoing::Message { payload: Holding { bytes, .. }, .. } | Outgoing::Frame(Holding { bytes, .. })
                if bytes.len() > limits::LARGE =>
            {
                &self.0.bulk
            }
            _ => &self.0.outbox,
        }
    }
}
