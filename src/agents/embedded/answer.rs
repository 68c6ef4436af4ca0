//! What a command answers (`spec/agentdb.md` 3), and why it fails.

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
}

/// Why a command has no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command is unknown, or misses its argument.
    #[error("Invalid DB query syntax, near '{0:.32}'")]
    Syntax(String),
    /// The argument is no JSON.
    #[error("Invalid JSON syntax, near '{0:.32}'")]
    Json(String),
    /// The argument has not the shape of this command.
    #[error("Invalid JSON data, near '{0:.32}'")]
    Shape(String),
    /// SQLite refused it.
    #[error("Cannot execute Global database query; {}", message(.0))]
    Sql(#[from] rusqlite::Error),
    /// A text of the command's own.
    #[error("{0}")]
    Text(String),
}

/// SQLite's own text.
pub(super) fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

/// A JSON array that stops growing when the answer would become too long.
pub(super) struct Sized {
    text: String,
    size: usize,
}

impl Sized {
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
