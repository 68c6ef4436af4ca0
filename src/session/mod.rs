//! What the two ends of a link agree on before they work, and the requests that every handler answers alike.

pub mod agents;
pub mod api;
pub mod hello;
pub mod keys;
mod later;
pub mod native;
mod transfers;

pub use later::Later;
pub use transfers::{Transfers, unknown_command};
