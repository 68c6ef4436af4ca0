//! What all duties need, and how they fail.

use std::{io, path::PathBuf};

use crate::agents::{
    Error,
    embedded::{Database, Embedded, answer::Failure},
};

/// Does work on the thread of the database.
pub(super) trait Rows {
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> T + Send + 'static) -> Result<T, Error>;
}

impl Rows for Embedded {
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> T + Send + 'static) -> Result<T, Error> {
        Self::with(self, |database| work(database))
    }
}

/// What could not be done; the next turn tries again.
#[derive(Debug, thiserror::Error)]
pub(super) enum DutyFailure {
    #[error("{0}")]
    Database(#[from] Error),
    #[error("{0}")]
    Rows(String),
    #[error("{path} cannot be read: {error}. Nothing is removed while it is so")]
    File { path: PathBuf, error: io::Error },
}

impl From<Failure> for DutyFailure {
    fn from(failure: Failure) -> Self {
        Self::Rows(failure.to_string())
    }
}
