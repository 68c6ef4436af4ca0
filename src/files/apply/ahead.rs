//! Staging large files while their archive arrives.
//!
//! What is done ahead is only what a crash, or an archive that is refused, leaves without harm: contents under staged names
//! beside their destinations. Nothing is taken from it before the whole archive has come and the plan of the update is made;
//! a write takes a content that was staged ahead by its path, item and proof, as [`super::stage`] would have written it
//! then. Whatever goes wrong here, or fits no write, goes, and the content is staged from the archive in its turn: so no
//! update depends on it.
//!
//! Small files are not worth it: what they cost is the work of the kernel to create them, which is shared out to two threads
//! later ([`super::share`]).

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io::{Read, Seek},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
};

use nix::errno::Errno;

use super::{
    plan::{Comes, Write},
    share::FEW,
    stage::staged_name,
    tree::Tree,
    update::Target,
};
use crate::files::{
    archive::{ArchiveError, Member, Survey, Visitor, visit},
    checksum::{ChecksumKind, Proof},
    items::{ItemId, Items},
    path,
};

/// Contents up to this size are staged in their turn.
const SMALL: usize = 64 * 1024;

/// An archive that was read while it arrived.
pub struct Ahead<'a> {
    pub(super) survey: Survey,
    pub(super) staged: Option<Staged<'a>>,
    kind: ChecksumKind,
    /// Device and number of the archive's file.
    identity: (u64, u64),
}

impl<'a> Ahead<'a> {
    /// Reads an archive to its end while it arrives, and stages its large files. `file` is that of the archive; the rest is
    /// as with [`Update::open`](super::Update::open).
    ///
    /// # Errors
    /// When the archive does not come, or is none. What was staged is gone then.
    pub fn read(
        source: &mut (impl Read + Seek),
        file: &File,
        items: &'a Items,
        kind: ChecksumKind,
        max_inflated: u64,
        target: &Target<'a>,
    ) -> Result<Self, ArchiveError> {
        Self::read_with((source, file), items, kind, max_inflated, target, SMALL)
    }

    pub(super) fn read_with(
        (source, file): (&mut (impl Read + Seek), &File),
        items: &'a Items,
        kind: ChecksumKind,
        max_inflated: u64,
        target: &Target<'a>,
        small: usize,
    ) -> Result<Self, ArchiveError> {
        let metadata = file.metadata()?;
        let staged = Staged::new(items, target, max_inflated);
        let mut stager = Stager { items, owner: target.owner, small, staged, state: State::Passed };
        let survey = visit(source, kind, max_inflated, &mut stager)?;
        Ok(Self { survey, staged: stager.staged.take(), kind, identity: (metadata.dev(), metadata.ino()) })
    }

    /// Whether it is this archive, with these checksums, that was read.
    pub fn is_of(&self, file: &File, kind: ChecksumKind) -> bool {
        let same = |metadata: Metadata| (metadata.dev(), metadata.ino()) == self.identity;
        self.kind == kind && file.metadata().is_ok_and(same)
    }
}

/// What is staged ahead. Dropping it removes what nobody has taken.
pub(super) struct Staged<'a> {
    tree: Tree<'a>,
    token: u32,
    /// Number of the next one.
    next: usize,
    contents: HashMap<Box<str>, Content>,
    /// By file system a directory that was opened before anything was written there: it is sure to tell if that fails.
    places: HashMap<u64, OwnedFd>,
}

/// One content that is staged.
pub(super) struct Content {
    number: usize,
    item: ItemId,
    size: u64,
    proof: Proof,
    /// Of a few: they may have to be synced by themselves.
    file: Option<File>,
}

impl Content {
    fn fits(&self, write: &Write) -> bool {
        matches!(&write.comes, Comes::Whole(proof) if *proof == self.proof)
            && (self.item, self.size) == (write.item, write.size)
    }

    /// Its file, open; none if there are more than a few.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }
}

impl<'a> Staged<'a> {
    /// Nothing yet. None where the archive and all its contents may have no room, or nothing can be staged.
    fn new(items: &'a Items, target: &Target<'a>, max_inflated: u64) -> Option<Self> {
        let mut tree = Tree::open(target.home, items, target.owner, target.disk).ok()?;
        // Whether there are many files is not known yet.
        tree.sync_made = true;
        let room = target.disk.space(&tree.home).ok()?;
        let token = getrandom::u32().ok()?;
        let (contents, places) = (HashMap::new(), HashMap::new());
        (room.bytes / 2 >= max_inflated).then_some(Self { tree, token, next: 0, contents, places })
    }

    /// Whether this content is there.
    pub(super) fn has(&self, write: &Write) -> bool {
        self.contents.get(&write.path).is_some_and(|content| content.fits(write))
    }

