//! Writing every new content beside its destination, durably, before anything is replaced.

use std::{collections::HashMap, fs::File, ops::Range, os::fd::OwnedFd, sync::Arc};

use nix::errno::Errno;
use parking_lot::Mutex;

use super::{
    ahead::Staged,
    make::Making,
    outcome::Failure,
    plan::{Comes, Directory, Write},
    share::{How, Pile, on_threads},
    tree::Tree,
};
use crate::{
    files::{
        archive::{ArchiveError, Inflater, Positioned, Window},
        checksum::{ChecksumKind, ContentSum, Proof, Prover},
        delta,
        items::{Items, STAGED_PREFIX, STAGED_SUFFIX},
        outline::{Course, Outlines},
    },
    system::{disk::Disk, stamp::Stamp},
};

/// Directories that stay as they are, each with the reason as a sentence without its end.
pub(super) type Refused<'p> = HashMap<Directory<'p>, String>;

/// What is staged.
pub(super) struct Stage {
    /// Part of every staged name of this update: a journal that was left over can never mean the files of another.
    pub(super) token: u32,
    /// By write: whether its content is staged.
    alive: Vec<bool>,
    /// Writes that would have been made from a file that is not there.
    pub(super) other_base: Vec<usize>,
    /// What is known of those that were made.
    pub(super) made: HashMap<usize, Made>,
}

/// A staged content that was made from the file that it is to replace.
pub(super) struct Made {
    pub(super) course: Arc<Course>,
    /// Of the staged file.
    pub(super) stamp: Stamp,
}

/// The name under which write number `at` is staged.
pub(super) fn staged_name(token: u32, at: usize) -> String {
    format!("{STAGED_PREFIX}{token:08x}-{at}{STAGED_SUFFIX}")
}

/// Why a file is not staged.
pub(super) enum Fault {
    Disk(Errno),
    Archive(ArchiveError),
    /// The file that is there is not the one from which the delta makes it.
    OtherBase,
}

impl From<delta::Fault> for Fault {
    fn from(_: delta::Fault) -> Self {
        Self::OtherBase
    }
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Disk(error)
    }
}

/// Whether there is no room. What is staged of a directory then goes, so that others of its size or smaller may fit.
fn is_no_room(error: Errno) -> bool {
    matches!(error, Errno::ENOSPC | Errno::EDQUOT)
}

/// Where the contents come from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, 's> {
    /// The archive, which was surveyed.
    pub(super) archive: &'a File,
    /// By what its contents are known.
    pub(super) kind: ChecksumKind,
    /// Of the files that are there, if deltas are taken.
    pub(super) outlines: Option<&'a Outlines>,
    /// What is staged already.
    pub(super) ahead: Option<&'a Mutex<Staged<'s>>>,
}

impl Source<'_, '_> {
    /// Whether this is staged already.
    pub(super) fn has(&self, write: &Write) -> bool {
        self.ahead.is_some_and(|ahead| ahead.lock().has(write))
    }

