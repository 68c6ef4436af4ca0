//! How much one archive for a worker may hold (`spec/protocol.md` 10.6).

use std::time::{Duration, Instant};

use crate::config::settings::Communication;

/// How long what a worker had no room for is not exceeded.
const ROOM: Duration = Duration::from_secs(600);

/// The least after a transfer that it had no room for, in bytes: the keys of some hundred agents.
const LEAST: u64 = 64 * 1024;

/// Adapts to what a worker receives in time and has room for: less after a transfer that it cancelled or refused, more
/// after one that went well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArchiveLimit {
    bytes: u64,
    /// When it may grow again.
    grows: Option<Instant>,
}

impl ArchiveLimit {
    /// The limit of a new connection: the greatest.
    pub fn new(rules: &Communication) -> Self {
        Self { bytes: rules.max_zip_size, grows: None }
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// After a transfer that the worker cancelled when `sent` bytes had gone out.
    pub fn cancelled(&mut self, sent: u64, rules: &Communication) {
        let kept = 1.0 - rules.zip_limit_tolerance;
        self.bytes = rules.min_zip_size.max((sent as f64 * kept) as u64).min(rules.max_zip_size);
    }

    /// After a transfer that the worker refused when `sent` bytes had gone out: its disk is full, it has to be assumed.
    /// What it receives stands beside what it replaces, so half of it has a chance.
    pub fn refused(&mut self, sent: u64, now: Instant, rules: &Communication) {
        self.bytes = (sent / 2).max(LEAST).min(rules.max_zip_size);
        self.grows = Some(now + ROOM);
    }

    /// After a transfer that took `time` and arrived.
    pub fn arrived(&mut self, time: Duration, now: Instant, rules: &Communication) {
        let kept = 1.0 - rules.zip_limit_tolerance;
        if self.grows.is_some_and(|grows| now < grows) {
            return;
        }
        if self.bytes < rules.max_zip_size && time < rules.timeout_receiving_file.mul_f64(kept) {
            self.bytes = rules.max_zip_size.min((self.bytes as f64 / kept) as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shrinks_after_a_cancelled_transfer_and_grows_after_a_quick_one() {
        let rules = crate::config::Settings::default().communication;
        let (mut limit, now) = (ArchiveLimit::new(&rules), Instant::now());
        assert_eq!(limit.bytes(), 1 << 30);
        limit.arrived(Duration::from_secs(1), now, &rules);
        assert_eq!(limit.bytes(), 1 << 30, "never above the greatest");
        limit.cancelled(100 << 20, &rules);
        assert_eq!(limit.bytes(), 80 << 20);
        limit.arrived(Duration::from_secs(97), now, &rules);
        assert_eq!(limit.bytes(), 80 << 20, "it took too long to dare more");
        limit.arrived(Duration::from_secs(95), now, &rules);
        assert_eq!(limit.bytes(), 100 << 20);
        limit.cancelled(1, &rules);
        assert_eq!(limit.bytes(), 31_457_280, "never below the least");
        limit.refused(38 << 20, now, &rules);
        limit.arrived(Duration::from_secs(1), now, &rules);
        assert_eq!(limit.bytes(), 19 << 20, "there was no room for twice as much a moment ago");
        limit.arrived(Duration::from_secs(1), now + ROOM, &rules);
        assert!(limit.bytes() > 19 << 20);
        limit.refused(0, now, &rules);
        assert_eq!(limit.bytes(), LEAST);
    }
}
