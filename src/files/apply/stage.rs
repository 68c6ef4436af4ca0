//! Writing every new content beside its destination, durably, before anything is replaced.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use parking_lot::Mutex;

use super::Failure;
use super::plan::{Directory, Write};
use super::share::{How, Pile, on_threads};
use super::tree::Tree;
use crate::files::archive::{ArchiveError, Inflater, Positioned, Window};
use crate::files::checksum::{ChecksumKind, Prover};
use crate::files::items::{Items, STAGED_PREFIX, STAGED_SUFFIX};
use crate::system::disk::Disk;

/// Directories that stay as they are, each with the reason as a sentence without its end.
pub(super) type Refused<'p> = HashMap<Directory<'p>, String>;

/// What is staged.
pub(super) struct Stage {
    /// Part of every staged name of this update: a journal that was left over can never mean the files of another.
    pub(super) token: u32,
    /// By write: whether its content is staged.
    alive: Vec<bool>,
}

/// The name under which write number `at` is staged.
pub(super) fn staged_name(token: u32, at: usize) -> String {
    format!("{STAGED_PREFIX}{token:08x}-{at}{STAGED_SUFFIX}")
}

/// Why a file is not staged.
enum Fault {
    Disk(Errno),
    Archive(ArchiveError),
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Fault {
        Fault::Archive(error)
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Fault {
        Fault::Disk(error)
    }
}

/// Whether there is no room. What is staged of a directory then goes, so that others of its size or smaller may fit.
fn is_no_room(error: Errno) -> bool {
    matches!(error, Errno::ENOSPC | Errno::EDQUOT)
}

/// Stages all writes durably, but for those of refused directories. A file that fails is reported and the others go on;
/// a directory for which there is no room, or that cannot be made durable, joins the refused ones.
pub(super) fn run<'w>(
    tree: &mut Tree<'_>,
    archive: &File,
    kind: ChecksumKind,
    writes: &'w [Write],
    how: How,
    refused: &mut Refused<'w>,
    failures: &mut Vec<Failure>,
) -> Result<Stage, Errno> {
    let token = getrandom::u32().map_err(|_| Errno::EIO)?;
    let mut stage = Stage { token, alive: vec![false; writes.len()] };
    let (disk, items, owner) = (tree.disk, tree.items, tree.owner);
    let pile = Pile::new(writes, how);
    let sync_each = how.sync_each;
    let (tree, so_far) = (Mutex::new(tree), Mutex::new(std::mem::take(refused)));
    let stager = Stager { tree, refused: so_far, disk, items, owner, archive, kind, token, sync_each, pile };
    let shares = on_threads(how, || stager.run());
    let tree = stager.tree.into_inner();
    *refused = stager.refused.into_inner();

    for share in shares {
        share.staged.iter().for_each(|at| stage.alive[*at] = true);
        failures.extend(share.failures);
        // One of every thread: only a directory that was opened before a write is sure to tell that it has failed.
        for Written { directory, groups } in share.written.into_values() {
            if let Err(error) = disk.sync_file_system(&directory) {
                refused.extend(groups.into_iter().map(|group| (group, not_durable(group, error))));
            }
        }
    }
    if !refused.is_empty() {
        stage.undo(tree, writes, |directory| refused.contains_key(&directory));
    }
    if stage.alive.contains(&false) {
        let alive = &stage.alive;
        tree.unmake(|made| writes.iter().zip(alive).any(|(write, alive)| *alive && write.path.starts_with(made)));
    }
    Ok(stage)
}

impl Stage {
    /// The numbers of the staged writes.
    pub(super) fn alive(&self) -> impl Iterator<Item = usize> {
        self.alive.iter().enumerate().filter(|(_, alive)| **alive).map(|(at, _)| at)
    }

    /// Removes what is staged in these directories.
    pub(super) fn undo(&mut self, tree: &mut Tree<'_>, writes: &[Write], which: impl Fn(Directory<'_>) -> bool) {
        let mut at = 0;
        for group in writes.chunk_by(|a, b| a.directory() == b.directory()) {
            let numbers = at..at + group.len();
            at = numbers.end;
            let (item, path) = group[0].directory();
            if !which((item, path)) || !self.alive[numbers.clone()].contains(&true) {
                continue;
            }
            let opened = tree.directory(item, path, false);
            for at in numbers.filter(|at| self.alive[*at]).collect::<Vec<_>>() {
                self.alive[at] = false;
                if let Ok(directory) = &opened {
                    // What cannot be removed now is removed by the next start.
                    tree.disk.remove_file(directory, &staged_name(self.token, at)).ok();
                }
            }
        }
    }
}

/// What one thread did.
#[derive(Default)]
struct Share<'w> {
    /// The numbers of the writes whose content is staged.
    staged: Vec<usize>,
    failures: Vec<Failure>,
    /// By file system what was written to, unless each file is synced.
    written: HashMap<u64, Written<'w>>,
}

/// What was written to a file system.
struct Written<'w> {
    /// The first directory.
    directory: OwnedFd,
    groups: Vec<Directory<'w>>,
}

