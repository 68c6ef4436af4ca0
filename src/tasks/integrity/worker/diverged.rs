//! What this node has alone as a former master is set aside before the new master's files take its place.

use super::{Integrity, sync::NotSynchronised};
use crate::{files::Update, logging::warn, term};

/// How many paths the log names.
const NAMED: usize = 20;

impl Integrity<'_> {
    /// To be called before `update` is applied.
    ///
    /// # Errors
    /// When something cannot be set aside; nothing may be applied then.
    pub(super) fn set_aside(&self, update: &Update) -> Result<(), NotSynchronised> {
        let Some(term) = self.node.term.former() else { return Ok(()) };
        let aside = term::set_aside(&self.node.home, &self.files.disk, term, update.paths());
        let aside = aside.map_err(|error| NotSynchronised::NotSetAside(term, error))?;
        if !aside.is_empty() {
            let more = aside.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            warn!(
                self.syncs.scope(),
                "As the master of term {term}, this node had {} files that the present master has not, or has otherwise. They were \
                 set aside in queue/diverged/{term}, with a list: {}{more}. Copy what is wanted to the master, then remove that \
                 directory.",
                aside.len(),
                aside[..aside.len().min(NAMED)].join(", ")
            );
        }
        Ok(())
    }

    /// This node has all files of its master: nothing is left that it had alone.
    pub(super) fn is_equal(&self) {
        if self.node.term.former().is_some() {
            self.node.term.set_aside();
        }
    }
}
