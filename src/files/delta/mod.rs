//! A content as its difference from another one, the *base*, that the other node has (`spec/native.md` 2.9).
//!
//! ```text
//! delta = step …     insert: 00 ‖ length (8) ‖ bytes     copy: 01 ‖ offset in the base (8) ‖ length (8)
//! ```
//! Numbers are big-endian. What the steps give, one after the other, is the content. The one who makes a delta needs the
//! outlines of both contents and, of the new one, only what is inserted ([`make`]). The one who carries it out ([`Steps`])
//! believes nothing of it: the content counts if it has the sum that it is to have, whatever it was made from.

mod make;
mod steps;
#[cfg(test)]
mod tests;

pub use make::make;
pub use steps::{Fault, Step, Steps};

use std::{collections::HashMap, num::NonZeroU64, sync::Arc};

/// The sizes of the files of an update that are sent as deltas, by their paths.
pub type Made = HashMap<Arc<str>, NonZeroU64>;

/// The longest delta that is carried out, in bytes.
pub const LONGEST: u64 = 2 << 20;

const INSERT: u8 = 0;
const COPY: u8 = 1;
