//! The time that a statement of another program may take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// When the statement that runs is to be interrupted, if ever. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct TimeLimit(Arc<Mutex<Option<Instant>>>);

impl TimeLimit {
    /// From now on.
    pub(super) fn set(&self, limit: Duration) {
        *self.0.lock() = Some(Instant::now() + limit);
    }

    /// None any more.
    pub(super) fn clear(&self) {
        *self.0.lock() = None;
    }

    /// Whether it is over.
    pub(super) fn passed(&self) -> bool {
        self.0.lock().is_some_and(|deadline| Instant::now() >= deadline)
    }
}
