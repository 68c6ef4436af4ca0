//! Replacing and deleting: what a journal promises. Doing it twice is as good as doing it once.
//!
//! A file that is a mount of its own cannot be replaced. Where a journal stands behind it, it is written over
//! ([`super::in_place`]).

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use nix::dir::Dir;
use nix::errno::Errno;
use parking_lot::Mutex;

use super::in_place;
use super::plan::{Directory, Removal, Write, order};
use super::share::{How, Pile, on_threads};
use super::stage::staged_name;
use super::tree::Tree;
use crate::files::items::ItemId;
use crate::files::path;
use crate::system::disk::Disk;

/// One thing to do. The order puts the files of one directory together, replacements before deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub(super) item: ItemId,
    pub(super) path: &'a str,
    /// Number of the staged content that replaces the file; `None` deletes it.
    pub(super) staged: Option<usize>,
}

impl<'a> Step<'a> {
    pub(super) fn put(write: &'a Write, at: usize) -> Step<'a> {
        Step { item: write.item, path: &write.path, staged: Some(at) }
    }

    pub(super) fn remove(removal: &'a Removal) -> Step<'a> {
        Step { item: removal.item, path: &removal.path, staged: None }
    }

    pub(super) fn group(&self) -> Directory<'a> {
        (self.item, self.directory())
    }

    fn directory(&self) -> &'a str {
        path::split(self.path).0
    }

    fn name(&self) -> &'a str {
        path::split(self.path).1
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mounts {
    /// `EBUSY` is reported, and the content stays staged.
    Leave,
    /// It is written over. There must be a journal.
    Overwrite,
}

/// What is being reported.
#[derive(Debug, Clone, Copy)]
pub(super) enum Did {
    /// The staged content of this number became the file.
    Put(usize),
    /// The file was deleted.
    Remove,
    /// The directory was made durable. Only failures are reported.
    Sync,
}

/// `Ok(false)`: there was nothing left to do.
pub(super) type Report<'r> = &'r mut (dyn FnMut(Did, &str, Result<bool, Errno>) + Send);

/// Carries out sorted steps. Each is reported with its path and does not hinder the others.
///
/// Whatever fails, every file has its old or its new content: a rename replaces all or nothing. Only a mount that is
/// written over ([`Mounts::Overwrite`]) may be left half, if its disk fails in the middle of it.
pub(super) fn execute(
    tree: &mut Tree<'_>,
    token: u32,
    steps: &[Step<'_>],
    how: How,
    mounts: Mounts,
    report: Report<'_>,
) {
    let (disk, items) = (tree.disk, tree.items);
    let (tree_lock, report_lock) = (Mutex::new(&mut *tree), Mutex::new(&mut *report));
    let pile = Pile::new(steps, how);
    let shares = on_threads(how, || {
        let report = |did, path: &str, done| (report_lock.lock())(did, path, done);
        let mut share = Share::default();
        while let Some((_, group)) = pile.take(|a, b| a.group() == b.group()) {
            let (item, path) = group[0].group();
            let opened = tree_lock.lock().directory(item, path, false);
            let directory = match opened {
                Ok(directory) => directory,
                Err(error) => {
                    for step in group {
                        let gone = error == Errno::ENOENT && step.staged.is_none();
                        report(did(step), step.path, if gone { Ok(false) } else { Err(error) });
                    }
                    continue;
                }
            };
            for step in group {
                report(did(step), step.path, carry_out(disk, token, &directory, step, mounts));
            }
            if group.iter().any(|step| step.staged.is_none()) && path != items.item(item).key {
                share.emptied.push((item, path));
            }
            if how.sync_each {
                sync(disk, &directory, path, &report);
            } else if let Ok(device) = Tree::device(&directory) {
                share.devices.entry(device).or_insert((directory, path));
            }
        }
        share
    });

    let report = |did, path: &str, done| (report_lock.lock())(did, path, done);
    let (mut devices, mut emptied) = (Vec::new(), Vec::new());
    for share in shares {
        devices.extend(share.devices.into_values());
        emptied.extend(share.emptied);
    }
    // Deepest first, so that of two emptied directories, one in the other, both go. Two threads may have seen one.
    emptied.sort_unstable_by(|a, b| b.cmp(a));
    emptied.dedup();
    for (item, path) in emptied {
        if items.item(item).remove_empty_directories
            && let Ok(Some(parent)) = prune(&mut tree_lock.lock(), item, path)
            && how.sync_each
        {
            sync(disk, &parent, path, &report);
        }
    }
    for (directory, path) in &devices {
        if let Err(error) = disk.sync_file_system(directory) {
            report(Did::Sync, path, Err(error));
        }
    }
}

/// What one thread leaves to be done when all have ended.
#[derive(Default)]
struct Share<'s> {
    /// A directory on every file system that was changed, unless each directory is synced.
    devices: HashMap<u64, (OwnedFd, &'s str)>,
    /// Directories from which files were deleted.
    emptied: Vec<(ItemId, &'s str)>,
}

fn did(step: &Step<'_>) -> Did {
    step.staged.map_or(Did::Remove, Did::Put)
}

fn sync(disk: &Disk, directory: &OwnedFd, path: &str, report: &impl Fn(Did, &str, Result<bool, Errno>)) {
    if let Err(error) = disk.sync(directory) {
        report(Did::Sync, path, Err(error));
    }
}

fn carry_out(disk: &Disk, token: u32, directory: &OwnedFd, step: &Step<'_>, mounts: Mounts) -> Result<bool, Errno> {
    let Some(at) = step.staged else {
        return match disk.remove_file(directory, step.name()) {
            Err(Errno::ENOENT) => Ok(false),
            other => other.map(|()| true),
        };
    };
    let staged = staged_name(token, at);
    let mut renamed = disk.rename(directory, &staged, step.name());
    // A directory stands in the place of the file. If it is empty (a crash before it could be removed, or an item that
    // keeps its directories) nothing is lost with it, and otherwise the file could never come.
    if renamed == Err(Errno::EISDIR) && disk.remove_directory(directory, step.name()).is_ok() {
        renamed = disk.rename(directory, &staged, step.name());
    }
    if renamed == Err(Errno::EBUSY) {
        match mounts {
            Mounts::Leave => return Err(Errno::EBUSY),
            Mounts::Overwrite => renamed = in_place::overwrite(disk, directory, &staged, step.name()),
        }
    }
    if renamed.is_err() {
        disk.remove_file(directory, &staged).ok();
    }
    renamed.map(|()| true)
}

/// Removes a directory that holds nothing, or nothing but files that are excluded by their whole name (10.7: `ar.conf`,
/// `ossec.conf`). Returns the directory in which it was.
fn prune(tree: &mut Tree<'_>, item: ItemId, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let directory = tree.directory(item, path, false)?;
    let mut leftover = Vec::new();
    for entry in Dir::from_fd(directory.try_clone().map_err(|_| Errno::last())?)?.iter() {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) if tree.items.excluded_files().iter().any(|excluded| excluded == name) => {
                leftover.push(name.to_owned());
            }
            _ => return Ok(None),
        }
    }
    for name in leftover {
        tree.disk.remove_file(&directory, &name)?;
    }
    let (above, name) = path::split(path.trim_end_matches('/'));
    let parent = tree.directory(item, above, false)?;
    tree.disk.remove_directory(&parent, name)?;
    Ok(Some(parent))
}
