//! Writing every new content beside its destination, where nothing looks at it yet.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::plan::Write;
use super::tree::Tree;
use super::{ApplyError, Failure, path_of};
use crate::files::archive::{ArchiveError, Inflater, Window};
use crate::files::checksum::{ChecksumKind, Hasher};
use crate::files::items::{STAGED_PREFIX, STAGED_SUFFIX};

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
    archive: File,
    kind: ChecksumKind,
    writes: &[Write],
    sync_each: bool,
    failures: &mut Vec<Failure>,
) -> Result<Stage, ApplyError> {
    let token = getrandom::u32().map_err(|_| ApplyError::Disk { path: ".".to_owned(), error: Errno::EIO })?;
    let mut stage = Stage { token, alive: vec![false; writes.len()] };
    let done = Window::new(archive)
        .map_err(|error| ApplyError::Archive(ArchiveError::Io(error)))
        .and_then(|window| Stager { tree, stage: &mut stage, window, kind, sync_each }.run(writes, failures));
    match done {
        Ok(()) => Ok(stage),
        Err(error) => {
            stage.undo(tree, writes);
            Err(error)
        }
    }
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

struct Stager<'a, 'b> {
    tree: &'a mut Tree<'b>,
    stage: &'a mut Stage,
    window: Window<File>,
    kind: ChecksumKind,
    sync_each: bool,
}

impl Stager<'_, '_> {
    fn run(&mut self, writes: &[Write], failures: &mut Vec<Failure>) -> Result<(), ApplyError> {
        let mut inflater = Inflater::new();
        let mut devices: HashMap<u64, (OwnedFd, &str)> = HashMap::new();
        let failed_before = failures.len();
        let mut at = 0;
        for group in writes.chunk_by(|a, b| (a.item, path_of(a)) == (b.item, path_of(b))) {
            let numbers = at..at + group.len();
            at = numbers.end;
            let path = path_of(&group[0]);
            let failed = |error| ApplyError::Disk { path: path.to_owned(), error };
            let directory = match self.tree.directory(group[0].item, path, true) {
                Ok(directory) => directory,
                Err(error) if concerns_all(error) => return Err(failed(error)),
                Err(error) => {
                    let reason = format!("its directory cannot be opened: {}", error.desc());
                    failures.extend(group.iter().map(|write| failure(write, reason.clone())));
                    continue;
                }
            };
            for (at, write) in numbers.zip(group) {
                match self.stage(&directory, at, write, &mut inflater) {
                    Ok(()) => {}
                    Err(Fault::Archive(error)) => return Err(error.into()),
                    Err(Fault::Disk(error)) if concerns_all(error) => {
                        return Err(ApplyError::Disk { path: write.path.to_string(), error });
                    }
                    Err(Fault::Disk(error)) => {
                        if std::mem::take(&mut self.stage.alive[at]) {
                            self.tree.disk.remove_file(&directory, &staged_name(self.stage.token, at)).ok();
                        }
                        failures.push(failure(write, error.desc().to_owned()));
                    }
                }
            }
            if self.sync_each {
                self.tree.disk.sync(&directory).map_err(failed)?;
            } else {
                devices.entry(Tree::device(&directory).map_err(failed)?).or_insert((directory, path));
            }
        }
        for (directory, path) in devices.values() {
            let failed = |error| ApplyError::Disk { path: (*path).to_owned(), error };
            self.tree.disk.sync_file_system(directory).map_err(failed)?;
        }
        if failures.len() > failed_before {
            let alive = &self.stage.alive;
            self.tree
                .unmake(|made| writes.iter().zip(alive).any(|(write, alive)| *alive && write.path.starts_with(made)));
        }
        Ok(())
    }

    fn stage(&mut self, directory: &OwnedFd, at: usize, write: &Write, inflater: &mut Inflater) -> Result<(), Fault> {
        let disk = self.tree.disk;
        let name = staged_name(self.stage.token, at);
        let file = disk.create(directory, &name)?;
        self.stage.alive[at] = true;
        // The survey verified this content, but it is read a second time here, and the file may lie where others can
        // write: what counts is what is written now.
        let mut hasher = Hasher::new(self.kind);
        self.window.seek(write.offset).map_err(ArchiveError::Io)?;
        inflater.run(&mut self.window, &write.path, write.size, &mut |bytes| {
            hasher.update(bytes);
            if bytes.is_empty() { Ok(()) } else { disk.write(&file, bytes).map_err(Fault::Disk) }
        })?;
        if hasher.finish() != write.checksum {
            let reason = "its checksum is not what it was".to_owned();
            return Err(ArchiveError::Corrupt { name: write.path.to_string(), reason }.into());
        }
        disk.set_mode(&file, self.tree.items.item(write.item).mode)?;
        if let Some(owner) = self.tree.owner {
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
