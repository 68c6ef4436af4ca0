//! Time: a real clock for the daemon and a fake one for tests.
//!
//! Every wait of a task goes through [`Clock::after`], so a test that owns a [`FakeClock`] decides when it ends.

use std::{
    collections::BinaryHeap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

mod local;
mod text;
pub use local::{local_date, local_day, log_time, rfc3339};
pub use text::{from_iso_utc, iso, iso_utc, seconds_with_fraction, utc};

/// A source of monotonic time, wall time and timers; cheap to clone.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<Mutex<FakeState>>>);

impl Clock {
    /// The clock of the machine.
    pub fn real() -> Self {
        Self(None)
    }

    /// Monotonic time, for measuring and for deadlines.
    pub fn now(&self) -> Instant {
        self.0.as_ref().map_or_else(Instant::now, |fake| fake.lock().now)
    }

    /// Monotonic time since some instant in the past that also counts while the machine is suspended, for what others
    /// believe of this node meanwhile. [`Clock::now`] stands still then.
    pub fn awake_or_suspended(&self) -> Duration {
        match &self.0 {
            // Linux has this clock since 2.6.39, so it cannot fail.
            None => clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from),
            Some(fake) => fake.lock().passed,
        }
    }

    /// Wall time, for dates that people and peers read.
    pub fn wall(&self) -> SystemTime {
        self.0.as_ref().map_or_else(SystemTime::now, |fake| fake.lock().wall)
    }

    /// A channel that delivers one message when `delay` has passed.
    pub fn after(&self, delay: Duration) -> Receiver<Instant> {
        match &self.0 {
            None => crossbeam_channel::after(delay),
            Some(fake) => fake.lock().timer(delay),
        }
    }
}

/// The hand that moves a fake [`Clock`].
pub struct FakeClock(Arc<Mutex<FakeState>>);

impl FakeClock {
    /// A clock that stands still until [`FakeClock::advance`] is called, and the hand that moves it.
    pub fn new() -> (Clock, Self) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let state = FakeState { now, wall, passed: Duration::ZERO, timers: BinaryHeap::new() };
        let state = Arc::new(Mutex::new(state));
        (Clock(Some(state.clone())), Self(state))
    }

    /// Moves the time forward and fires the timers that fall due.
    pub fn advance(&self, step: Duration) {
        let mut state = self.0.lock();
        state.now += step;
        state.wall += step;
        state.passed += step;
        let now = state.now;
        while state.timers.peek().is_some_and(|timer| timer.due <= now) {
            // A receiver that was dropped no longer waits; nobody is to be told.
            let _ = state.timers.pop().map(|timer| timer.fire.try_send(now));
        }
    }

    /// How long the timer that is due last has still to wait: by it a test knows that a thread has begun to.
    pub fn longest_wait(&self) -> Duration {
        let state = self.0.lock();
        let last = state.timers.iter().map(|timer| timer.due).max();
        last.map_or(Duration::ZERO, |due| due.saturating_duration_since(state.now))
    }

    /// Sets the wall clock alone, as somebody who finds it wrong.
    pub fn set_wall(&self, wall: SystemTime) {
        self.0.lock().wall = wall;
    }

    /// Lets the machine be suspended for so long: no timer runs meanwhile.
    pub fn suspend(&self, time: Duration) {
        let mut state = self.0.lock();
        state.wall += time;
        state.passed += time;
    }
}

struct FakeState {
    now: Instant,
    wall: SystemTime,
    /// Since the clock was made, suspended or not.
    passed: Duration,
    timers: BinaryHeap<Timer>,
}

impl FakeState {
    fn timer(&mut self, delay: Duration) -> Receiver<Instant> {
        let (fire, wait) = bounded(1);
        if delay.is_zero() {
            let _ = fire.try_send(self.now);
        } else {
            self.timers.push(Timer { due: self.now + delay, fire });
        }
        wait
    }
}

struct Timer {
    due: Instant,
    fire: Sender<Instant>,
}

/// Reversed, because the heap gives its greatest first and the earliest timer is wanted.
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Timer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_clock_counts_while_the_machine_is_suspended() {
        let (clock, hand) = FakeClock::new();
        let (before, timer) = (clock.now(), clock.after(Duration::from_secs(1)));
        hand.suspend(Duration::from_secs(60));
        assert!(timer.try_recv().is_err() && clock.now() == before);
        assert_eq!(clock.awake_or_suspended(), Duration::from_secs(60));
        let real = Clock::real();
        assert!(real.awake_or_suspended() <= real.awake_or_suspended());
    }

    #[test]
    fn a_fake_timer_fires_when_its_time_has_come_and_not_before() {
        let (clock, hand) = FakeClock::new();
        let (late, soon) = (clock.after(Duration::from_secs(9)), clock.after(Duration::from_secs(3)));
        hand.advance(Duration::from_secs(3));
        assert_eq!(hand.longest_wait(), Duration::from_secs(6));
        assert!(soon.try_recv().is_ok());
        assert!(late.try_recv().is_err());
        hand.advance(Duration::from_secs(6));
        assert!(late.try_recv().is_ok());
    }
}
