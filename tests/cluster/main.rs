//! Whole clusters in this process, on loopback sockets and with a clock that the tests move.

#![allow(clippy::unwrap_used, reason = "all of this program is a test")]

mod agents;
mod api;
mod checks;
mod database;
mod deletions;
mod deltas;
mod digest;
mod drift;
mod executor;
mod failover;
mod files;
mod health;
mod keys;
mod known;
mod link;
mod local;
mod observation;
mod push;
mod redirection;
mod refused;
mod session;
mod succession;
mod support;
