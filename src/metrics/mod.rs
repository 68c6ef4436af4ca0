//! What this node counts, and the text form in which it tells it.
//!
//! An event costs a few atomic additions and takes no lock. [`crate::observation`] adds what the modules know of themselves
//! and serves all of it.

mod meter;
mod number;
mod rejection;
mod task;
pub mod text;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub use meter::{Last, Meter};
pub use number::{BOUNDS, Counter, Flag, Histogram};
pub use rejection::Rejection;
pub use task::Task;

use crate::system::clock::Clock;

/// The counters of one node.
pub struct Metrics {
    /// Links to other nodes, all together.
    pub link: Arc<Link>,
    /// Requests to the agent database.
    pub database: Arc<Database>,
    /// When this node began, wall clock.
    pub started: SystemTime,
    clock: Clock,
    begun: Instant,
    tasks: [Meter; Task::ALL.len()],
    rejected: [Counter; Rejection::ALL.len()],
}

/// What passes between this node and others.
#[derive(Default)]
pub struct Link {
    /// Bytes as they came over the network.
    pub received: Counter,
    /// Bytes as they went out.
    pub sent: Counter,
    /// Messages that could not be decrypted: the peer has another key, or none.
    pub auth_failures: Counter,
}

/// What was asked of the agent database.
#[derive(Default)]
pub struct Database {
    /// How long each request took.
    pub seconds: Histogram,
    /// Requests that it did not answer.
    pub failures: Counter,
    /// Raised while it does not answer.
    pub away: Flag,
}

impl Metrics {
    /// Of a node that begins now.
    pub fn new(clock: &Clock) -> Self {
        Self {
            link: Arc::default(),
            database: Arc::default(),
            started: clock.wall(),
            clock: clock.clone(),
            begun: clock.now(),
            tasks: Default::default(),
            rejected: Default::default(),
        }
    }

    /// A run of a task has ended well.
    pub fn done(&self, task: Task, took: Duration) {
        self.tasks[task as usize].done(took, self.uptime(), self.clock.wall());
    }

    /// A run of a task has failed.
    pub fn failed(&self, task: Task) {
        self.tasks[task as usize].failures.add(1);
    }

    /// A connection was rejected.
    pub fn rejected(&self, why: Rejection) {
        self.rejected[why as usize].add(1);
    }

    /// What is known of a task.
    pub fn task(&self, task: Task) -> &Meter {
        &self.tasks[task as usize]
    }

    /// How long ago a task last ended well; none if it never has.
    pub fn age(&self, task: Task) -> Option<Duration> {
        let last = self.tasks[task as usize].last()?;
        Some(self.uptime().saturating_sub(last.at))
    }

    /// How long ago this node began.
    pub fn uptime(&self) -> Duration {
        self.clock.now() - self.begun
    }

    /// Connections that were rejected for this reason.
    pub fn rejections(&self, why: Rejection) -> u64 {
        self.rejected[why as usize].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::clock::FakeClock;

    #[test]
    fn the_age_of_a_task_does_not_depend_on_the_wall_clock() {
        let (clock, hand) = FakeClock::new();
        let metrics = Metrics::new(&clock);
        assert_eq!(metrics.age(Task::IntegrityCheck), None);
        metrics.done(Task::IntegrityCheck, Duration::from_millis(3));
        hand.advance(Duration::from_secs(7));
        assert_eq!(metrics.age(Task::IntegrityCheck), Some(Duration::from_secs(7)));
        assert_eq!(metrics.age(Task::IntegritySync), None);
        metrics.rejected(Rejection::Version);
        assert_eq!(Rejection::ALL.map(|why| metrics.rejections(why)).iter().sum::<u64>(), 1);
    }
}
