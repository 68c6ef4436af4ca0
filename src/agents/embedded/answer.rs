//! What a command answers (`spec/agentdb.md` 3), and why it fails.

use super::fault::{blames_the_request, message};
use crate::agents::Error;

/// The longest answer, in bytes; a longer one is cut there, which the framework depends on.
pub(super) const LONGEST: usize = 65_536;

/// The longest JSON of an answer that asks to come back for more.
const SIZED: usize = LONGEST - 512;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Complete; without a payload if that is empty.
    Ok(String),
    /// More remains.
    Due(String),
    /// Refused.
    Err(String),
    /// Several frames: each row as a `due` of its own, then `ok []`.
    Rows(Vec<String>),
    /// The whole text of an answer that has no status word.
    Raw(String),
}

impl Answer {
    /// The frames that carry it, each at most 65 536 bytes.
    pub fn frames(self) -> Vec<Vec<u8>> {
        let text = |status: &str, payload: &str| {
            let mut text =
                if payload.is_empty() { status.to_owned() } else { format!("{status} {payload}") }.into_bytes();
            text.truncate(LONGEST);
            text
        };
        match self {
            Self::Ok(payload) => vec![text("ok", &payload)],
            Self::Due(payload) => vec![text("due", &payload)],
            Self::Err(payload) => vec![text("err", &payload)],
            Self::Raw(text) => vec![text.into_bytes()],
            Self::Rows(rows) => rows.iter().map(|row| text("due", row)).chain([text("ok", "[]")]).collect(),
        }
    }
}

/// Why a command has no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command is unknown, or misses its argument.
    #[error("Invalid DB query syntax, near '{}'", near(.0))]
    Syntax(String),
    /// The argument is no JSON.
    #[error("Invalid JSON syntax, near '{}'", near(.0))]
    Json(String),
    /// The argument has not the shape of this command.
    #[error("Invalid JSON data, near '{}'", near(.0))]
    Shape(String),
    /// SQLite refused it.
    #[error("Cannot execute Global database query; {}", message(.0))]
    Sql(#[from] rusqlite::Error),
    /// A text of the command's own.
    #[error("{0}")]
    Text(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) if !blames_the_request(&error) => Self::Unavailable(message(&error)),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// The first 32 bytes of what is complained of.
pub(super) fn near(text: &str) -> &str {
    &text[..text.floor_char_boundary(32)]
}

/// A JSON array that stops growing when the answer would become too long.
pub(super) struct BoundedArray {
    text: String,
    size: usize,
}

impl BoundedArray {
    /// An empty array whose surroundings take `overhead` bytes; 2 for a bare one.
    pub(super) fn new(overhead: usize) -> Self {
        Self { text: "[".to_owned(), size: overhead }
    }

    /// Adds an element unless there is no room for it; the answer is then `due`.
    #[must_use]
    pub(super) fn push(&mut self, element: &str) -> bool {
        let fits = self.fits(element.len() + 1);
        if fits {
            if self.text.len() > 1 {
                self.text.push(',');
            }
            self.text.push_str(element);
            self.size += element.len() + 1;
        }
        fits
    }

    /// Whether nothing has been added.
    pub(super) fn is_empty(&self) -> bool {
        self.text.len() == 1
    }

    /// Whether `bytes` more would fit.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.size + bytes < SIZED
    }

    /// The array.
    pub(super) fn finish(mut self) -> String {
        self.text.push(']');
        self.text
    }
}
