//! One task: how often, how long, when.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Counter, Histogram};

/// What is known of the runs of one task.
#[derive(Default)]
pub struct Meter {
    /// Runs that ended well, by how long they took.
    pub seconds: Histogram,
    /// Runs that failed.
    pub failures: Counter,
    /// Microseconds from the beginning of the node to the end of the last good run, and one more; 0 for never.
    at: AtomicU64,
    /// Microseconds since 1970, at the same moment.
    wall: AtomicU64,
    /// Microseconds that it took.
    took: AtomicU64,
}

/// The last run that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its end, since the node began.
    pub at: Duration,
    /// Its end, wall clock.
    pub wall: SystemTime,
    /// How long it took.
    pub took: Duration,
}

impl Meter {
    pub(super) fn done(&self, took: Duration, at: Duration, wall: SystemTime) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.seconds.observe(took);
        self.took.store(micros(took), Relaxed);
        self.wall.store(micros(wall.duration_since(UNIX_EPOCH).unwrap_or_default()), Relaxed);
        self.at.store(micros(at).saturating_add(1), Relaxed);
    }

    /// The last run; two that end at the same moment may mix.
    pub fn last(&self) -> Option<Last> {
        let time = |micros: &AtomicU64| Duration::from_micros(micros.load(Relaxed));
        let at = time(&self.at).checked_sub(Duration::from_micros(1))?;
        Some(Last { at, wall: UNIX_EPOCH + time(&self.wall), took: time(&self.took) })
    }
}
