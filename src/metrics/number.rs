//! Numbers that many threads change and none waits for.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds this much.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How much by now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Something that is so, or is not.
#[derive(Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// It is so, or not, from now on.
    pub fn set(&self, raised: bool) {
        self.0.store(raised, Relaxed);
    }

    /// Whether it is so.
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of the parts of a [`Histogram`], in seconds: from a database on this machine to a large transfer.
pub const BOUNDS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0];

/// Durations, by how long they were.
#[derive(Default)]
pub struct Histogram {
    /// Those up to each bound and above the one before; the last has no bound.
    parts: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let part = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.parts[part].fetch_add(1, Relaxed);
        self.microseconds.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many were at most as long as each of [`BOUNDS`], and how many there were in all.
    pub fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        self.parts.each_ref().map(|part| {
            sum += part.load(Relaxed);
            sum
        })
    }

    /// Seconds of all of them.
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.microseconds.load(Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_up_to_its_bound() {
        let histogram = Histogram::default();
        for milliseconds in [1, 2, 60_000, 300_001] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        assert_eq!(histogram.cumulative(), [1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4]);
        assert!((histogram.seconds() - 360.004).abs() < 1e-9);
    }
}
