//! Models of the places where threads meet: the files of the daemon themselves, with channels and locks whose every step
//! shuttle schedules. See `README.md`; `models [SCHEDULES]` runs them all.

#![allow(dead_code, reason = "the files have more than the models use")]

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

#[path = "../../../src/limits/budget.rs"]
mod budget;
#[path = "../../../src/system/handover.rs"]
mod handover;
#[path = "../../../src/connection/pen.rs"]
mod pen;
#[path = "../../../src/connection/pending.rs"]
mod pending;
#[path = "../../../src/tasks/integrity/master/running.rs"]
mod running;
#[path = "../../../src/system/shutdown.rs"]
mod shutdown;
#[path = "../../../src/system/wakeup.rs"]
mod wakeup;
#[path = "../../../src/agents/embedded/work.rs"]
mod work;

mod models;

/// What those files use of others.
mod system {
    pub(crate) use crate::{handover, shutdown};

    pub mod random {
        /// The counters of requests begin just before they start again.
        pub fn number() -> u32 {
            u32::MAX - 1
        }
    }
}

mod clock {
    use std::time::{Duration, Instant};

    use crossbeam_channel::Receiver;

    /// One that is as slow or as fast as it likes.
    pub struct Clock;

    impl Clock {
        pub fn now(&self) -> Instant {
            Instant::now()
        }

        pub fn after(&self, delay: Duration) -> Receiver<Instant> {
            crossbeam_channel::after(delay)
        }
    }
}

mod wire {
    #[derive(Debug, PartialEq)]
    pub struct Message {
        pub counter: u32,
        pub text: &'static str,
    }
}

mod agents {
    #[derive(Debug, PartialEq, thiserror::Error)]
    pub enum Error {
        #[error("{0}")]
        Unavailable(String),
    }
}

fn run(scheduler: impl Scheduler + 'static, model: fn()) {
    let mut config = Config::new();
    // The one of them is on statics that end with a run, which is what is wanted.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(model);
}

/// Schedules of each model and each kind.
const SCHEDULES: usize = 1000;

fn main() {
    let count = std::env::args().nth(1).map_or(SCHEDULES, |count| count.parse().expect("a number of schedules"));
    for (name, model) in models::ALL {
        let begun = std::time::Instant::now();
        // Any order of the threads; then orders with few preemptions, which find rare ones sooner.
        run(RandomScheduler::new(count), model);
        for depth in 1..=3 {
            run(PctScheduler::new(depth, count.div_ceil(3)), model);
        }
        println!("{name}: {:.1} s", begun.elapsed().as_secs_f64());
    }
}
