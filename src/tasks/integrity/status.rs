//! When the last check and the last synchronisation of a worker were, for `get_health` (`spec/protocol.md` 13.6).

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::system::clock::iso_utc;

/// When something began and ended last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Wall clock of the master.
    pub start: Option<SystemTime>,
    /// Wall clock of the master.
    pub end: Option<SystemTime>,
}

impl Span {
    /// The members of a health object, `n/a` for what has never been.
    pub fn to_json(self) -> Value {
        json!({"date_start_master": date(self.start), "date_end_master": date(self.end)})
    }
}

/// The text of a date; `n/a` for what has never been.
pub fn date(moment: Option<SystemTime>) -> String {
    moment.map_or_else(|| "n/a".to_owned(), iso_utc)
}

/// How many files a synchronisation was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To create in the worker.
    pub missing: usize,
    /// To update in the worker.
    pub shared: usize,
    /// To delete in the worker.
    pub extra: usize,
}

/// What the master tells of a worker's integrity.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// Whether no check or synchronisation of this worker is running.
    pub free: bool,
    /// The last check.
    pub check: Span,
    /// The last synchronisation.
    pub sync: Span,
    /// What it was about; none before the first.
    pub files: Option<Counts>,
}
