//! Facts that stay the same.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use log::Level;
use parking_lot::Mutex;

/// How often a fact that stays the same is told again.
const REMINDER: Duration = Duration::from_secs(600);

/// Facts that are remembered, the newest.
const FACTS: usize = 64;

/// Bytes of a fact that are remembered: the texts of peers may be of any length.
const FACT: usize = 1024;

/// What was told lately: the same again is for debugging only, until ten minutes have passed. A peer that is refused
/// every few seconds must not fill the log.
#[derive(Default)]
pub struct Repeats(Mutex<VecDeque<(String, Instant)>>);

impl Repeats {
    /// The level at which a fact is to be told: `level` if it is new or was told long ago. `fact` is what makes it the
    /// same: it leaves out what changes from time to time, such as a port.
    pub fn level(&self, level: Level, fact: &str, now: Instant) -> Level {
        let fact = &fact[..fact.floor_char_boundary(FACT)];
        let mut told = self.0.lock();
        told.retain(|(_, when)| now.saturating_duration_since(*when) < REMINDER);
        if told.iter().any(|(known, _)| known == fact) {
            return Level::Debug;
        }
        if told.len() == FACTS {
            told.pop_front();
        }
        told.push_back((fact.to_owned(), now));
        level
    }

    /// Forgets everything: what happens now is new.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_told_once_and_again_after_a_while() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let level =
            |fact: &str, minutes: u64| repeats.level(Level::Error, fact, now + Duration::from_secs(60 * minutes));
        assert_eq!(level("a", 0), Level::Error);
        assert_eq!(level("a", 1), Level::Debug);
        assert_eq!(level("b", 1), Level::Error);
        assert_eq!(level("a", 9), Level::Debug);
        assert_eq!(level("a", 10), Level::Error);
        for fact in 0..1000 {
            assert_eq!(level(&fact.to_string(), 11), Level::Error);
        }
        assert_eq!(repeats.0.lock().len(), FACTS);
    }
}
