//! What other modules ask of the agent database, in the commands that every backend understands.
//!
//! What they ask stands by subject: `agent_info`, `assignments`, `listing`, `registered`.

use std::sync::Arc;

use serde::Deserialize;

use super::{Backend, Error, Reply};
use crate::limits::MESSAGE;

/// Parts of one answer, or texts of one message. A database that never comes to an end is not to hold a thread for ever.
pub(super) const PARTS: usize = 100_000;

/// The agent database of this node, as other modules use it. Cheap to clone.
#[derive(Clone)]
pub struct Store(pub(super) Arc<dyn Backend>);

impl Store {
    /// A store on this database.
    pub fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    /// Sends one command and gives the whole answer; for commands that never answer with a part.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn query(&self, request: &str) -> Result<String, Error> {
        match self.0.query(request)? {
            Reply::Ok(text) | Reply::Due(text) => Ok(text),
        }
    }

    /// Sends one command of somebody else, as it stands.
    ///
    /// # Errors
    /// [`Error`].
    pub fn command(&self, request: &str) -> Result<Reply, Error> {
        self.0.command(request)
    }

    /// Sends commands until an answer is complete; `next` makes the one that follows a part.
    pub(super) fn parts(&self, first: &str, next: impl FnMut(&str) -> String) -> Result<Vec<String>, Error> {
        match self.parts_so_far(first, next, MESSAGE) {
            (parts, Ok(true)) => Ok(parts),
            (_, Ok(false)) => Err(Error::Refused(format!("the agent database gives no end of '{first}'"))),
            (_, Err(error)) => Err(error),
        }
    }

    /// The parts that came until they have `longest` bytes, and whether that is all.
    pub(super) fn parts_so_far(
        &self,
        first: &str,
        mut next: impl FnMut(&str) -> String,
        longest: usize,
    ) -> (Vec<String>, Result<bool, Error>) {
        let (mut parts, mut request, mut bytes) = (Vec::new(), first.to_owned(), 0);
        while parts.len() < PARTS && bytes < longest {
            match self.0.query(&request) {
                Ok(Reply::Ok(part)) => {
                    parts.push(part);
                    return (parts, Ok(true));
                }
                Ok(Reply::Due(part)) => {
                    request = next(&part);
                    bytes += part.len();
                    parts.push(part);
                }
                Err(error) => return (parts, Err(error)),
            }
        }
        (parts, Ok(false))
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::Refused(format!("what was to be stored or read is wrong: {error}")))
}
