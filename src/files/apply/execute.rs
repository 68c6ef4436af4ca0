//! Replacing and deleting: what a journal promises. Doing it twice is as good as doing it once.
//!
//! A file that is a mount of its own cannot be replaced. Where a journal stands behind it, it is written over
//! ([`super::in_place`]).

use std::{collections::HashMap, os::fd::OwnedFd};

use nix::{dir::Dir, errno::Errno};
use parking_lot::Mutex;

use super::{
    in_place,
    share::{How, Pile, on_threads},
    stage::staged_name,
    step::{Did, Mounts, Step},
    tree::Tree,
};
use crate::{
    files::{
        items::{ItemId, Items},
        path,
    },
    system::disk::Disk,
};

/// `Ok(false)`: there was nothing left to do.
pub(super) type Report<'r> = &'r mut (dyn FnMut(Did, &str, Result<bool, Errno>) + Send);

/// How steps are carried out.
#[derive(Clone, Copy)]
pub(super) struct Execution {
    /// In the names of what is staged.
    pub(super) token: u32,
    pub(super) how: How,
    pub(super) mounts: Mounts,
}

impl Execution {
    /// Carries out sorted steps. Each is reported with its path and does not hinder the others.
    ///
    /// Whatever fails, every file has its old or its new content: a rename replaces all or nothing. Only a mount that is
    /// written over ([`Mounts::Overwrite`]) may be left half, if its disk fails in the middle of it.
    pub(super) fn run(self, tree: &mut Tree<'_>, steps: &[Step<'_>], report: Report<'_>) {
        let run =
            Run { disk: tree.disk, items: tree.items, of: self, tree: Mutex::new(tree), report: Mutex::new(report) };
        let pile = Pile::new(steps, self.how);
        let shares = on_threads(self.how, || run.share(&pile));
        run.finish(shares);
    }
}

/// What the threads have in common.
struct Run<'t, 'b, 'r> {
    disk: &'b Disk,
    items: &'b Items,
    of: Execution,
    /// Directories are opened by one thread at a time.
    tree: Mutex<&'t mut Tree<'b>>,
    report: Mutex<Report<'r>>,
}

impl Run<'_, '_, '_> {
    fn report(&self, did: Did, path: &str, done: Result<bool, Errno>) {
        (self.report.lock())(did, path, done);
    }

    /// What one thread takes of the steps.
    fn share<'s>(&self, pile: &Pile<'s, Step<'s>>) -> Share<'s> {
        let mut share = Share::default();
        while let Some((_, group)) = pile.take(|a, b| a.group() == b.group()) {
            let (item, path) = group[0].group();
            let open = || self.tree.lock().directory(item, path, false);
            // Once more, before what is staged in it stays there: it was opened a moment ago.
            match open().or_else(|error| if error == Errno::ENOENT { Err(error) } else { open() }) {
                Ok(directory) => self.group(directory, group, &mut share),
                Err(error) => {
                    for step in group {
                        let gone = error == Errno::ENOENT && step.staged.is_none();
                        self.report(step.did(), step.path, if gone { Ok(false) } else { Err(error) });
                    }
                }
            }
        }
        share
    }

    /// The steps of one directory.
    fn group<'s>(&self, directory: OwnedFd, group: &[Step<'s>], share: &mut Share<'s>) {
        let (item, path) = group[0].group();
        for step in group {
            self.report(step.did(), step.path, self.carry_out(&directory, step));
        }
        if group.iter().any(|step| step.staged.is_none()) && path != self.items.item(item).key {
            share.emptied.push((item, path));
        }
        if self.of.how.sync_each {
            self.sync(&directory, path);
        } else if let Ok(device) = Tree::device(&directory) {
            share.devices.entry(device).or_insert((directory, path));
        }
    }

    /// What is to be done when all threads have ended.
    fn finish(&self, shares: Vec<Share<'_>>) {
        let (mut devices, mut emptied) = (Vec::new(), Vec::new());
        for share in shares {
            devices.extend(share.devices.into_values());
            emptied.extend(share.emptied);
        }
        // Deepest first, so that of two emptied directories, one in the other, both go. Two threads may have seen one.
        emptied.sort_unstable_by(|a, b| b.cmp(a));
        emptied.dedup();
        for (item, path) in emptied {
            if self.items.item(item).remove_empty_directories
                && let Ok(Some(parent)) = prune(&mut self.tree.lock(), item, path)
                && self.of.how.sync_each
            {
                self.sync(&parent, path);
            }
        }
        for (directory, path) in &devices {
            if let Err(error) = self.disk.sync_file_system(directory) {
                self.report(Did::Sync, path, Err(error));
            }
        }
    }

    fn sync(&self, directory: &OwnedFd, path: &str) {
        if let Err(error) = self.disk.sync(directory) {
            self.report(Did::Sync, path, Err(error));
        }
    }

    fn carry_out(&self, directory: &OwnedFd, step: &Step<'_>) -> Result<bool, Errno> {
        let (disk, Execution { token, mounts, .. }) = (self.disk, self.of);
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
}

/// What one thread leaves to be done when all have ended.
#[derive(Default)]
struct Share<'s> {
    /// A directory on every file system that was changed, unless each directory is synced.
    devices: HashMap<u64, (OwnedFd, &'s str)>,
    /// Directories from which files were deleted.
    emptied: Vec<(ItemId, &'s str)>,
}

/// Removes a directory that holds nothing, or nothing but files that are excluded by their whole name (10.7: `ar.conf`,
/// `ossec.conf`). Gives the directory in which it was.
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
