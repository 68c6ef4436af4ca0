//! What a local program is told of its request.

use std::io::Read;

use serde_json::json;

use crate::{
    connection::{Connection, send_string},
    logging::debug,
    wire::{Command, ErrorObject},
};

/// How a request was made, and so how it is answered (`spec/protocol.md` 13.1, 13.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// `sendsync`, of a program in C: it takes the first frame for the answer and repeats the request up to ten times
    /// when that is `err`.
    Sync,
    /// `sendasync`.
    Async,
    /// `dapi` and `dapi_fwd`.
    Api,
}

impl RequestKind {
    /// Whether a program of the master's manager answers it.
    pub fn is_send(self) -> bool {
        matches!(self, Self::Sync | Self::Async)
    }

    /// Whether the API answers it.
    pub fn is_api(self) -> bool {
        self == Self::Api
    }
}

/// A local program that waits.
#[derive(Clone)]
pub struct Program {
    /// Its connection.
    pub connection: Connection,
    /// How it asked.
    pub kind: RequestKind,
}

impl Program {
    /// The answer to `sendsync` or `sendasync`.
    pub fn answered(&self, answer: Vec<u8>) {
        self.tell(Command::Ok, answer);
    }

    /// The answer of the API: `length` bytes of `answer`. Waits until the program has taken it.
    pub fn api_answered(&self, length: usize, answer: impl Read) {
        let sent = send_string(&self.connection, length, answer)
            .and_then(|id| self.connection.request(Command::ApiResult, id));
        if let Err(error) = sent {
            debug!("[Cluster] [Main]", "{} did not take its answer: {error}", self.connection.peer());
        }
    }

    /// Nothing was done, in the words of whoever was to do it.
    pub fn refused(&self, words: &str) {
        self.tell(if self.kind.is_api() { Command::ApiFailed } else { Command::Err }, words);
    }

    /// Nothing was done, for a reason that this node has. The framework, which asks for the API, reads JSON only, and makes
    /// an exception of the object; other programs show the text.
    pub fn failed(&self, error: &ErrorObject) {
        self.refused(&if self.kind.is_api() { error.to_json() } else { error.to_string() });
    }

    /// What was asked may have been done, or may still be done. A program in C must not ask again, so it gets an answer
    /// that tells of a failure, in the form of the registrar, whose answers it knows (`spec/registration.md` 2).
    pub fn unknown(&self, reason: &str) {
        match self.kind {
            RequestKind::Sync => self.answered(failure(reason)),
            RequestKind::Async => self.refused(reason),
            RequestKind::Api => self.failed(&ErrorObject::cluster(3018, reason)),
        }
    }

    /// A program that takes nothing is not waited for.
    fn tell(&self, command: Command, payload: impl Into<Vec<u8>>) {
        if !self.connection.tell(command, payload) {
            self.connection.close("it does not take its answers");
        }
    }
}

/// An answer that says that the registrar, or whoever was asked, failed in the middle of the work.
pub fn failure(reason: &str) -> Vec<u8> {
    json!({"error": 9001, "message": format!("Internal error: {reason}")}).to_string().into_bytes()
}
