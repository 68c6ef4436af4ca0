//! The way to answer one request of the peer.

use super::Connection;
use crate::wire::{Command, CommandField, ErrorObject, NotTaken};

/// Answers one request, once. A request whose reply is dropped is refused, so that no peer waits in vain.
#[must_use = "a request whose reply is dropped is refused"]
pub struct Reply {
    pub(super) connection: Connection,
    pub(super) counter: u32,
    command: CommandField,
    pub(super) due: bool,
}

impl Reply {
    /// For the request with this counter and this command.
    pub(super) fn new(connection: &Connection, counter: u32, command: CommandField) -> Self {
        Self { connection: connection.clone(), counter, command, due: true }
    }

    /// The connection that the request came by.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The request was done; `payload` is what came of it.
    pub fn ok(self, payload: impl Into<Vec<u8>>) {
        self.answer(Command::Ok, payload);
    }

    /// Answers by a name of its own.
    pub fn answer(mut self, command: Command, payload: impl Into<Vec<u8>>) {
        self.due = false;
        self.connection.answer(self.counter, command, payload);
    }

    /// The request was not done, for this reason.
    pub fn refuse(self, error: &ErrorObject) {
        self.answer(Command::Err, error.to_json());
    }

    /// The request was not done, for a reason that has no number of its own (error 1000).
    pub fn fail(self, reason: impl ToString) {
        self.refuse(&ErrorObject::unexpected(reason.to_string()));
    }

    /// Sends what the request came to.
    pub fn result(self, result: Result<impl Into<Vec<u8>>, ErrorObject>) {
        match result {
            Ok(payload) => self.ok(payload),
            Err(error) => self.refuse(&error),
        }
    }

    /// The request was not taken. An unknown command is told in the words of other nodes (`spec/protocol.md` 4.4).
    pub fn not_taken(self, why: NotTaken) {
        match why {
            NotTaken::Unknown => self.unknown(),
            NotTaken::SayHelloFirst | NotTaken::Malformed(_) => self.fail(why),
        }
    }

    /// The command is none that this end takes.
    pub fn unknown(self) {
        let text = format!("unknown command 'b'{}''", self.command);
        self.answer(Command::Err, text);
    }

    /// Answers nothing: what comes of the request is sent as a message of its own, as the command has it.
    pub fn leave(mut self) {
        self.due = false;
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if std::mem::take(&mut self.due) {
            let error = ErrorObject::unexpected("the request was given up");
            self.connection.answer(self.counter, Command::Err, error.to_json());
        }
    }
}
