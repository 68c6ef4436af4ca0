//! The cluster daemon of ThreatLockDown managers.
//!
//! (The picture of threads and data flow stands here.)

pub mod config;
pub mod connection;
pub mod control;
pub mod crypto;
pub mod files;
pub mod local;
pub mod logging;
pub mod system;
pub mod wire;
