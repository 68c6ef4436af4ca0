//! Keeps the log from being filled: by a peer that does wrong things quickly, or by a fault that repeats itself.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Lines of one kind that may come at once.
const BURST: u32 = 50;
/// How often another one may come after that.
const PACE: Duration = Duration::from_millis(100);
/// Kinds that are told apart; beyond, they share one allowance.
const KINDS: usize = 256;

/// Counts the warnings and errors of each scope.
#[derive(Default)]
pub struct Flood(HashMap<String, Allowance>);

struct Allowance {
    left: u32,
    refilled: Instant,
    dropped: u64,
}

/// What is to be done with a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it, after telling that so many before it were dropped.
    Write {
        /// Lines of this kind that were not written.
        dropped: u64,
    },
    /// Too many have come.
    Drop,
}

impl Flood {
    /// The verdict on a line of `kind` that comes `now`.
    pub fn judge(&mut self, kind: &str, now: Instant) -> Verdict {
        let kind = if self.0.len() < KINDS || self.0.contains_key(kind) { kind } else { "" };
        let fresh = || Allowance { left: BURST, refilled: now, dropped: 0 };
        let allowance = self.0.entry(kind.to_owned()).or_insert_with(fresh);
        let turns = now.saturating_duration_since(allowance.refilled).as_millis() / PACE.as_millis();
        if turns > 0 {
            allowance.left = BURST.min(allowance.left.saturating_add(u32::try_from(turns).unwrap_or(BURST)));
            allowance.refilled = now;
        }
        if allowance.left == 0 {
            allowance.dropped += 1;
            return Verdict::Drop;
        }
        allowance.left -= 1;
        Verdict::Write { dropped: std::mem::take(&mut allowance.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_thinned_and_what_was_dropped_is_counted() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let written = (0..1000).filter(|_| flood.judge("a", start) != Verdict::Drop).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(flood.judge("b", start), Verdict::Write { dropped: 0 }, "another kind has its own");
        assert_eq!(flood.judge("a", start + PACE), Verdict::Write { dropped: 950 });
        assert_eq!(flood.judge("a", start + PACE), Verdict::Drop);
        assert_eq!(flood.judge("a", start + 3 * PACE), Verdict::Write { dropped: 1 });
        for kind in 0..1000 {
            flood.judge(&kind.to_string(), start);
        }
        assert!(flood.0.len() <= KINDS + 1);
    }
}
