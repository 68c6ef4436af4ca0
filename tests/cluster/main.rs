//! Whole clusters in this process, on loopback sockets and with a clock that the tests move.

mod agents;
mod database;
mod files;
mod health;
mod link;
mod local;
mod support;
