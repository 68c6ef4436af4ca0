//! What the log leaves free. Whatever peers and programs do that is worth a line, they cannot fill the disk by it: keys,
//! the agent database and the files of the cluster have to be written, too.

use std::{io, os::fd::AsFd};

use nix::sys::statvfs::fstatvfs;

use crate::system::human;

/// The part of a file system that stays free, and the most that it need be, in bytes.
const PART: u64 = 32;
const MOST: u64 = 256 * 1024 * 1024;

/// Whether more may be written to the file system of `file`. What is `urgent` may take half of what stays free otherwise:
/// errors and warnings, among which is that there is no more room, and archives, which make some.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`], with a text for people.
pub fn check(file: impl AsFd, urgent: bool) -> io::Result<()> {
    // Where the file system does not tell, it will say itself when it is full.
    let Ok(about) = fstatvfs(file) else { return Ok(()) };
    let size = about.fragment_size().max(1);
    let least = least(about.blocks(), size) / if urgent { 2 } else { 1 };
    if about.blocks_available() >= least {
        return Ok(());
    }
    let least = human::bytes(least.saturating_mul(size));
    Err(io::Error::new(io::ErrorKind::StorageFull, format!("fewer than {least} of its file system are free")))
}

/// Blocks that stay free, of so many of this size.
fn least(blocks: u64, size: u64) -> u64 {
    (blocks / PART).min(MOST / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stays_free_and_of_a_large_disk_not_too_much() {
        assert_eq!(least(1024, 4096), 32);
        assert_eq!(least(1 << 30, 4096), 65_536);
        assert_eq!((least(16, 4096), least(0, 1)), (0, 0));
    }
}