/// What the threads have in common.
struct Stager<'t, 'b, 'w> {
    /// Directories are opened and made by one thread at a time.
    tree: Mutex<&'t mut Tree<'b>>,
    refused: Mutex<Refused<'w>>,
    disk: &'b Disk,
    items: &'b Items,
    owner: Option<(u32, u32)>,
    archive: &'t File,
    kind: ChecksumKind,
    token: u32,
    sync_each: bool,
    pile: Pile<'w, Write>,
}

impl<'w> Stager<'_, '_, 'w> {
    fn run(&self) -> Share<'w> {
        let mut share = Share::default();
        let mut inflater = Inflater::new();
        let mut window = Window::at_start(Positioned::new(self.archive));
        while let Some((numbers, group)) = self.pile.take(|a, b| a.directory() == b.directory()) {
            let (item, path) = group[0].directory();
            if self.refused.lock().contains_key(&(item, path)) {
                continue;
            }
            let opened = self.tree.lock().directory(item, path, true);
            let directory = match opened {
                Ok(directory) => directory,
                Err(error) if is_no_room(error) => {
                    self.refuse(&group[0], no_room(group[0].directory(), error));
                    continue;
                }
                Err(error) => {
                    let reason = format!("its directory cannot be opened: {}", error.desc());
                    share.failures.extend(group.iter().map(|write| failure(write, reason.clone())));
                    continue;
                }
            };
            let first = share.staged.len();
            for (at, write) in numbers.zip(group) {
                let reason = match self.stage(&directory, at, write, &mut window, &mut inflater, &mut share.staged) {
                    Ok(()) => continue,
                    Err(Fault::Disk(error)) if is_no_room(error) => {
                        self.refuse(write, no_room(write.directory(), error));
                        break;
                    }
                    Err(Fault::Disk(error)) => error.desc().to_owned(),
                    Err(Fault::Archive(error)) => format!("the archive was changed while it was applied: {error}"),
                };
                if share.staged.pop_if(|last| *last == at).is_some() {
                    self.disk.remove_file(&directory, &staged_name(self.token, at)).ok();
                }
                share.failures.push(failure(write, reason));
            }
            if self.refused.lock().contains_key(&(item, path)) {
                // At once, and not when all have ended: there is room for others then.
                share.staged.drain(first..).for_each(|at| {
                    self.disk.remove_file(&directory, &staged_name(self.token, at)).ok();
                });
            } else if share.staged.len() > first {
                self.settle(directory, (item, path), &mut share);
            }
        }
        share
    }

    /// Makes the names in a directory durable, or remembers to.
    fn settle(&self, directory: OwnedFd, group: Directory<'w>, share: &mut Share<'w>) {
        if self.sync_each {
            if let Err(error) = self.disk.sync(&directory) {
                self.refused.lock().insert(group, not_durable(group, error));
            }
            return;
        }
        match Tree::device(&directory) {
            Ok(device) => {
                let written = share.written.entry(device).or_insert(Written { directory, groups: Vec::new() });
                written.groups.push(group);
            }
            Err(error) => _ = self.refused.lock().insert(group, not_durable(group, error)),
        }
    }

    fn refuse(&self, write: &'w Write, reason: String) {
        self.refused.lock().insert(write.directory(), reason);
    }

    fn stage(
        &self,
        directory: &OwnedFd,
        at: usize,
        write: &Write,
        window: &mut Window<Positioned<'_>>,
        inflater: &mut Inflater,
        staged: &mut Vec<usize>,
    ) -> Result<(), Fault> {
        let disk = self.disk;
        let name = staged_name(self.token, at);
        let file = disk.create(directory, &name)?;
        staged.push(at);
        // The survey verified this content, but it is read a second time here, and the file may lie where others can
        // write: what counts is what is written now.
        let mut prover = Prover::new(self.kind);
        window.seek(write.offset).map_err(ArchiveError::Io)?;
        inflater.run(window, &write.path, write.size, &mut |bytes| {
            prover.update(bytes);
            if bytes.is_empty() { Ok(()) } else { disk.write(&file, bytes).map_err(Fault::Disk) }
        })?;
        if prover.finish() != write.proof {
            let reason = "its checksum is not what it was".to_owned();
            return Err(ArchiveError::Corrupt { name: write.path.to_string(), reason }.into());
        }
        disk.set_mode(&file, self.items.item(write.item).mode)?;
        if let Some(owner) = self.owner {
            disk.set_owner(&file, owner)?;
        }
        if self.sync_each {
            disk.sync(&file)?;
        }
        Ok(())
    }
}

fn no_room((_, directory): Directory<'_>, error: Errno) -> String {
    format!("there is no room for the new files of '{directory}': {}", error.desc())
}

fn not_durable((_, directory): Directory<'_>, error: Errno) -> String {
    format!("what was written into '{directory}' cannot be made durable: {}", error.desc())
}

fn failure(write: &Write, reason: String) -> Failure {
    Failure { path: write.path.to_string(), what: write.what, reason }
}
