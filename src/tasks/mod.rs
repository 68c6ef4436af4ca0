//! The corridor: one room for each documented thread.

pub mod integrity;
pub mod keep_alive;
pub mod local_integrity;
