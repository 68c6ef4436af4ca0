//! What the kernel does not tell those who watch directories: which file systems others may change, and that something was
//! mounted over a directory.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
        XFS_SUPER_MAGIC, fstatfs,
    },
};

/// File systems of this machine alone, all of whose changes pass through its kernel. Of any other, such as NFS, SMB, 9p or
/// FUSE, somebody else may change the files.
const OWN: [FsType; 9] = [
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    // bcachefs, ZFS, ramfs.
    FsType(0xCA45_1A4E),
    FsType(0x2FC1_2FC1),
    FsType(0x8584_58F6),
];

/// Whether all changes on the file system of this directory are told.
pub(super) fn tells_all(directory: BorrowedFd<'_>) -> bool {
    fstatfs(directory).is_ok_and(|about| OWN.contains(&about.filesystem_type()))
}

/// The mounts that this process sees.
pub(super) struct Mounts(Option<File>);

impl Mounts {
    /// From now on.
    pub(super) fn new() -> Self {
        let mounts = Self(File::open("/proc/self/mountinfo").ok());
        mounts.have_changed();
        mounts
    }

    /// Whether they have changed since this was last asked; also if that cannot be known.
    pub(super) fn have_changed(&self) -> bool {
        let Some(table) = &self.0 else { return true };
        let mut table = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        poll(&mut table, PollTimeout::ZERO).is_err() || table[0].any() == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_change_is_not_believed_to_be_told() {
        assert!(!tells_all(File::open("/proc/self").unwrap().as_fd()));
        let nfs = FsType(0x6969);
        assert!(!OWN.contains(&nfs) && OWN.contains(&TMPFS_MAGIC));
    }
}
