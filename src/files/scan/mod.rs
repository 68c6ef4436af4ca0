//! The scan: finds the synchronised files of this node and their checksums, reading only what may have changed.
//!
//! A file is read again unless its stamp shows that it is as it was ([`crate::system::stamp`] has the rule), and every
//! file once an hour, so that not even a file system that loses time stamps can hide a change for ever.
//!
//! A scanner that watches its files looks only at the stamps of those that may have changed since ([`super::watch`]), and at
//! all stamps once a minute.

mod hash;
#[cfg(test)]
mod instants;
mod missing;
mod problems;
mod roots;
mod scanner;
mod sight;
#[cfg(test)]
mod tests;
mod walk;

pub use hash::open_file;
pub use problems::{LONGEST_FILE, Unreadable};
pub use scanner::{FULL_EVERY, Scan, Scanner};
pub use sight::WHOLE_EVERY;
