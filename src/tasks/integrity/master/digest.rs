//! The question that begins a check between two nodes running this daemon: are the files the same? (`spec/native.md` 2)

use std::{sync::Arc, time::Instant};

use log::Level;

use super::{Integrity, check::Found};
use crate::{
    files::{Digests, Manifest},
    session::native::Features,
    wire::ErrorObject,
};

impl Integrity {
    /// `int_digest`: whether the worker's files are those of this node, which ends the check; otherwise, in which buckets
    /// they may differ, or that it need not tell more: it has the files that this node had a moment ago.
    ///
    /// # Errors
    /// When this is no digest; the worker is at fault. When this node has not scanned its own files yet.
    pub fn digest(self: &Arc<Self>, question: &[u8], features: Features) -> Result<Vec<u8>, ErrorObject> {
        let kind = features.checksum();
        let clock = &self.shared.node.clock;
        let (start, begun) = (clock.wall(), clock.now());
        let unknown = || ErrorObject::unexpected("the files of this node have not been calculated yet");
        let master = self.shared.local.manifest(kind).ok_or_else(unknown)?;
        let no_digest = || ErrorObject::unexpected("the payload is to be a digest of 32 hexadecimal digits");
        let same = master.digests().are_those_of(question).ok_or_else(no_digest)?;
        if same {
            let level = self.level_of_equal(begun);
            self.checks.start_at(level);
            self.shared.deletions.equal(&self.worker);
            self.finish_check(level, (start, begun), master.entries().len(), Found::Equal(&master));
        } else {
            self.state.lock().digested = Arc::downgrade(&master);
            if features.known && self.start_known(question, features) {
                return Ok(Digests::known());
            }
        }
        Ok(master.digests().answer(same))
    }

    /// Where files change all the time, each change is confirmed by digests. The log has such checks no more often than
    /// those of a stock worker, which asks every `worker.sync_integrity`.
    fn level_of_equal(&self, now: Instant) -> Level {
        let period = self.shared.node.settings.worker.sync_integrity;
        let logged = &mut self.state.lock().equal_logged;
        if logged.is_some_and(|logged| now.saturating_duration_since(logged) < period) {
            return Level::Debug;
        }
        *logged = Some(now);
        Level::Info
    }

    /// The manifest whose digests the worker has, if it is still that with which workers are compared.
    pub(super) fn digested(&self) -> Option<Arc<Manifest>> {
        let digested = self.state.lock().digested.upgrade()?;
        self.shared.local.generation_of(&digested).is_some().then_some(digested)
    }
}
