//! The client of etcd, against a gateway that a test scripts and against real members (`spec/failover.md`).
//!
//! Tests with real members need `/usr/bin/etcd` and say that they are skipped where it is missing; those with TLS need
//! `openssl`. Each starts members of its own, at loopback addresses that nobody else has, with data in a directory of its
//! own.

#![allow(clippy::unwrap_used, reason = "all of this program is a test")]

mod answers;
mod authentication;
mod claims;
mod gateway;
mod members;
mod node;
mod quorum;
mod streams;
mod transport;
mod writes;

#[path = "../programs/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the programs use the rest")]
mod support;
