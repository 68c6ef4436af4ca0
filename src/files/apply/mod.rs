//! Applying a master's update on a worker (`spec/protocol.md` 10.7) so that a crash at any instant leaves every file
//! with its old or its new content, and the next start makes it whole; and so that what cannot be applied holds up
//! nothing else.
//!
//! The keys of the agents come first, by themselves, then all the rest, each in these steps:
//!
//! | step | where | a crash here | a failure here |
//! |---|---|---|---|
//! | survey the archive, check every entry | [`Update::open`], `plan`, `newer` | nothing was touched | the entry is named |
//! | is there room? | `space` | nothing was touched | the directory stays as it is |
//! | write every content beside its destination, durably | `stage` | temporary files are left, [`recover`] removes them | the file stays; its directory does, if the disk is full |
//! | write the journal, durably: **the changes count from here on** | `journal` | either before or after | directories with one change go on |
//! | rename all, delete the surplus, remove emptied directories, durably | `execute` | [`recover`] does it again | the file stays |
//! | remove the journal | `journal` | [`recover`] finds nothing left to do | the next update does it |
//!
//! So a directory changes as a whole, over any crash and on a full disk, if all its files can be written. A file that
//! cannot be, for a reason of its own, is named, and the others go on. One change alone needs no journal: a rename is
//! whole by itself. A file that is a mount is written over (`in_place`), for which there is one.
//!
//! Nothing outside the items' directories can be touched: paths are checked lexically, and every directory below an
//! item's own is opened name by name without following a link (`tree`).
//!
//! The files of a large update are staged, and later renamed, by two threads (`share`); the steps of the table follow
//! each other all the same.

mod execute;
mod in_place;
mod journal;
mod newer;
mod part;
mod plan;
mod recover;
mod share;
mod space;
mod stage;
mod tree;

pub use journal::NAME as JOURNAL;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use self::part::Applying;
use self::plan::Plan;
use self::share::How;
use self::tree::Tree;
use super::archive::{ArchiveError, survey};
use super::checksum::ChecksumKind;
use super::items::Items;
use super::remote::RemoteUpdate;
use crate::system::disk::Disk;

pub use self::newer::Contents;
pub use self::recover::{Recovery, recover};

/// Up to this many files each is synced by itself; beyond, whole file systems are.
const FEW: usize = 64;

/// From this many files on two threads write them.
const MANY: usize = 256;

/// Where and as whom an update is applied.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The home directory.
    pub home: &'a Path,
    /// User and group of new files and directories; `None` leaves those of the process.
    pub owner: Option<(u32, u32)>,
    /// The disk.
    pub disk: &'a Disk,
}

/// What was to be done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The worker lacked it.
    Create,
    /// Its content differed.
    Update,
    /// The master does not have it.
    Delete,
    /// The change of a directory could not be made durable.
    Sync,
}

/// One file that stays as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As the master named it: may be anything. A directory, with a slash at its end, for [`What::Sync`].
    pub path: String,
    /// What was to be done.
    pub what: What,
    /// Why it was not, as a sentence without its end.
    pub reason: String,
}

/// What an update did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Files that were not there before.
    pub created: usize,
    /// Files that have another content now.
    pub updated: usize,
    /// Files that are gone.
    pub deleted: usize,
    /// Files that could not be dealt with. They did not hinder the others.
    pub failures: Vec<Failure>,
    /// Files that the master was changing when it sent them ([`Contents::OrNewer`]); the next check brings them.
    pub unsettled: Vec<String>,
    /// Bytes of content written.
    pub bytes: u64,
}

/// A received update, verified and ready to be applied.
pub struct Update {
    items: Arc<Items>,
    kind: ChecksumKind,
    file: File,
    plan: Plan,
    counts: [usize; 3],
}

impl Update {
    /// Surveys the archive and checks every entry of its metadata. Entries that are at fault become failures of the
    /// outcome; an archive that cannot be read is an error (the master's fault).
    ///
    /// `file` is open for reading. `kind` is the link's checksum, `contents` says which contents are taken, `max_inflated`
    /// bounds all of them in bytes ([`MAX_INFLATED`](super::archive::MAX_INFLATED)).
    pub fn open(
        mut file: File,
        items: &Arc<Items>,
        kind: ChecksumKind,
        contents: Contents<'_>,
        max_inflated: u64,
    ) -> Result<Update, ArchiveError> {
        let mut survey = survey(&mut file, kind, max_inflated)?;
        let lists = RemoteUpdate::parse(&std::mem::take(&mut survey.metadata), kind)?;
        let counts = [&lists.missing, &lists.shared, &lists.extra].map(|list| list.entries().len());
        let plan = Plan::new(&lists, &file, &survey.members, items, contents);
        Ok(Update { items: Arc::clone(items), kind, file, plan, counts })
    }

    /// How many files the worker lacks.
    pub fn missing_count(&self) -> usize {
        self.counts[0]
    }

    /// How many files have another content.
    pub fn shared_count(&self) -> usize {
        self.counts[1]
    }

    /// How many files are surplus.
    pub fn extra_count(&self) -> usize {
        self.counts[2]
    }

    /// Whether the outcome of the update says something of this path.
    pub fn names(&self, path: &str) -> bool {
        let Plan { keys, others, failures, .. } = &self.plan;
        failures.iter().any(|failure| failure.path == path) || keys.names(path) || others.names(path)
    }

    /// Replaces and deletes what can be replaced and deleted; all else is in the outcome, by name.
    pub fn apply(self, target: &Target<'_>) -> Outcome {
        self.apply_with(target, FEW, MANY)
    }

    fn apply_with(self, target: &Target<'_>, few: usize, many: usize) -> Outcome {
        let Update { items, kind, file, plan, .. } = self;
        let Plan { keys, others, failures, unsettled } = plan;
        let mut outcome = Outcome { failures, unsettled, ..Outcome::default() };
        for part in [keys, others].iter().filter(|part| part.count() > 0) {
            let tree = match Tree::open(target.home, &items, target.owner, target.disk) {
                Ok(tree) => tree,
                Err(error) => {
                    let reason = format!("the home directory cannot be opened: {}", error.desc());
                    outcome.fail(part.all(), &reason);
                    continue;
                }
            };
            let how = How::new(part.count(), few, many);
            Applying { tree, home: target.home, archive: &file, kind, part, how, outcome: &mut outcome }.run();
        }
        outcome
    }
}

impl Outcome {
    fn fail<'p>(&mut self, what: impl Iterator<Item = (&'p str, What)>, reason: &str) {
        self.failures.extend(what.map(|(path, what)| Failure {
            path: path.to_owned(),
            what,
            reason: reason.to_owned(),
        }));
    }
}

#[cfg(test)]
mod tests;
