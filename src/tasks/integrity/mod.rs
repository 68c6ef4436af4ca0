//! The integrity thread: makes the files of a worker equal to the master's (`spec/protocol.md` 10).
//!
//! ```text
//! worker                                                   master
//!   every 9 s: may I?  ─── syn_i_w_m_p ──────────────────►  one check in each turn of the local integrity thread
//!   scan; manifest     ─── syn_i_w_m, file, syn_i_w_m_e ─►  compare with its own manifest
//!                      ◄── syn_m_c_ok ──────────────────── equal, or
//!   stage, apply       ◄── syn_m_c, file, syn_m_c_e ────── the files that differ
//! ```
//! Between two nodes running this daemon a check begins with `int_digest`, and ends there if the files are the same; if
//! not, it is about some of them only ([`crate::files::digest`]), or the master knows already what the worker lacks
//! ([`crate::files::lately`]).
//!
//! The master is the authority: what differs on a worker is overwritten, what the master lacks is deleted there.

mod applied;
pub mod archive_limit;
mod differences;
mod held;
pub mod master;
mod sending;
pub mod status;
pub mod worker;

pub use applied::{ARCHIVE, Applied, FailedFile};
pub use held::Held;
pub use sending::Doubtful;

use crate::system::{
    clock::{Clock, seconds_with_fraction},
    random,
};

/// The name of an archive, relative to the home; `worker` is the worker's name in both directions
/// (`spec/protocol.md` 10.3).
fn archive_path(worker: &str, clock: &Clock) -> String {
    let id = random::uuid().replace('-', "");
    format!("queue/cluster/{worker}/{worker}-{}-{id}.zip", seconds_with_fraction(clock.wall()))
}
