//! Applying one part of an update: all steps, in their order.

use std::path::Path;

use nix::errno::Errno;

use super::{
    execute::Execution,
    journal,
    outcome::{Failure, Outcome, What},
    plan::Part,
    recover::recover,
    share::How,
    space,
    stage::{Made, Refused, Source, Stage},
    step::{Did, Mounts, Step},
    tree::Tree,
};
use crate::system::stamp::Stamp;

/// A part that is being applied.
pub(super) struct Applying<'a, 'p, 's> {
    pub(super) tree: Tree<'a>,
    pub(super) home: &'a Path,
    pub(super) source: Source<'a, 's>,
    pub(super) part: &'p Part,
    pub(super) how: How,
    pub(super) outcome: &'a mut Outcome,
}

impl<'p> Applying<'_, 'p, '_> {
    pub(super) fn run(mut self) {
        let part = self.part;
        if journal::exists(&self.tree) {
            // The journal of an earlier update could not be removed. Its names must not be mixed with ours.
            recover(self.home, self.tree.items, self.tree.disk);
        }
        self.tree.sync_made = self.how.sync_each;
        let mut refused = space::check(&mut self.tree, part, |write| self.source.has(write));
        let (stage, failures) = match self.source.stage(&mut self.tree, &part.writes, self.how, &mut refused) {
            Ok(staged) => staged,
            Err(error) => return self.outcome.fail(part.all(), error.desc()),
        };
        self.outcome.failures.extend(failures);
        let other_base = stage.other_base.iter().map(|at| part.writes[*at].path.to_string());
        self.outcome.other_base.extend(other_base);
        self.tell_refused(&refused);
        let mut steps = Vec::with_capacity(part.count());
        steps.extend(stage.alive().map(|at| Step::put(&part.writes[at], at)));
        let stays = |directory| refused.contains_key(&directory);
        steps.extend(part.removals.iter().filter(|removal| !stays(removal.directory())).map(Step::remove));
        steps.sort_unstable();
        self.carry_out(stage, steps);
    }

    fn tell_refused(&mut self, refused: &Refused<'_>) {
        let writes = self.part.writes.iter().map(|write| (&*write.path, write.what, write.directory()));
        let removals = self.part.removals.iter().map(|gone| (&*gone.path, What::Delete, gone.directory()));
        for (path, what, directory) in writes.chain(removals) {
            if let Some(reason) = refused.get(&directory) {
                self.outcome.fail(std::iter::once((path, what)), reason);
            }
        }
    }

    /// Carries out the steps under a journal, but for one that is alone: a rename is whole by itself.
    fn carry_out(&mut self, mut stage: Stage, mut steps: Vec<Step<'p>>) {
        if steps.len() == 1 && !journal::exists(&self.tree) {
            steps = self.execute(&stage, &steps, Mounts::Leave);
        }
        if steps.is_empty() {
            return;
        }
        let committed = journal::commit(&self.tree, stage.token, &steps);
        match committed {
            Ok(()) => _ = self.execute(&stage, &steps, Mounts::Overwrite),
            Err(error) => self.without_journal(&mut stage, &steps, error),
        }
        if let Err(error) = journal::remove(&self.tree)
            && (committed.is_ok() || journal::exists(&self.tree))
        {
            self.outcome.fail(std::iter::once((journal::PATH, What::Sync)), error.desc());
        }
    }

    /// There is no journal, so only those steps are carried out of which a directory has one.
    fn without_journal(&mut self, stage: &mut Stage, steps: &[Step<'p>], error: Errno) {
        let (mut alone, mut left) = (Vec::new(), Vec::new());
        for group in steps.chunk_by(|a, b| a.group() == b.group()) {
            if let [step] = group { alone.push(*step) } else { left.extend_from_slice(group) }
        }
        left.extend(self.execute(stage, &alone, Mounts::Leave));
        left.sort_unstable();
        stage.undo(&mut self.tree, &self.part.writes, |directory| {
            left.binary_search_by_key(&directory, Step::group).is_ok()
        });
        let reason = format!(
            "the journal '{}', without which it is not changed, cannot be written: {}",
            journal::PATH,
            error.desc()
        );
        let what = |step: &Step<'_>| step.staged.map_or(What::Delete, |at| self.part.writes[at].what);
        self.outcome.fail(left.iter().map(|step| (step.path, what(step))), &reason);
    }

    /// Gives those that are mounts, if they are to be left.
    fn execute(&mut self, stage: &Stage, steps: &[Step<'p>], mounts: Mounts) -> Vec<Step<'p>> {
        let (writes, outcome) = (&self.part.writes, &mut *self.outcome);
        let (home, outlines) = (self.home, self.source.outlines);
        let mut left = Vec::new();
        let execution = Execution { token: stage.token, how: self.how, mounts };
        execution.run(&mut self.tree, steps, &mut |did, path, done| {
            let (what, size) = match did {
                Did::Put(at) if done == Err(Errno::EBUSY) && mounts == Mounts::Leave => {
                    return left.push(Step::put(&writes[at], at));
                }
                Did::Put(at) => (writes[at].what, writes[at].size),
                Did::Remove => (What::Delete, 0),
                Did::Sync => (What::Sync, 0),
            };
            if let (Did::Put(at), Ok(true), Some(outlines)) = (did, done, outlines)
                && let Some(Made { course, stamp }) = stage.made.get(&at)
            {
                // Whoever has written to it since has changed more than its name.
                let now = Stamp::of(&home.join(path)).ok().filter(|now| now.is_renamed(stamp));
                outlines.written(path, course.clone(), now);
            }
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
        left
    }
}
