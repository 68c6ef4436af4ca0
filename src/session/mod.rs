//! What the two ends of a link agree on before they work, and the transfers that both answer alike.

pub mod agree;
pub mod hello;
pub mod native;
mod transfers;

pub use transfers::Transfers;
