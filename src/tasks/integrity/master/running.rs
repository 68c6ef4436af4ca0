//! The check of a worker that is running: one at a time, and none for longer than it may.

use std::time::{Duration, Instant};

/// The check that is running, if there is one, and what it has in hand.
pub(super) struct Running<T>(Option<Check<T>>);

struct Check<T> {
    task: String,
    since: Instant,
    hand: T,
}

/// The lock that keeps the checks of one worker apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Free,
    Held,
    /// It was held for too long, and is free now.
    Broken,
}

impl<T> Default for Running<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Running<T> {
    /// Whether a check may begin. One that has been running for more than `limit` is given up.
    pub(super) fn lock(&mut self, now: Instant, limit: Duration) -> Lock {
        match &self.0 {
            None => Lock::Free,
            Some(check) if now.saturating_duration_since(check.since) <= limit => Lock::Held,
            Some(_) => {
                self.0 = None;
                Lock::Broken
            }
        }
    }

    /// Begins a check of this id with what it has in hand; the lock is free.
    pub(super) fn begin(&mut self, task: &str, since: Instant, hand: T) {
        self.0 = Some(Check { task: task.to_owned(), since, hand });
    }

    /// Ends the check of this id, if it was not given up: another may be running then.
    pub(super) fn end(&mut self, task: &str) {
        if self.of(task).is_some() {
            self.0 = None;
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.0.is_none()
    }

    /// The id of the check.
    pub(super) fn task(&self) -> Option<&str> {
        self.0.as_ref().map(|check| &*check.task)
    }

    /// What the check has in hand.
    pub(super) fn hand(&self) -> Option<&T> {
        self.0.as_ref().map(|check| &check.hand)
    }

    /// The same, if it is the check of this id.
    pub(super) fn of(&self, task: &str) -> Option<&T> {
        self.0.as_ref().filter(|check| check.task == task).map(|check| &check.hand)
    }

    /// The same, to change it.
    pub(super) fn of_mut(&mut self, task: &str) -> Option<&mut T> {
        self.0.as_mut().filter(|check| check.task == task).map(|check| &mut check.hand)
    }
}
