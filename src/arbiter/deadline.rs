//! Until when this node may act as master.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::system::{
    clock::Clock,
    shutdown::{self, Shutdown, Trigger},
};

/// In the place of a time: it has passed, for good.
const PASSED: u64 = 0;

/// The instant at which this node stops to act as master unless its lease is renewed before. Cheap to clone and to ask:
/// whatever has an effect outside of this node asks immediately before.
///
/// Once anybody was told that it has passed, it stays so: a renewal that comes late does not take it back. It counts the time
/// in which the machine is suspended ([`Clock::awake_or_suspended`]), because the lease does, too.
#[derive(Clone)]
pub struct Deadline(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// Nanoseconds of the clock, or [`PASSED`].
    until: AtomicU64,
    /// Why it has passed; set once.
    ended: OnceLock<Ended>,
    /// Dropped when it is made to pass before its time.
    trigger: Mutex<Option<Trigger>>,
    passed: Shutdown,
}

/// Why this node may not act as master any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The lease was not renewed in time.
    #[error("its lease was not renewed in time; etcd cannot be reached, or this machine stood still")]
    Late,
    /// The arbiter has ended the lease.
    #[error("etcd has ended its lease; it was not renewed in time, or a person has revoked it")]
    LeaseLost,
    /// The key of the master is another one's, or nobody's.
    #[error("the key of the master at etcd is not that of this node any more")]
    Superseded,
    /// This node has given it back.
    #[error("it has given the role back")]
    Released,
}

impl Deadline {
    /// One that passes at `until`, on the clock that also counts while the machine is suspended.
    pub fn new(clock: &Clock, until: Duration) -> Self {
        let (trigger, passed) = shutdown::channel();
        Self(Arc::new(Inner {
            clock: clock.clone(),
            until: AtomicU64::new(nanoseconds(until)),
            ended: OnceLock::new(),
            trigger: Mutex::new(Some(trigger)),
            passed,
        }))
    }

    /// Whether this node may act as master now.
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    /// For how long it may still do so.
    pub fn left(&self) -> Duration {
        loop {
            let until = self.0.until.load(Ordering::Acquire);
            let left = until.saturating_sub(nanoseconds(self.0.clock.awake_or_suspended()));
            if left > 0 {
                return Duration::from_nanos(left);
            }
            // Whoever sees it passed makes it so for all. If it was moved meanwhile, it is looked at again.
            if until == PASSED || self.pass(until) {
                return Duration::ZERO;
            }
        }
    }

    /// Moves it to `until`, if that is later and it has not passed; false if it has.
    pub(super) fn extend(&self, until: Duration) -> bool {
        loop {
            if !self.holds() {
                return false;
            }
            let before = self.0.until.load(Ordering::Acquire);
            let later = before.max(nanoseconds(until));
            if before != PASSED
                && self.0.until.compare_exchange(before, later, Ordering::AcqRel, Ordering::Acquire).is_ok()
            {
                return true;
            }
        }
    }

    /// Lets it pass now. The first reason counts.
    pub fn end(&self, why: Ended) {
        // Before the time is set, so that whoever sees it passed finds the reason.
        let _ = self.0.ended.set(why);
        self.0.until.store(PASSED, Ordering::Release);
        drop(self.0.trigger.lock().take());
    }

    /// Why it has passed; none while it holds.
    pub fn ended(&self) -> Option<Ended> {
        if self.holds() { None } else { self.0.ended.get().copied().or(Some(Ended::Late)) }
    }

    /// Is given when it is made to pass before its time.
    pub(super) fn passed(&self) -> &Shutdown {
        &self.0.passed
    }

    fn pass(&self, until: u64) -> bool {
        self.0.until.compare_exchange(until, PASSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Enough for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::clock::FakeClock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_that_was_seen_passed_is_not_taken_back() {
        let (clock, hand) = FakeClock::new();
        let deadline = Deadline::new(&clock, 8 * SECOND);
        hand.advance(7 * SECOND);
        assert!(deadline.holds() && deadline.extend(10 * SECOND) && deadline.extend(9 * SECOND));
        assert_eq!(deadline.left(), 3 * SECOND, "an earlier one does not count");
        hand.advance(3 * SECOND);
        assert!(!deadline.holds());
        assert!(!deadline.extend(100 * SECOND) && !deadline.holds());
        assert_eq!(deadline.ended(), Some(Ended::Late));
    }

    #[test]
    fn time_in_which_the_machine_is_suspended_counts() {
        let (clock, hand) = FakeClock::new();
        let deadline = Deadline::new(&clock, 8 * SECOND);
        hand.suspend(8 * SECOND);
        assert!(!deadline.extend(16 * SECOND) && !deadline.holds());
    }

    #[test]
    fn the_first_reason_counts() {
        let (clock, _hand) = FakeClock::new();
        let deadline = Deadline::new(&clock, SECOND);
        assert_eq!(deadline.ended(), None);
        deadline.end(Ended::LeaseLost);
        deadline.end(Ended::Released);
        assert_eq!((deadline.holds(), deadline.ended()), (false, Some(Ended::LeaseLost)));
    }

    /// Threads extend, end and look at the same time: nobody sees it hold after anybody has seen it passed.
    #[test]
    fn no_thread_sees_it_hold_after_another_has_seen_it_passed() {
        for round in 0..200 {
            let (clock, hand) = FakeClock::new();
            let deadline = Deadline::new(&clock, SECOND);
            let seen = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| hand.advance(SECOND));
                for _ in 0..2 {
                    scope.spawn(|| {
                        let before = seen.load(Ordering::SeqCst);
                        let holds = deadline.holds();
                        assert!(!(before && holds), "round {round}");
                        seen.fetch_or(!holds, Ordering::SeqCst);
                    });
                }
                scope.spawn(|| deadline.extend(2 * SECOND));
            });
        }
    }
}
