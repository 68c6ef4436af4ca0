//! Candidates and workers as real processes, on real members of etcd (`spec/failover.md` 8).
//!
//! Tests need `/usr/bin/etcd` and say that they are skipped where it is missing. The long forms run with `make failover`,
//! which prints what was measured.

#![allow(clippy::unwrap_used, reason = "all of this program is a test")]

mod address;
mod agents;
mod cluster;
mod cut;
mod kills;
mod lan;
mod overlap;
mod quorum;
mod standstill;
mod surroundings;
mod switch;
mod without;

#[path = "../chaos/frames.rs"]
#[allow(dead_code, reason = "the trials of chaos use the rest")]
mod frames;
#[path = "../arbiter/members.rs"]
#[allow(dead_code, reason = "the tests of the arbiter use the rest")]
mod members;
#[path = "../arbiter/node.rs"]
#[allow(dead_code, reason = "the tests of the arbiter use the rest")]
mod node;
#[path = "../chaos/proxy.rs"]
#[allow(dead_code, reason = "the trials of chaos use the rest")]
mod proxy;
#[path = "../chaos/random.rs"]
#[allow(dead_code, reason = "the trials of chaos use the rest")]
mod random;
#[path = "../programs/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the programs use the rest")]
mod support;
