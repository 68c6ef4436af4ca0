//! Requests of local programs that another node is to answer, and their way back (`spec/protocol.md` 13.9, 14).
//!
//! ```text
//!  program          worker                               master                                program of the manager
//!   │ sendsync J ──► send ── sendsync N J ─────────────► SendSync ── one lane for each ──► Daemons ──► authd, remoted,
//!   │                        (N: name of this request)              daemon                  ◄──        task-manager,
//!   │ ◄── ok answer ─ result ◄─ new_str, sendsyn_res N ─┘                                              wazuh-db
//! ```
//! Requests of the API go the same way, and from the master to a worker too; [`crate::api`] executes them. The content
//! is not looked at.
//!
//! Who repeats a request that was done makes a second agent of one, so `err` is said only when nothing was done.

mod daemons;
mod forward;
mod lane;
mod master;
mod program;
mod waiting;

pub use daemons::Daemons;
pub use forward::{answered, api_answered, failed, send};
pub use master::SendSync;
pub use program::{Program, RequestKind};
pub use waiting::Waiting;
