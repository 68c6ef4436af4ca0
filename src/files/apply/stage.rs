//! Writing every new content beside its destination, where nothing looks at it yet.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use parking_lot::Mutex;

use super::plan::Write;
use super::share::{How, Pile, on_threads};
use super::tree::Tree;
use super::{ApplyError, Failure, path_of};
use crate::files::archive::{ArchiveError, Inflater, Positioned, Window};
use crate::files::checksum::{ChecksumKind, Hasher};
use crate::files::items::{Items, STAGED_PREFIX, STAGED_SUFFIX};
use crate::system::disk::Disk;

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

/// Whether all the other files will fail too, so that there is no point in going on.
fn concerns_all(error: Errno) -> bool {
    matches!(
        error,
        Errno::ENOSPC | Errno::EDQUOT | Errno::EIO | Errno::EROFS | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM
    )
}

/// Stages all writes durably. A file that fails is reported and the others go on; a disk that fails or is full ends
/// it with everything removed again.
pub(super) fn run(
    tree: &mut Tree<'_>,
    archive: &File,
    kind: ChecksumKind,
    writes: &[Write],
    how: How,
    failures: &mut Vec<Failure>,
) -> Result<Stage, ApplyError> {
    let token = getrandom::u32().map_err(|_| ApplyError::Disk { path: ".".to_owned(), error: Errno::EIO })?;
    let mut stage = Stage { token, alive: vec![false; writes.len()] };
    let (disk, items, owner) = (tree.disk, tree.items, tree.owner);
    let pile = Pile::new(writes, how);
    let stager =
        Stager { tree: Mutex::new(tree), disk, items, owner, archive, kind, token, sync_each: how.sync_each, pile };
    let shares = on_threads(how, || {
        let mut share = Share::default();
        let done = stager.run(&mut share);
        if done.is_err() {
            stager.pile.stop();
        }
        (share, done)
    });
    let tree = stager.tree.into_inner();

    let failed_before = failures.len();
    // One of every thread: only a directory that was opened before a write is sure to tell that it has failed.
    let mut devices = Vec::new();
    let mut all_done = Ok(());
    for (share, done) in shares {
        share.staged.iter().for_each(|at| stage.alive[*at] = true);
        failures.extend(share.failures);
        devices.extend(share.devices.into_values());
        all_done = all_done.and(done);
    }
    let durable = all_done.and_then(|()| {
        devices.iter().try_for_each(|(directory, path)| {
            let failed = |error| ApplyError::Disk { path: (*path).to_owned(), error };
            disk.sync_file_system(directory).map_err(failed)
        })
    });
    if let Err(error) = durable {
        stage.undo(tree, writes);
        return Err(error);
    }
    if failures.len() > failed_before {
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

    /// Removes all that is staged, and the directories made for it.
    pub(super) fn undo(&self, tree: &mut Tree<'_>, writes: &[Write]) {
        let mut at = 0;
        for group in writes.chunk_by(|a, b| (a.item, path_of(a)) == (b.item, path_of(b))) {
            if self.alive[at..at + group.len()].contains(&true)
                && let Ok(directory) = tree.directory(group[0].item, path_of(&group[0]), false)
            {
                for at in (at..at + group.len()).filter(|at| self.alive[*at]) {
                    // What cannot be removed now is removed by the next start.
                    tree.disk.remove_file(&directory, &staged_name(self.token, at)).ok();
                }
            }
            at += group.len();
        }
        tree.unmake(|_| false);
    }
}

/// What one thread did.
#[derive(Default)]
struct Share<'w> {
    /// The numbers of the writes whose content is staged.
    staged: Vec<usize>,
    failures: Vec<Failure>,
    /// A directory on every file system that was written to, unless each file is synced.
    devices: HashMap<u64, (OwnedFd, &'w str)>,
}

/// What the threads have in common.
struct Stager<'t, 'b, 'w> {
    /// Directories are opened and made by one thread at a time.
    tree: Mutex<&'t mut Tree<'b>>,
    disk: &'b Disk,
    items: &'b Items,
    owner: Option<(u32, u32)>,
    archive: &'w File,
    kind: ChecksumKind,
    token: u32,
    sync_each: bool,
    pile: Pile<'w, Write>,
}

impl<'w> Stager<'_, '_, 'w> {
    fn run(&self, share: &mut Share<'w>) -> Result<(), ApplyError> {
        let mut inflater = Inflater::new();
        let mut window = Window::new(Positioned::new(self.archive)).map_err(ArchiveError::Io)?;
        while let Some((numbers, group)) = self.pile.take(|a, b| (a.item, path_of(a)) == (b.item, path_of(b))) {
            let path = path_of(&group[0]);
            let failed = |error| ApplyError::Disk { path: path.to_owned(), error };
            let opened = self.tree.lock().directory(group[0].item, path, true);
            let directory = match opened {
                Ok(directory) => directory,
                Err(error) if concerns_all(error) => return Err(failed(error)),
                Err(error) => {
                    let reason = format!("its directory cannot be opened: {}", error.desc());
                    share.failures.extend(group.iter().map(|write| failure(write, reason.clone())));
                    continue;
                }
            };
            for (at, write) in numbers.zip(group) {
                match self.stage(&directory, at, write, &mut window, &mut inflater, &mut share.staged) {
                    Ok(()) => {}
                    Err(Fault::Archive(error)) => return Err(error.into()),
                    Err(Fault::Disk(error)) if concerns_all(error) => {
                        return Err(ApplyError::Disk { path: write.path.to_string(), error });
                    }
                    Err(Fault::Disk(error)) => {
                        if share.staged.pop_if(|last| *last == at).is_some() {
                            self.disk.remove_file(&directory, &staged_name(self.token, at)).ok();
                        }
                        share.failures.push(failure(write, error.desc().to_owned()));
                    }
                }
            }
            if self.sync_each {
                self.disk.sync(&directory).map_err(failed)?;
            } else {
                share.devices.entry(Tree::device(&directory).map_err(failed)?).or_insert((directory, path));
            }
        }
        Ok(())
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
        let mut hasher = Hasher::new(self.kind);
        window.seek(write.offset).map_err(ArchiveError::Io)?;
        inflater.run(window, &write.path, write.size, &mut |bytes| {
            hasher.update(bytes);
            if bytes.is_empty() { Ok(()) } else { disk.write(&file, bytes).map_err(Fault::Disk) }
        })?;
        if hasher.finish() != write.checksum {
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

fn failure(write: &Write, reason: String) -> Failure {
    Failure { path: write.path.to_string(), what: write.what, reason }
}
