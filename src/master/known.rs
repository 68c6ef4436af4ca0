//! How each node stands that this master knows, and the forgetting of those that are gone for good.

use std::sync::Arc;

use serde_json::json;

use super::{
    Master, Member,
    away::{Away, Left},
    registry::NotForgotten,
};
use crate::{
    logging::{info, scope, warn},
    system::clock::utc,
    verdict::{Listed, Verdict, of_files, order},
    wire::{Class, ErrorObject, json},
};

/// A node that the master knows, and how it stands.
pub struct Known {
    /// The node.
    pub name: String,
    /// What it said that it is.
    pub node_type: String,
    /// The version that it stated last.
    pub version: String,
    /// Where it was last seen.
    pub address: String,
    /// The judgement of it.
    pub verdict: Verdict,
    /// The worker, if it is connected.
    pub worker: Option<Arc<Member>>,
}

impl Known {
    /// As it is told at the control socket.
    pub fn into_listed(self) -> Listed {
        Listed::new([self.name, self.node_type, self.version, self.address], self.verdict)
    }
}

impl Member {
    /// The judgement of a worker that is connected.
    pub fn verdict(&self) -> Verdict {
        let now = self.integrity.clock().wall();
        of_files(&self.hello.node, self.joined.1, &self.integrity.status(), &self.integrity.last_applied(), now)
    }
}

impl Master {
    /// All nodes that this master knows, itself too, in the order of [`Listed::order`].
    pub fn known(&self) -> Vec<Known> {
        let (connected, away) = self.registry.all();
        let mut nodes = vec![self.own()];
        nodes.extend(connected.into_iter().map(|worker| {
            let hello = worker.hello.clone();
            Known {
                name: hello.node,
                node_type: hello.node_type,
                version: hello.version,
                address: worker.address.to_string(),
                verdict: worker.verdict(),
                worker: Some(worker),
            }
        }));
        nodes.extend(away.into_iter().map(|away| {
            let verdict = away.verdict();
            let Away { name, node_type, version, ip: address, .. } = away;
            Known { name, node_type, version, address, verdict, worker: None }
        }));
        let key = |node: &Known| (node.verdict.state, node.node_type.clone(), node.name.clone());
        nodes.sort_by(|one, other| {
            let (one, other) = (key(one), key(other));
            order((one.0, &one.1, &one.2), (other.0, &other.1, &other.2))
        });
        nodes
    }

    fn own(&self) -> Known {
        let cluster = &self.node.cluster;
        Known {
            name: cluster.node_name.clone(),
            node_type: cluster.node_type.to_string(),
            version: self.node.settings.version.to_string(),
            address: cluster.master().to_owned(),
            verdict: Verdict {
                reason: self.node.misplaced.get().cloned(),
                ..Verdict::in_sync(Some(self.node.metrics.started))
            },
            worker: None,
        }
    }

    /// The connection of `worker` has ended for this reason. Whether it was registered until now.
    pub(super) fn leaves(&self, worker: &Member, reason: &str) -> bool {
        // The end of this master is not theirs: whoever does not come back is away since it has started again.
        let left = (!self.node.shutdown.ordered()).then(|| Left::new(self.node.clock.wall(), reason));
        let Some(forgotten) = self.registry.remove(worker, left) else { return false };
        if let Some(Away { name, left, .. }) = forgotten {
            let since = left.map_or_else(|| "a while".to_owned(), |left| utc(left.since));
            warn!(
                scope("Master", "Nodes"),
                "{name}, away since {since}, is forgotten: more workers are away than are remembered (docs/limits.md). Forget \
                 those that are gone for good, with 'cluster_control --forget NODE'."
            );
        }
        true
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
        self.integrity.deletions.forget(&name);
        info!(scope("Master", "Nodes"), "Forgotten by 'cluster_control --forget': {name}.");
        let verdict = away.verdict();
        let listed = Listed::new([away.name, away.node_type, away.version, away.ip], verdict);
        Ok(json::text(&json!({"forgotten": listed})))
    }
}
