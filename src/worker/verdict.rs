//! How this worker stands, as far as it knows itself.

use super::Worker;
use crate::{
    tasks::integrity::status::Status,
    verdict::{State, Verdict, of_files},
};

impl Worker {
    /// The judgement of this worker by itself. Only the master knows whether its files have changed since they were found
    /// equal.
    pub fn verdict(&self) -> Verdict {
        let Some(joined) = self.connected_since() else {
            let reason = self.failure().unwrap_or_else(|| "no attempt to connect has ended yet".to_owned());
            return Verdict::bad(State::Away, None, format!("it is not connected to its master: {reason}"))
                .with_remedy("check <nodes> and <port> of <cluster> in etc/ossec.conf, and whether the master runs");
        };
        let state = self.files.state.lock().clone();
        let status = Status { standing: state.standing, ..Status::default() };
        of_files(&self.node.cluster.node_name, joined, &status, &state.applied, self.node.clock.wall())
    }
}
