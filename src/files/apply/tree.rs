//! The only way to a directory of the home: from the item's own directory downwards, name by name, over no link.
//!
//! This is what `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` gives on newer kernels. An item's own directory
//! may be reached over links: where it is, is the administrator's decision.

use std::{os::fd::OwnedFd, path::Path};

use nix::{errno::Errno, fcntl::OFlag, sys::stat::fstat};

use crate::{
    files::items::{ItemId, Items},
    system::disk::Disk,
};

/// Mode of directories that an update makes (10.7).
const DIRECTORY_MODE: u32 = 0o770;

/// The directories of the items below one home.
pub(super) struct Tree<'a> {
    pub(super) home: OwnedFd,
    pub(super) items: &'a Items,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) disk: &'a Disk,
    /// By item, once opened.
    roots: Vec<Option<OwnedFd>>,
    /// Whether the name of a made directory is synced at once; else its whole file system is later.
    pub(super) sync_made: bool,
    /// Directories made here, with their final slash.
    pub(super) made: Vec<(ItemId, String)>,
}

const FOLLOW: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
const NO_FOLLOW: OFlag = FOLLOW.union(OFlag::O_NOFOLLOW);

impl<'a> Tree<'a> {
    pub(super) fn open(
        home: &Path,
        items: &'a Items,
        owner: Option<(u32, u32)>,
        disk: &'a Disk,
    ) -> Result<Self, Errno> {
        let home = disk.directory(home)?;
        let roots = items.iter().map(|_| None).collect();
        Ok(Tree { home, items, owner, disk, roots, sync_made: true, made: Vec::new() })
    }

    /// Opens a directory of an item. `directory` is relative to the home, begins with the item's key and ends with a
    /// slash; its components have been checked. With `make`, what is missing is made.
    pub(super) fn directory(&mut self, item: ItemId, directory: &str, make: bool) -> Result<OwnedFd, Errno> {
        let key_length = self.items.item(item).key.len();
        let mut current = self.root(item, make)?;
        let mut end = key_length;
        for name in directory[key_length..].split_terminator('/') {
            end += name.len() + 1;
            let next = match self.disk.look(&current, name, NO_FOLLOW) {
                Err(Errno::ENOENT) if make => {
                    self.disk.make_directory(&current, name)?;
                    self.made.push((item, directory[..end].to_owned()));
                    let next = self.disk.look(&current, name, NO_FOLLOW)?;
                    self.settle(&next)?;
                    self.sync_made(&current)?;
                    next
                }
                other => other?,
            };
            current = next;
        }
        Ok(current)
    }

    /// The item's own directory, or the home if that does not exist.
    pub(super) fn nearest(&mut self, item: ItemId, directory: &str) -> Result<OwnedFd, Errno> {
        let mut directory = directory;
        loop {
            match self.directory(item, directory, false) {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                other => return other,
            }
            let shorter = directory.trim_end_matches('/').rfind('/').map_or("", |at| &directory[..=at]);
            if shorter.len() < self.items.item(item).key.len() {
                return self.home.try_clone().map_err(|_| Errno::last());
            }
            directory = shorter;
        }
    }

    /// Removes the directories made here below which `keep` holds nothing, as far as they are empty.
    pub(super) fn unmake(&mut self, keep: impl Fn(&str) -> bool) {
        for (item, path) in std::mem::take(&mut self.made).into_iter().rev() {
            if keep(&path) {
                self.made.push((item, path));
                continue;
            }
            let (parent, name) = crate::files::path::split(path.trim_end_matches('/'));
            if let Ok(parent) = self.directory(item, parent, false) {
                // One that is in use by now stays: it is no file of anybody's.
                self.disk.remove_directory(&parent, name).ok();
            }
        }
    }

    /// The device of a directory: files are synced by file system.
    pub(super) fn device(directory: &OwnedFd) -> Result<u64, Errno> {
        Ok(fstat(directory)?.st_dev)
    }

    fn root(&mut self, item: ItemId, make: bool) -> Result<OwnedFd, Errno> {
        let at = usize::from(item.0);
        if self.roots[at].is_none() {
            let key = self.items.item(item).key.as_str();
            let opened = match self.disk.look(&self.home, key, FOLLOW) {
                Err(Errno::ENOENT) if make => self.make_root(key)?,
                other => other?,
            };
            self.roots[at] = Some(opened);
        }
        match &self.roots[at] {
            Some(root) => root.try_clone().map_err(|_| Errno::last()),
            None => Err(Errno::ENOENT),
        }
    }

    /// Makes an item's own directory and those above it.
    fn make_root(&self, key: &str) -> Result<OwnedFd, Errno> {
        let mut current = self.home.try_clone().map_err(|_| Errno::last())?;
        for name in key.split_terminator('/') {
            let made = match self.disk.make_directory(&current, name) {
                Err(Errno::EEXIST) => false,
                other => other.map(|()| true)?,
            };
            let next = self.disk.look(&current, name, FOLLOW)?;
            if made {
                self.settle(&next)?;
                self.sync_made(&current)?;
            }
            current = next;
        }
        Ok(current)
    }

    /// The name of a new directory must not be lost while what is below it is kept.
    fn sync_made(&self, above: &OwnedFd) -> Result<(), Errno> {
        if self.sync_made { self.disk.sync(above) } else { Ok(()) }
    }

    fn settle(&self, directory: &OwnedFd) -> Result<(), Errno> {
        self.disk.set_mode(directory, DIRECTORY_MODE)?;
        self.owner.map_or(Ok(()), |owner| self.disk.set_owner(directory, owner))
    }
}
