//! Candidates take from this master what they are to have besides (`spec/failover.md` 8.6).

use super::Master;
use crate::{files::Private, registry::ConnectedWorker, wire::ErrorObject};

impl Master {
    /// The answer to `failover_f` of `worker`, which has private files with this digest: `same`, or all of them. It reads them.
    ///
    /// # Errors
    /// When this worker is no candidate, or they cannot be read.
    pub(super) fn private_files(&self, worker: &ConnectedWorker, digest: &[u8]) -> Result<String, ErrorObject> {
        let refused = |text: String| ErrorObject::cluster(3000, text);
        let name = &worker.hello.node;
        let failover = self.node.settings.failover.as_ref().filter(|failover| failover.candidates.contains(name));
        // In clear they never leave this node.
        let failover = failover.filter(|_| worker.connection.in_session()).ok_or_else(|| {
            refused(format!(
                "{name} gets no private files: it is none of failover.candidates of the master, or not in a session"
            ))
        })?;
        let private =
            Private::collect(self.node.home.path(), &failover.files).map_err(|error| refused(error.to_string()))?;
        Ok(if private.digest().as_bytes() == digest { "same".to_owned() } else { private.to_json() })
    }
}
