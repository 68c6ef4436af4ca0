//! One folder for each documented thread.

pub mod agent_groups_send;
pub mod agent_info;
pub mod haproxy_helper;
pub mod integrity;
pub mod keep_alive;
pub mod local_agent_groups;
pub mod local_integrity;
mod message;
mod report;
pub mod span;

#[cfg(test)]
pub(crate) mod tests;
