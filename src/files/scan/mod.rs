//! The scan: finds the synchronised files of this node and their checksums, reading only what may have changed.
//!
//! A file is read again unless its stamp shows that it is as it was ([`crate::system::stamp`] has the rule), and every
//! file once an hour, so that not even a file system that loses time stamps can hide a change for ever.

mod hash;
#[cfg(test)]
mod instants;
mod missing;
mod problems;
mod roots;
mod scanner;
#[cfg(test)]
mod tests;
mod walk;

pub use hash::open_file;
pub use problems::{LONGEST_FILE, Unreadable};
pub use scanner::{FULL_EVERY, Scan, Scanner};
