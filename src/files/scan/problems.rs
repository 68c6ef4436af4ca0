//! What a scan could not look at, and why.

use crate::files::{items::ItemId, manifest::Protected};

/// Largest file that is looked at, in bytes: no archive can hold a larger one (10.3). Also keeps a link to one of the
/// endless files of `/proc` from stopping the scan.
pub const LONGEST_FILE: i64 = 1 << 30;
pub(super) const TOO_LARGE: &str = "it is larger than 1 GiB";

/// Something of this node that cannot be synchronised until a person looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Relative to the home, made printable; a directory ends with a slash.
    pub path: String,
    /// Why, as the second half of a sentence.
    pub reason: String,
}

/// The directory of an item.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) item: ItemId,
    /// Its device and inode; none if it is not there.
    pub(super) place: Option<(u64, u64)>,
}

/// What a walk could not look at.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) protected: Protected,
}

impl Problems {
    pub(super) fn file(&mut self, path: &str, reason: String) {
        self.protected.files.push(path.to_owned());
        self.unreadable.push(Unreadable { path: path.to_owned(), reason });
    }

    /// `path` with its final slash.
    pub(super) fn directory(&mut self, path: &str, reason: String) {
        self.protected.directories.push(path.to_owned());
        self.unreadable.push(Unreadable { path: path.to_owned(), reason });
    }
}
