//! Whether a file or folder is the same as before.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// What changes when the content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Stamp {
    /// Of what stands at `path`.
    ///
    /// # Errors
    /// When there is nothing, or a folder above may not be entered.
    pub fn of(path: &Path) -> io::Result<Self> {
        path.metadata().map(|about| Self::new(&about))
    }

    /// Of an open file, whatever its name is by now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|about| Self::new(&about))
    }

    /// Whether it is the same file as `other` with the same content, whatever its name is: that counts as a change, too.
    pub fn is_same_content(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }

    fn new(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            changed: (about.ctime(), about.ctime_nsec()),
            modified: (about.mtime(), about.mtime_nsec()),
        }
    }
}
