//! Groups, which agents belong to them, and the hashes that compare nodes (`spec/agentdb.md` 5, 7.11 to 7.15).
//!
//! An agent's groups stand in three places: rows of `belongs` in order of priority, their names joined by commas in the
//! column `group`, and the hash of that text in `group_hash`. The first decides; [`hash::recompute`] makes the others.

mod assign;
mod collect;
mod commands;
mod hash;
mod names;
mod table;

pub(super) use assign::set;
pub(in crate::agents) use assign::{Assignment, MOST, Mode};
pub(super) use collect::sync;
pub(super) use commands::{agents, all, delete, distinct, find, insert, integrity, of_agent, recalculate};
pub(super) use hash::names_of;
pub use names::is_valid as is_valid_name;
pub(super) use table::id_or_new;
