//! What the rest of the daemon asks of the machine: time, threads, shutdown, randomness, memory, changes to the disk.
//!
//! It is the only home of `unsafe`; each use stands with its reason.

#![allow(clippy::disallowed_methods)] // it is what they are disallowed for

pub mod at_most;
pub mod clock;
pub mod directory;
pub mod disk;
pub mod doorway;
pub mod first_process;
pub mod handover;
pub mod hex;
pub mod human;
pub mod json;
pub mod known;
pub mod listening;
pub mod memory;
pub mod network;
pub mod own_address;
pub mod place;
pub mod process;
pub mod process_group;
pub mod processes;
pub mod random;
pub mod replacement;
pub mod service_manager;
pub mod shutdown;
pub mod spelling;
pub mod stamp;
pub mod state_file;
pub mod terminal;
pub mod thread;
pub mod unix_socket;
pub mod user;
pub mod visible;
pub mod wakeup;
