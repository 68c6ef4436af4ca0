//! The cluster daemon of ThreatLockDown managers.

pub mod config;
pub mod connection;
pub mod control;
pub mod crypto;
pub mod daemon;
pub mod files;
pub mod local;
pub mod logging;
pub mod master;
pub mod node;
pub mod session;
pub mod system;
pub mod tasks;
pub mod wire;
pub mod worker;