    /// Stages all writes durably, but for those of refused directories. A file that fails is among the failures and the
    /// others go on; a directory for which there is no room, or that cannot be made durable, joins the refused ones.
    ///
    /// # Errors
    /// When there is no randomness for the names; nothing was touched.
    pub(super) fn stage<'w>(
        self,
        tree: &mut Tree<'_>,
        writes: &'w [Write],
        how: How,
        refused: &mut Refused<'w>,
    ) -> Result<(Stage, Vec<Failure>), Errno> {
        let token = getrandom::u32().map_err(|_| Errno::EIO)?;
        let (mut stage, mut failures) = (
            Stage { token, alive: vec![false; writes.len()], other_base: Vec::new(), made: HashMap::new() },
            Vec::new(),
        );
        let (disk, items, owner) = (tree.disk, tree.items, tree.owner);
        let pile = Pile::new(writes, how);
        let (tree, so_far, sync_each) = (Mutex::new(tree), Mutex::new(std::mem::take(refused)), how.sync_each);
        let stager = Stager { tree, refused: so_far, disk, items, owner, source: self, token, sync_each, pile };
        let shares = on_threads(how, || Hand::new(&stager).run());
        let tree = stager.tree.into_inner();
        *refused = stager.refused.into_inner();

        for share in shares {
            share.staged.iter().for_each(|at| stage.alive[*at] = true);
            failures.extend(share.failures);
            stage.other_base.extend(share.other_base);
            stage.made.extend(share.made);
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
        Ok((stage, failures))
    }
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
    other_base: Vec<usize>,
    made: HashMap<usize, Made>,
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
struct Stager<'t, 'b, 'w, 's> {
    /// Directories are opened and made by one thread at a time.
    tree: Mutex<&'t mut Tree<'b>>,
    refused: Mutex<Refused<'w>>,
    disk: &'b Disk,
    items: &'b Items,
    owner: Option<(u32, u32)>,
    source: Source<'t, 's>,
    token: u32,
    sync_each: bool,
    pile: Pile<'w, Write>,
}

impl<'w> Stager<'_, '_, 'w, '_> {
    fn refuse(&self, group: Directory<'w>, reason: String) {
        self.refused.lock().insert(group, reason);
    }

    fn is_refused(&self, group: Directory<'w>) -> bool {
        self.refused.lock().contains_key(&group)
    }

    fn remove(&self, directory: &OwnedFd, at: usize) {
        // What cannot be removed now is removed by the next start.
        self.disk.remove_file(directory, &staged_name(self.token, at)).ok();
    }
}

/// One thread that stages.
struct Hand<'h, 't, 'b, 'w, 's> {
    stager: &'h Stager<'t, 'b, 'w, 's>,
    window: Window<Positioned<'t>>,
    inflater: Inflater,
    share: Share<'w>,
}

impl<'h, 't, 'b, 'w, 's> Hand<'h, 't, 'b, 'w, 's> {
    fn new(stager: &'h Stager<'t, 'b, 'w, 's>) -> Self {
        let window = Window::at_start(Positioned::new(stager.source.archive));
        Self { stager, window, inflater: Inflater::new(), share: Share::default() }
    }

