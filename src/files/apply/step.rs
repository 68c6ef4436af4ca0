//! One change of an update, as a journal promises it and its execution reports it.

use super::plan::{Directory, Removal, Write, order};
use crate::files::{items::ItemId, path};

/// One thing to do. The order puts the files of one directory together, replacements before deletions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub(super) item: ItemId,
    pub(super) path: &'a str,
    /// Number of the staged content that replaces the file; `None` deletes it.
    pub(super) staged: Option<usize>,
}

impl<'a> Step<'a> {
    pub(super) fn put(write: &'a Write, at: usize) -> Self {
        Step { item: write.item, path: &write.path, staged: Some(at) }
    }

    pub(super) fn remove(removal: &'a Removal) -> Self {
        Step { item: removal.item, path: &removal.path, staged: None }
    }

    pub(super) fn group(&self) -> Directory<'a> {
        (self.item, self.directory())
    }

    fn directory(&self) -> &'a str {
        path::split(self.path).0
    }

    pub(super) fn name(&self) -> &'a str {
        path::split(self.path).1
    }

    pub(super) fn did(&self) -> Did {
        self.staged.map_or(Did::Remove, Did::Put)
    }
}

impl Ord for Step<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |(item, directory, name), step: &Self| (item, directory, step.staged.is_none(), name);
        key(order(self.item, self.path), self).cmp(&key(order(other.item, other.path), other))
    }
}

impl PartialOrd for Step<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What becomes of a file that is a mount of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mounts {
    /// `EBUSY` is reported, and the content stays staged.
    Leave,
    /// It is written over. There must be a journal.
    Overwrite,
}

/// What is being reported.
#[derive(Clone, Copy, Debug)]
pub(super) enum Did {
    /// The staged content of this number became the file.
    Put(usize),
    /// The file was deleted.
    Remove,
    /// The directory was made durable. Only failures are reported.
    Sync,
}
