//! The workers that a master knows: those that are connected, and those that are away.

mod away;
mod known;
mod memory;
mod registry;
mod worker;

pub use away::Away;
pub use known::Known;
pub use memory::Memory;
pub use registry::{NotForgotten, NotRegistered, Registry};
pub use worker::ConnectedWorker;
