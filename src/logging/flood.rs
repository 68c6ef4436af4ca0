//! Keeps the log from filling the disk: by a peer that does something quickly, or by a fault that repeats itself.
//!
//! What counts is bytes. Each kind of line, a level of a scope, has an allowance of its own, so that no flood hides
//! another kind; and there is one for all kinds, because whoever has the key can make many by inventing names. What was
//! left out is told before the next line of its kind or, if there is none, when the kind has been quiet for a moment.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use log::Level;

/// What lines of one kind may take at once, in bytes: some 600 lines.
const BURST: u64 = 64 * 1024;
/// What they may take after that, in bytes per second: some ten lines. 88 MB a day.
const PACE: u64 = 1024;

/// What all lines may take at once, in bytes: more than the thousand workers that a master can have write at its start.
const ALL_BURST: u64 = 4 * 1024 * 1024;
/// What they may take after that, in bytes per second. A thousand workers need 40 000 at the level INFO. 5.7 GB a day.
const ALL_PACE: u64 = 64 * 1024;

/// What the note that lines were dropped takes.
const NOTE: u64 = 256;

/// Kinds that are told apart; beyond, they share one allowance.
const KINDS: usize = 1024;

/// How long a kind must have been quiet for what was left out of it to be told.
pub const QUIET: Duration = Duration::from_secs(2);

/// What was written lately.
pub struct Flood {
    /// By level and scope; the scope of those that share one is empty.
    kinds: HashMap<(Level, String), Kind>,
    all: Allowance,
}

struct Kind {
    allowance: Allowance,
    /// Lines that were dropped and not told yet, and when the last of them came.
    dropped: u64,
    last: Instant,
}

/// What was dropped of one kind.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The level of these lines.
    pub level: Level,
    /// Who spoke; empty for kinds that share one allowance.
    pub scope: String,
    /// How many there were.
    pub lines: u64,
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
    Drop {
        /// It is the first of its kind that is dropped since that was told.
        first: bool,
    },
}

impl Flood {
    /// Nothing was written yet.
    pub fn new(now: Instant) -> Self {
        Self { kinds: HashMap::new(), all: Allowance::full(ALL_BURST, ALL_PACE, now) }
    }

    /// The verdict on a line of `level` and `scope` that has so many bytes and comes `now`.
    pub fn judge(&mut self, level: Level, scope: &str, bytes: usize, now: Instant) -> Verdict {
        let mut name = (level, scope.to_owned());
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&name) {
            // Who was quiet for a while needs no entry: a new one would be the same.
            self.kinds.retain(|_, kind| kind.dropped > 0 || !kind.allowance.is_full(now));
            if self.kinds.len() >= KINDS {
                name = (Level::Warn, String::new());
            }
        }
        let fresh = || Kind { allowance: Allowance::full(BURST, PACE, now), dropped: 0, last: now };
        let kind = self.kinds.entry(name).or_insert_with(fresh);
        let bytes = bytes as u64 + if kind.dropped > 0 { NOTE } else { 0 };
        if !kind.allowance.has(bytes, now) || !self.all.has(bytes, now) {
            (kind.dropped, kind.last) = (kind.dropped + 1, now);
            return Verdict::Drop { first: kind.dropped == 1 };
        }
        kind.allowance.left -= bytes;
        self.all.left -= bytes;
        Verdict::Write { dropped: std::mem::take(&mut kind.dropped) }
    }
}

impl Flood {
    /// What is to be told now, and whether more is to be told later: of the kinds that have been quiet for [`QUIET`], or
    /// of all, at the `end`.
    pub fn left_out(&mut self, now: Instant, end: bool) -> (Vec<LeftOut>, bool) {
        let (mut told, mut more) = (Vec::new(), false);
        for ((level, scope), kind) in self.kinds.iter_mut().filter(|(_, kind)| kind.dropped > 0) {
            let quiet = now.saturating_duration_since(kind.last) >= QUIET && self.all.has(NOTE, now);
            if !quiet && !end {
                more = true;
                continue;
            }
            self.all.left = self.all.left.saturating_sub(NOTE);
            told.push(LeftOut { level: *level, scope: scope.clone(), lines: std::mem::take(&mut kind.dropped) });
        }
        (told, more)
    }
}

/// Bytes that may be written, which come back with time. Once used up, a second must pass: lines that come all the time
/// are then told by the dozen and not one by one, each with the note that others were dropped.
struct Allowance {
    left: u64,
    most: u64,
    pace: u64,
    refilled: Instant,
    used_up: bool,
}

impl Allowance {
    fn full(most: u64, pace: u64, now: Instant) -> Self {
        Self { left: most, most, pace, refilled: now, used_up: false }
    }

