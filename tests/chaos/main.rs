//! A cluster of real processes on a bad day: seeded disturbances, a recorder that reads all the time, and a judgement of
//! what is left when they end. `tests/chaos/README.md` says how to run it, what ran for how long, and what it found.
//!
//! A *trial* is one cluster in fresh directories. Its seed decides everything that the harness does and when; what the
//! machine does meanwhile it cannot decide, so a seed that failed is likely, not certain, to fail again.

#![allow(clippy::unwrap_used, reason = "all of this program is a test")]

mod agents;
mod cluster;
mod content;
mod evidence;
mod files;
mod flood;
mod frames;
mod history;
mod judgement;
mod keepalives;
mod proxy;
mod random;
mod recorder;
mod replay;
mod schedule;
mod slope;
mod soak;
mod trial;

#[path = "../benches/machine.rs"]
#[allow(dead_code, reason = "benchmarks use the rest")]
mod machine;
#[path = "../benches/process.rs"]
#[allow(dead_code, reason = "benchmarks use the rest")]
mod process;
#[path = "../programs/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the programs use the rest")]
mod support;

use replay::trials;
use schedule::Plan;

#[test]
fn kills_lose_nothing_and_bring_nothing_back() {
    trials("", |seed| trial::run(Plan::kills(seed)));
}

#[test]
fn network_that_fails_delays_and_does_no_more() {
    trials("NET=1 ", |seed| trial::run(Plan::network(seed)));
}

#[test]
#[ignore = "`make soak` runs it, for minutes"]
fn soak_uses_no_more_from_minute_to_minute() {
    soak::run();
}
