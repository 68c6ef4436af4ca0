//! Whether a file or folder is the same as before.

use std::{io, os::unix::fs::MetadataExt, path::Path};

/// What changes when the content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Stamp {
    /// Of what stands at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let about = path.metadata()?;
        Ok(Self {
            inode: about.ino(),
            size: about.size(),
            changed: (about.ctime(), about.ctime_nsec()),
            modified: (about.mtime(), about.mtime_nsec()),
        })
    }
}