    fn has(&mut self, bytes: u64, now: Instant) -> bool {
        let earned = self.earned(now);
        if earned > 0 {
            self.left = self.most.min(self.left.saturating_add(earned));
            self.refilled = now;
        }
        self.used_up = self.left < if self.used_up { bytes.max(self.pace) } else { bytes };
        !self.used_up
    }

    fn is_full(&self, now: Instant) -> bool {
        self.left.saturating_add(self.earned(now)) >= self.most
    }

    /// What has come back since it was refilled.
    fn earned(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.refilled).min(Duration::from_secs(86_400));
        self.pace * passed.as_millis() as u64 / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 100;

    fn written(flood: &mut Flood, level: Level, scope: &str, lines: usize, now: Instant) -> usize {
        (0..lines)
            .map(|_| flood.judge(level, scope, LINE, now))
            .filter(|verdict| matches!(*verdict, Verdict::Write { .. }))
            .count()
    }

    #[test]
    fn a_flood_is_thinned_at_every_level_and_what_was_dropped_is_counted() {
        for level in Level::iter() {
            let start = Instant::now();
            let mut flood = Flood::new(start);
            let burst = BURST as usize / LINE;
            assert_eq!(written(&mut flood, level, "a", 1000, start), burst);
            assert_eq!(flood.judge(level, "b", LINE, start), Verdict::Write { dropped: 0 }, "another scope");
            let other = if level == Level::Error { Level::Info } else { Level::Error };
            assert_eq!(flood.judge(other, "a", LINE, start), Verdict::Write { dropped: 0 }, "another level");
            let later = start + Duration::from_secs(1);
            assert_eq!(flood.judge(level, "a", LINE, later), Verdict::Write { dropped: 1000 - burst as u64 });
            // What a second brings, less the line and the note that were written already.
            let left = PACE as usize + BURST as usize % LINE - NOTE as usize - LINE;
            assert_eq!(written(&mut flood, level, "a", 1000, later), left / LINE);
            let soon = later + Duration::from_millis(900);
            assert_eq!(written(&mut flood, level, "a", 1000, soon), 0, "once used up, a second must pass");
        }
    }

    #[test]
    fn all_together_take_no_more_than_is_allowed() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        let mut bytes = 0;
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            bytes += LINE * written(&mut flood, Level::Info, &format!("[Worker w{}]", millisecond % 2000), 20, now);
        }
        let bound = ALL_BURST + 10 * ALL_PACE;
        assert!(bytes as u64 <= bound && bytes as u64 > bound - 2 * ALL_PACE, "{bytes} of {bound}");
        assert!(flood.kinds.len() <= KINDS + 1);
    }

    #[test]
    fn kinds_that_are_quiet_make_room_for_new_ones() {
        let mut now = Instant::now();
        let mut flood = Flood::new(now);
        for n in 0..10 * KINDS {
            now += Duration::from_millis(100);
            assert_eq!(written(&mut flood, Level::Debug, &n.to_string(), 1, now), 1);
        }
        assert!(flood.kinds.len() <= KINDS && !flood.kinds.contains_key(&(Level::Warn, String::new())));
    }

    /// Case 4.10: also if no line of the kind comes any more.
    #[test]
    fn what_was_dropped_is_told_after_a_quiet_moment_and_at_the_end() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        let one = |scope: &str, lines| LeftOut { level: Level::Warn, scope: scope.to_owned(), lines };
        let dropped = 2000 - written(&mut flood, Level::Warn, "a", 2000, start) as u64;
        assert_eq!(flood.judge(Level::Warn, "a", LINE, start), Verdict::Drop { first: false });
        assert_eq!(flood.left_out(start + QUIET / 2, false), (vec![], true));
        assert_eq!(flood.left_out(start + QUIET, false), (vec![one("a", dropped + 1)], false));
        assert_eq!(flood.left_out(start + QUIET, true), (vec![], false));
        let later = start + QUIET;
        let dropped = 1000 - written(&mut flood, Level::Warn, "b", 1000, later) as u64;
        assert_eq!(flood.left_out(later, true), (vec![one("b", dropped)], false));
        // A kind of which something is to be told is not forgotten for others.
        written(&mut flood, Level::Warn, "c", 1000, later);
        for n in 0..2 * KINDS {
            written(&mut flood, Level::Info, &n.to_string(), 1, later + Duration::from_secs(n as u64));
        }
        let (told, _) = flood.left_out(later + Duration::from_secs(10_000), false);
        assert_eq!(told.iter().map(|one| &*one.scope).collect::<Vec<_>>(), ["c"]);
    }
}
