//! Who asks for the execution of a request, and how they get what comes of it.

use std::{fmt, io::Read};

use super::refusal::Refusal;
use crate::{
    connection::{Connection, RequestError, send_string},
    logging::warn,
    redirection::Program,
    wire::{Command, Routed},
};

/// A node, or a peer: that at the other end of a connection. None is this node, for all its programs.
#[derive(Clone)]
pub(super) struct Party(pub(super) Option<Connection>);

impl PartialEq for Party {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.is(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// Who asks.
pub enum Asker {
    /// A local program.
    Program(Program),
    /// Another node, on behalf of a request that has this name there.
    Node {
        /// Its name.
        node: String,
        /// The connection to it.
        connection: Connection,
        /// The name of the request.
        name: String,
    },
}

/// As the stock daemon writes it.
impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(program) => f.write_str(program.connection.peer()),
            Self::Node { node, name, .. } => write!(f, "{node} ({name})"),
        }
    }
}

impl Asker {
    /// The way to whoever gets the answer.
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::Program(program) => &program.connection,
            Self::Node { connection, .. } => connection,
        }
    }

    /// The node and the peer that asked.
    pub(super) fn names(&self) -> (Party, Party) {
        let peer = Party(Some(self.connection().clone()));
        match self {
            Self::Program(_) => (Party(None), peer),
            Self::Node { .. } => (peer.clone(), peer),
        }
    }

    /// Gives them an answer of `length` bytes, and waits until it has been taken.
    pub(super) fn answered(&self, length: usize, answer: impl Read) {
        match self {
            Self::Program(program) => program.api_answered(length, answer),
            Self::Node { connection, name, .. } => {
                let sent = send_string(connection, length, answer)
                    .and_then(|id| connection.request(Command::ApiResult, Routed::payload(name, id.as_bytes())));
                match sent {
                    // The program that asked there has gone.
                    Ok(_) | Err(RequestError::Refused(_)) => (),
                    Err(error) => {
                        warn!("[Cluster] [Main]", "An answer of the API for {} is lost: {error}", connection.peer());
                    }
                }
            }
        }
    }

    /// Tells them why there is none.
    pub(super) fn refused(&self, refusal: &Refusal) {
        let text = match refusal {
            Refusal::Words(words) => words,
            Refusal::Error(error) => &error.to_json(),
        };
        match self {
            Self::Program(program) => program.refused(text),
            // A peer that takes nothing is about to be disconnected.
            Self::Node { connection, name, .. } => {
                _ = connection.tell(Command::ApiFailed, Routed::payload(name, text.as_bytes()));
            }
        }
    }
}
