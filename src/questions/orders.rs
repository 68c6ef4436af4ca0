//! What a person has the master do about its workers: `confirm_del` and `forget_node` (`spec/protocol.md` 13.12).

use std::sync::Arc;

use serde_json::json;

use super::{Questions, filter::Filter};
use crate::{
    logging::{info, scope, warn},
    registry::{ConnectedWorker, NotForgotten},
    system::json,
    verdict::Listed,
    wire::{Class, ErrorObject},
};

impl Questions {
    /// The answer to `confirm_del` for the workers that this filter takes: the names of those from which deletions were
    /// held back, and what that was. They are compared again at once, and those files are deleted.
    ///
    /// # Errors
    /// When the filter is none; the asking program is at fault.
    pub fn confirm_deletions(&self, filter: &[u8]) -> Result<String, ErrorObject> {
        let filter = Filter::parse(filter)?;
        let confirmed = self.checks.deletions.confirm(|name| filter.takes(name, false));
        for (name, held) in &confirmed {
            warn!(
                scope("Master", "Main"),
                "Confirmed by 'cluster_control --confirm-deletions': {name}: {}.",
                held.consequence()
            );
        }
        if !confirmed.is_empty() {
            // Their turn may be used up, and the push has them ask again.
            self.checks.local.wake();
            let waiting = |worker: &&Arc<ConnectedWorker>| confirmed.contains_key(&worker.hello.node);
            let generation = self.checks.local.generation();
            self.registry.workers().iter().filter(waiting).for_each(|worker| worker.push(generation));
        }
        Ok(json::text(&json!({"confirmed": confirmed})))
    }

    /// The answer to `forget_node` for the worker whose name is in this JSON text: what was known of it.
    ///
    /// # Errors
    /// When no worker has the name, or it is connected; the asking person is at fault.
    pub fn forget(&self, name: &[u8]) -> Result<String, ErrorObject> {
        let name: String =
            serde_json::from_slice(name).map_err(|error| ErrorObject::unexpected(format!("the name: {error}")))?;
        let away = self.registry.forget(&name).map_err(|error| match error {
            NotForgotten::Connected => ErrorObject::cluster(
                3000,
                format!("{name} is connected: stop it there first; forgotten, it would be known again at once"),
            ),
            NotForgotten::Unknown => ErrorObject::new(Class::NotFound, 1730),
        })?;
        self.checks.deletions.forget(&name);
        info!(scope("Master", "Nodes"), "Forgotten by 'cluster_control --forget': {name}.");
        let verdict = away.verdict();
        let listed = Listed::new([away.name, away.node_type, away.version, away.ip], verdict);
        Ok(json::text(&json!({"forgotten": listed})))
    }
}
