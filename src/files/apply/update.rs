//! A received update: checked when it is opened, then applied in its parts.

use std::{fs::File, path::Path, sync::Arc};

use parking_lot::Mutex;

use super::{
    ahead::{Ahead, Staged},
    newer::Contents,
    outcome::Outcome,
    part::Applying,
    plan::Plan,
    share::{FEW, How, MANY},
    stage::Source,
    tree::Tree,
};
use crate::{
    files::{
        archive::{ArchiveError, Survey, survey},
        checksum::ChecksumKind,
        compare::Counts,
        items::Items,
        outline::Outlines,
        remote::RemoteUpdate,
    },
    system::disk::Disk,
};

/// Where and as whom an update is applied.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The home directory.
    pub home: &'a Path,
    /// User and group of new files and directories; `None` leaves those of the process.
    pub owner: Option<(u32, u32)>,
    /// The disk.
    pub disk: &'a Disk,
    /// What is known of the large files that are there; without it, nothing that comes as a difference is taken.
    pub outlines: Option<&'a Outlines>,
}

/// A received update, verified and ready to be applied.
pub struct Update<'a> {
    items: Arc<Items>,
    kind: ChecksumKind,
    file: File,
    plan: Plan,
    counts: Counts,
    ahead: Option<Staged<'a>>,
}

impl<'a> Update<'a> {
    /// Surveys the archive and checks every entry of its metadata. Entries that are at fault become failures of the
    /// outcome.
    ///
    /// `file` is open for reading. `kind` is the link's checksum, `contents` says which contents are taken, `max_inflated`
    /// bounds all of them in bytes ([`MOST_INFLATED`](crate::files::archive::MOST_INFLATED)).
    ///
    /// # Errors
    /// When the archive or its metadata cannot be read; the master is at fault.
    pub fn open(
        mut file: File,
        items: &Arc<Items>,
        kind: ChecksumKind,
        contents: Contents<'_>,
        max_inflated: u64,
    ) -> Result<Self, ArchiveError> {
        let survey = survey(&mut file, kind, max_inflated)?;
        Self::plan(file, items, kind, contents, max_inflated, (survey, None))
    }

    /// [`Update::open`] of an archive that was read while it arrived, with the same checksums and bound.
    ///
    /// # Errors
    /// As [`Update::open`].
    pub fn open_read(
        file: File,
        items: &Arc<Items>,
        kind: ChecksumKind,
        contents: Contents<'_>,
        max_inflated: u64,
        ahead: Ahead<'a>,
    ) -> Result<Self, ArchiveError> {
        Self::plan(file, items, kind, contents, max_inflated, (ahead.survey, ahead.staged))
    }

    fn plan(
        file: File,
        items: &Arc<Items>,
        kind: ChecksumKind,
        contents: Contents<'_>,
        max_inflated: u64,
        (mut survey, ahead): (Survey, Option<Staged<'a>>),
    ) -> Result<Self, ArchiveError> {
        let lists = RemoteUpdate::parse(&std::mem::take(&mut survey.metadata), kind)?;
        // What is made from what is there is as much as if it had come.
        let lists_all = [&lists.create, &lists.update].into_iter().flat_map(|list| list.entries());
        let made = lists_all.filter_map(|entry| Some(entry.made?.get())).fold(0, u64::saturating_add);
        if made > max_inflated - survey.inflated {
            return Err(ArchiveError::TooLarge { limit: max_inflated });
        }
        let [create, update, delete] = [&lists.create, &lists.update, &lists.delete].map(|list| list.entries().len());
        let counts = Counts { create, update, delete };
        let plan = Plan::new(&lists, &file, &survey.members, items, contents);
        Ok(Self { items: items.clone(), kind, file, plan, counts, ahead })
    }

    /// How many files it is about.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the outcome of the update says something of this path.
    pub fn names(&self, path: &str) -> bool {
        let Plan { keys, others, failures, .. } = &self.plan;
        failures.iter().any(|failure| failure.path == path) || keys.names(path) || others.names(path)
    }

    /// The paths that it may replace or delete.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let Plan { keys, others, .. } = &self.plan;
        keys.all().chain(others.all()).map(|(path, _)| path)
    }

    /// Replaces and deletes what can be replaced and deleted; all else is in the outcome, by name.
    pub fn apply(self, target: &Target<'_>) -> Outcome {
        self.apply_with(target, FEW, MANY)
    }

    pub(super) fn apply_with(self, target: &Target<'_>, few: usize, many: usize) -> Outcome {
        let Self { items, kind, file, plan, ahead, .. } = self;
        let ahead = ahead.map(Mutex::new);
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
            let source = Source { archive: &file, kind, outlines: target.outlines, ahead: ahead.as_ref() };
            Applying { tree, home: target.home, source, part, how, outcome: &mut outcome }.run();
        }
        outcome
    }
}
