//! How this worker stands, as far as it knows itself.

use super::Worker;
use crate::{
    tasks::integrity::status::IntegrityStatus,
    verdict::{State, Verdict, of_files},
};

/// What to do where the failure does not tell it.
const REMEDY: &str = "see that the master runs, and that <nodes> and <port> of <cluster> in etc/ossec.conf name it";

impl Worker {
    /// The judgement of this worker by itself. Only the master knows whether its files have changed since they were found
    /// equal.
    pub fn verdict(&self) -> Verdict {
        let Some(joined) = self.connected_since() else {
            let failure = self.failure().unwrap_or_else(|| "no attempt to connect has ended yet".to_owned());
            let (reason, remedy) = failure.split_once("; ").unwrap_or((&failure, REMEDY));
            let reason = format!("it is not connected to its master: {reason}");
            return Verdict::bad(State::Away, Some(*self.lost.read()), reason).with_remedy(remedy);
        };
        let state = self.files.state.lock().clone();
        let status = IntegrityStatus { standing: state.standing, ..IntegrityStatus::default() };
        of_files(&self.node.cluster.node_name, joined, &status, &state.applied, self.node.clock.wall())
    }
}
