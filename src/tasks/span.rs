//! When a task ran last, for `get_health` (`spec/protocol.md` 13.6).

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