    /// Takes this content, with the name under which it is staged in the directory of its path.
    pub(super) fn take(&mut self, write: &Write) -> Option<(Content, String)> {
        if !self.has(write) {
            return None;
        }
        let content = self.contents.remove(&write.path)?;
        let name = staged_name(self.token, content.number);
        Some((content, name))
    }

    /// Gives back what could not be used: it goes with all that nobody takes.
    pub(super) fn give_back(&mut self, path: &str, content: Content) {
        self.contents.insert(path.into(), content);
    }

    /// A directory of this file system that was opened before anything was written there.
    pub(super) fn place(&self, device: u64) -> Option<OwnedFd> {
        self.places.get(&device)?.try_clone().ok()
    }

    /// Creates the next one, beside what has this path.
    fn create(&mut self, item: ItemId, path: &str) -> Result<(usize, File), Errno> {
        let directory = self.tree.directory(item, path::split(path).0, true)?;
        let (number, device) = (self.next, Tree::device(&directory)?);
        let file = self.tree.disk.create(&directory, &staged_name(self.token, number))?;
        self.next += 1;
        self.places.entry(device).or_insert(directory);
        Ok((number, file))
    }

    /// What cannot be removed now is removed by the next start.
    fn remove(&mut self, item: ItemId, path: &str, number: usize) {
        if let Ok(directory) = self.tree.directory(item, path::split(path).0, false) {
            self.tree.disk.remove_file(&directory, &staged_name(self.token, number)).ok();
        }
    }

    fn keep(&mut self, path: &str, content: Content) {
        if let Some(earlier) = self.contents.insert(path.into(), content) {
            self.remove(earlier.item, path, earlier.number);
        }
        if self.contents.len() > FEW {
            self.contents.values_mut().for_each(|content| content.file = None);
        }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        for (path, content) in std::mem::take(&mut self.contents) {
            self.remove(content.item, &path, content.number);
        }
        // Those in which something is stay.
        self.tree.unmake(|_| false);
    }
}

/// Stages what the reading of an archive comes by.
struct Stager<'a> {
    items: &'a Items,
    owner: Option<(u32, u32)>,
    small: usize,
    /// None once something has gone wrong: all else is staged in its turn then.
    staged: Option<Staged<'a>>,
    state: State,
}

/// How far the present member has come.
enum State {
    /// It is not staged ahead.
    Passed,
    /// This is its beginning, and it may turn out to be small.
    Begun { item: ItemId, path: String, begin: Vec<u8> },
    /// Its file is being written.
    Writing { item: ItemId, path: String, number: usize, file: File },
}

impl Stager<'_> {
    fn advance(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        match &mut self.state {
            State::Begun { item, path, begin } => {
                begin.extend_from_slice(bytes);
                if begin.len() > self.small {
                    let (item, path, begin) = (*item, std::mem::take(path), std::mem::take(begin));
                    let (number, file) = staged.create(item, &path)?;
                    self.state = State::Writing { item, path, number, file };
                    return self.advance(&begin);
                }
            }
            State::Writing { file, .. } if !bytes.is_empty() => staged.tree.disk.write(file, bytes)?,
            State::Writing { .. } | State::Passed => {}
        }
        Ok(())
    }

    fn complete(&mut self, member: &Member) -> Result<(), Errno> {
        let state = std::mem::replace(&mut self.state, State::Passed);
        let (Some(staged), State::Writing { item, path, number, file }) = (&mut self.staged, state) else {
            return Ok(());
        };
        let disk = staged.tree.disk;
        let settled = disk.set_mode(&file, self.items.item(item).mode);
        let settled = settled.and_then(|()| self.owner.map_or(Ok(()), |owner| disk.set_owner(&file, owner)));
        if settled.is_err() {
            staged.remove(item, &path, number);
            return settled;
        }
        let file = (staged.contents.len() < FEW).then_some(file);
        staged.keep(&path, Content { number, item, size: member.size, proof: member.proof.clone(), file });
        Ok(())
    }

    /// Removes everything, the present one too.
    fn give_up(&mut self) {
        let Some(mut staged) = self.staged.take() else { return };
        if let State::Writing { item, path, number, .. } = std::mem::replace(&mut self.state, State::Passed) {
            staged.remove(item, &path, number);
        }
    }
}

impl Visitor for Stager<'_> {
    fn begin(&mut self, name: &str) {
        self.state = match self.items.owner(name) {
            Some(item) if self.staged.is_some() => State::Begun { item, path: name.to_owned(), begin: Vec::new() },
            _ => State::Passed,
        };
    }

    fn piece(&mut self, bytes: &[u8]) {
        if self.advance(bytes).is_err() {
            self.give_up();
        }
    }

    fn end(&mut self, member: &Member) {
        if self.complete(member).is_err() {
            self.give_up();
        }
    }
}

impl Drop for Stager<'_> {
    fn drop(&mut self) {
        // An archive that ends in the middle of a content leaves nothing.
        self.give_up();
    }
}