    fn run(mut self) -> Share<'w> {
        let stager = self.stager;
        while let Some((numbers, writes)) = stager.pile.take(|a, b| a.directory() == b.directory()) {
            let group = writes[0].directory();
            if stager.is_refused(group) {
                continue;
            }
            let opened = stager.tree.lock().directory(group.0, group.1, true);
            match opened {
                Ok(directory) => self.group(directory, group, numbers, writes),
                Err(error) if is_no_room(error) => stager.refuse(group, no_room(group, error)),
                Err(error) => {
                    let reason = format!("its directory cannot be opened: {}", error.desc());
                    self.share.failures.extend(writes.iter().map(|write| failure(write, reason.clone())));
                }
            }
        }
        self.share
    }

    /// The writes of one directory, with their numbers.
    fn group(&mut self, directory: OwnedFd, group: Directory<'w>, numbers: Range<usize>, writes: &[Write]) {
        let (stager, first) = (self.stager, self.share.staged.len());
        for (at, write) in numbers.zip(writes) {
            let reason = match self.stage(&directory, at, write) {
                Ok(()) => continue,
                Err(Fault::Disk(error)) if is_no_room(error) => {
                    stager.refuse(group, no_room(group, error));
                    break;
                }
                Err(Fault::Disk(error)) => Some(error.desc().to_owned()),
                Err(Fault::Archive(error)) => Some(format!("the archive was changed while it was applied: {error}")),
                Err(Fault::OtherBase) => None,
            };
            if self.share.staged.pop_if(|last| *last == at).is_some() {
                stager.remove(&directory, at);
            }
            match reason {
                Some(reason) => self.share.failures.push(failure(write, reason)),
                None => self.share.other_base.push(at),
            }
        }
        if stager.is_refused(group) {
            // At once, and not when all have ended: there is room for others then.
            self.share.staged.drain(first..).for_each(|at| stager.remove(&directory, at));
        } else if self.share.staged.len() > first {
            self.settle(directory, group);
        }
    }

    /// Makes the names in a directory durable, or remembers to.
    fn settle(&mut self, directory: OwnedFd, group: Directory<'w>) {
        if self.stager.sync_each {
            if let Err(error) = self.stager.disk.sync(&directory) {
                self.stager.refuse(group, not_durable(group, error));
            }
            return;
        }
        match Tree::device(&directory) {
            Ok(device) => {
                let earlier = self.stager.source.ahead.and_then(|ahead| ahead.lock().place(device));
                let directory = earlier.unwrap_or(directory);
                let written = self.share.written.entry(device).or_insert(Written { directory, groups: Vec::new() });
                written.groups.push(group);
            }
            Err(error) => self.stager.refuse(group, not_durable(group, error)),
        }
    }

    /// Gives what is staged already the name of this write; false if it cannot be used.
    fn adopt(&mut self, directory: &OwnedFd, at: usize, write: &Write) -> bool {
        let Stager { disk, source, token, sync_each, .. } = self.stager;
        let Some(ahead) = source.ahead else { return false };
        let Some((content, name)) = ahead.lock().take(write) else { return false };
        let durable = !sync_each || content.file().is_some_and(|file| disk.sync(file).is_ok());
        if durable && disk.rename(directory, &name, &staged_name(*token, at)).is_ok() {
            self.share.staged.push(at);
            return true;
        }
        ahead.lock().give_back(&write.path, content);
        false
    }

    fn stage(&mut self, directory: &OwnedFd, at: usize, write: &Write) -> Result<(), Fault> {
        if self.adopt(directory, at, write) {
            return Ok(());
        }
        let Stager { disk, items, owner, token, sync_each, .. } = self.stager;
        let file = disk.create(directory, &staged_name(*token, at))?;
        self.share.staged.push(at);
        self.window.seek(write.offset).map_err(ArchiveError::Io)?;
        let course = match &write.comes {
            Comes::Whole(proof) => self.write(&file, write, proof).map(|()| None)?,
            Comes::Delta { length, sum } => self.make(directory, &file, write, (*length, sum)).map(Some)?,
        };
        disk.set_mode(&file, items.item(write.item).mode)?;
        if let Some(owner) = owner {
            disk.set_owner(&file, *owner)?;
        }
        if *sync_each {
            disk.sync(&file)?;
        }
        if let Some(course) = course
            && let Ok(stamp) = Stamp::of_file(&file)
        {
            self.share.made.insert(at, Made { course, stamp });
        }
        Ok(())
    }
}

impl Hand<'_, '_, '_, '_, '_> {
    /// The survey verified this content, but it is read a second time here, and the file may lie where others can write: what
    /// counts is what is written now.
    fn write(&mut self, file: &File, write: &Write, proof: &Proof) -> Result<(), Fault> {
        let Stager { disk, source, .. } = self.stager;
        let mut prover = Prover::new(source.kind);
        self.inflater.run(&mut self.window, &write.path, write.size, &mut |bytes| {
            prover.update(bytes);
            if bytes.is_empty() { Ok(()) } else { disk.write(file, bytes).map_err(Fault::Disk) }
        })?;
        if prover.finish() != *proof {
            let reason = "its checksum is not what it was".to_owned();
            return Err(ArchiveError::Corrupt { name: write.path.to_string(), reason }.into());
        }
        Ok(())
    }

    /// Makes the content from the file that is there. Whatever that holds, only the content with this `sum` counts.
    fn make(
        &mut self,
        directory: &OwnedFd,
        file: &File,
        write: &Write,
        (length, sum): (u64, &ContentSum),
    ) -> Result<Arc<Course>, Fault> {
        let Stager { disk, source, .. } = self.stager;
        let outlines = source.outlines.ok_or(Fault::OtherBase)?;
        let mut making = Making::begin((disk, directory, file), write, outlines).ok_or(Fault::OtherBase)?;
        self.inflater.run(&mut self.window, &write.path, length, &mut |bytes| making.take(bytes))?;
        making.finish(sum).ok_or(Fault::OtherBase)
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
