//! Applying a master's update on a worker (`spec/protocol.md` 10.7) so that a crash at any instant leaves every file
//! with its old or its new content, and the next start makes it whole.
//!
//! | step | where | a crash or failure here |
//! |---|---|---|
//! | survey the archive, check every entry | [`Update::open`], `plan` | nothing was touched |
//! | is there room for all? | `space` | nothing was touched |
//! | write every content beside its destination, durably | `stage` | temporary files are left, [`recover`] removes them |
//! | write the journal, durably: **the update counts from here on** | `journal` | either before or after |
//! | rename all, delete the surplus, remove emptied directories, durably | `execute` | [`recover`] does it again |
//! | remove the journal | `journal` | [`recover`] finds nothing left to do |
//!
//! Nothing outside the items' directories can be touched: paths are checked lexically, and every directory below an
//! item's own is opened name by name without following a link (`tree`).
//!
//! The files of a large update are staged, and later renamed, by two threads (`share`); the steps of the table follow
//! each other all the same.

mod execute;
mod journal;
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

use nix::errno::Errno;

use self::execute::{Step, execute};
use self::plan::Plan;
use self::share::How;
use self::tree::Tree;
use super::archive::{ArchiveError, survey};
use super::checksum::ChecksumKind;
use super::items::Items;
use super::remote::RemoteUpdate;
use crate::system::disk::Disk;

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
    /// Bytes of content written.
    pub bytes: u64,
}

/// The update as a whole was refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The disk is too full for all new contents beside the old ones. This node is at fault.
    #[error("not enough room for the update below '{directory}': {needed} bytes needed, {free} free")]
    Space {
        /// A directory on the full file system, relative to the home.
        directory: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The file system can take too few more files. This node is at fault.
    #[error("not enough room for the update below '{directory}': {needed} new files needed, {free} possible")]
    Files {
        /// A directory on the full file system, relative to the home.
        directory: String,
        /// Files.
        needed: u64,
        /// Files.
        free: u64,
    },
    /// The disk failed before anything was replaced. This node is at fault.
    #[error("'{path}' cannot be written, so nothing of the update was applied: {}", error.desc())]
    Disk {
        /// What was being written, relative to the home.
        path: String,
        /// What the system says.
        error: Errno,
    },
    /// The archive is not any more what it was when it was surveyed.
    #[error("the archive was changed while it was applied: {0}")]
    Archive(#[from] ArchiveError),
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
    /// `file` is open for reading. `kind` is the link's checksum, `max_inflated` bounds all contents in bytes
    /// ([`MAX_INFLATED`](super::archive::MAX_INFLATED)).
    pub fn open(
        mut file: File,
        items: &Arc<Items>,
        kind: ChecksumKind,
        max_inflated: u64,
    ) -> Result<Update, ArchiveError> {
        let mut survey = survey(&mut file, kind, max_inflated)?;
        let lists = RemoteUpdate::parse(&std::mem::take(&mut survey.metadata), kind)?;
        let counts = [&lists.missing, &lists.shared, &lists.extra].map(|list| list.entries().len());
        let plan = Plan::new(&lists, &survey.members, items);
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

    /// Replaces the files. An error means that nothing was changed; single files that fail are in the outcome.
    pub fn apply(self, target: &Target<'_>) -> Result<Outcome, ApplyError> {
        self.apply_with(target, FEW, MANY)
    }

    fn apply_with(self, target: &Target<'_>, few: usize, many: usize) -> Result<Outcome, ApplyError> {
        let Update { items, kind, file, plan, .. } = self;
        let Plan { writes, removals, failures } = plan;
        let mut outcome = Outcome { failures, ..Outcome::default() };
        if writes.is_empty() && removals.is_empty() {
            return Ok(outcome);
        }
        let at_home = |error| ApplyError::Disk { path: ".".to_owned(), error };
        let mut tree = Tree::open(target.home, &items, target.owner, target.disk).map_err(at_home)?;
        if journal::exists(&tree) {
            // The journal of an earlier update could not be removed. Its names must not be mixed with ours.
            recover(target.home, &items, target.disk);
        }
        space::check(&mut tree, &writes)?;
        let how = How::new(writes.len() + removals.len(), few, many);
        tree.sync_made = how.sync_each;
        let stage = stage::run(&mut tree, &file, kind, &writes, how, &mut outcome.failures)?;

        let mut steps: Vec<Step<'_>> = Vec::with_capacity(writes.len() + removals.len());
        steps.extend(stage.alive().map(|at| Step::put(&writes[at], at)));
        steps.extend(removals.iter().map(Step::remove));
        steps.sort_unstable();
        if steps.is_empty() {
            return Ok(outcome);
        }
        if let Err(error) = journal::commit(&tree, stage.token, &steps) {
            journal::remove(&tree).ok();
            stage.undo(&mut tree, &writes);
            return Err(ApplyError::Disk { path: journal::PATH.to_owned(), error });
        }
        execute(&mut tree, stage.token, &steps, how, &mut |what, path, done| {
            let (what, size) = match (what, path) {
                (execute::Did::Put(at), _) => (writes[at].what, writes[at].size),
                (execute::Did::Remove, _) => (What::Delete, 0),
                (execute::Did::Sync, _) => (What::Sync, 0),
            };
            match (done, what) {
                (Err(error), _) => {
                    let reason = error.desc().to_owned();
                    outcome.failures.push(Failure { path: path.to_owned(), what, reason });
                }
                (Ok(true), What::Create) => outcome.created += 1,
                (Ok(true), What::Update) => outcome.updated += 1,
                (Ok(true), What::Delete) => outcome.deleted += 1,
                _ => {}
            }
            if done.is_ok() {
                outcome.bytes += size;
            }
        });
        if let Err(error) = journal::remove(&tree) {
            let path = journal::PATH.to_owned();
            outcome.failures.push(Failure { path, what: What::Sync, reason: error.desc().to_owned() });
        }
        Ok(outcome)
    }
}

/// The directory of a write, with its slash.
fn path_of(write: &plan::Write) -> &str {
    super::path::split(&write.path).0
}

#[cfg(test)]
mod tests;
