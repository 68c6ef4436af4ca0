//! How each node stands that a master knows.

use std::sync::Arc;

use super::{
    ConnectedWorker, Registry,
    away::{Away, Left},
};
use crate::{
    logging::{scope, warn},
    node::Node,
    system::clock::utc,
    verdict::{Listed, Verdict, of_files, order},
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
    pub worker: Option<Arc<ConnectedWorker>>,
}

impl Known {
    /// The master itself.
    fn own(node: &Node) -> Self {
        let cluster = &node.cluster;
        Self {
            name: cluster.node_name.clone(),
            node_type: cluster.node_type.to_string(),
            version: node.settings.version.to_string(),
            address: cluster.master().to_owned(),
            verdict: Verdict { reason: node.misplaced.get().cloned(), ..Verdict::in_sync(Some(node.metrics.started)) },
            worker: None,
        }
    }

    /// As it is told at the control socket.
    pub fn into_listed(self) -> Listed {
        Listed::new([self.name, self.node_type, self.version, self.address], self.verdict)
    }
}

impl ConnectedWorker {
    /// The judgement of a worker that is connected.
    pub fn verdict(&self) -> Verdict {
        let now = self.integrity.clock().wall();
        of_files(&self.hello.node, self.joined.1, &self.integrity.status(), &self.integrity.last_applied(), now)
    }
}

impl Registry {
    /// All nodes that the master of `node` knows, itself too, in the order of [`Listed::order`].
    pub fn known(&self, node: &Node) -> Vec<Known> {
        let (connected, away) = self.all();
        let mut nodes = vec![Known::own(node)];
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

    /// The connection of `worker` has ended for this reason. Whether it was registered until now.
    pub fn leaves(&self, node: &Node, worker: &ConnectedWorker, reason: &str) -> bool {
        // The end of this master is not theirs: whoever does not come back is away since it has started again.
        let left = (!node.shutdown.ordered()).then(|| Left::new(node.clock.wall(), reason));
        let Some(forgotten) = self.remove(worker, left) else { return false };
        if let Some(Away { name, left, session, .. }) = forgotten {
            let without = if session { " It is accepted without a session again." } else { "" };
            let since = left.map_or_else(|| "a while".to_owned(), |left| utc(left.since));
            warn!(
                scope("Master", "Nodes"),
                "{name}, away since {since}, is forgotten: more workers are away than are remembered (docs/limits.md). Forget \
                 those that are gone for good, with 'cluster_control --forget NODE'.{without}"
            );
        }
        true
    }
}
