//! How much one archive for a worker may hold (`spec/protocol.md` 10.6).

use std::time::Duration;

use crate::config::settings::Communication;

/// Adapts to what a worker receives in time: less after a transfer that it cancelled, more after one that went well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArchiveLimit {
    bytes: u64,
}

impl ArchiveLimit {
    /// The limit of a new connection: the greatest.
    pub fn new(rules: &Communication) -> Self {
        Self { bytes: rules.max_zip_size }
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

    /// After a transfer that took `time` and arrived.
    pub fn arrived(&mut self, time: Duration, rules: &Communication) {
        let kept = 1.0 - rules.zip_limit_tolerance;
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
        let mut limit = ArchiveLimit::new(&rules);
        assert_eq!(limit.bytes(), 1 << 30);
        limit.arrived(Duration::from_secs(1), &rules);
        assert_eq!(limit.bytes(), 1 << 30, "never above the greatest");
        limit.cancelled(100 << 20, &rules);
        assert_eq!(limit.bytes(), 80 << 20);
        limit.arrived(Duration::from_secs(97), &rules);
        assert_eq!(limit.bytes(), 80 << 20, "it took too long to dare more");
        limit.arrived(Duration::from_secs(95), &rules);
        assert_eq!(limit.bytes(), 100 << 20);
        limit.cancelled(1, &rules);
        assert_eq!(limit.bytes(), 31_457_280, "never below the least");
    }
}
