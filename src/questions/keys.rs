//! `get_keys`: which keys the nodes of the cluster have. Ours.

use std::time::Duration;

use super::{
    Questions,
    node_keys::{ClusterKeys, NodeKeys},
};
use crate::{
    connection::Begun,
    registry::ConnectedWorker,
    system::{clock::iso_utc, json},
    wire::Command,
};

/// How long the workers may take to tell their keys.
const PATIENCE: Duration = Duration::from_secs(5);

impl Questions {
    /// The answer to `get_keys`. Workers that can tell their keys are asked, all at a time. Who is away cannot be asked, and
    /// counts until a person forgets it: it may come back with an old key.
    pub fn keys(&self) -> String {
        let node = &self.node;
        let ask = |worker: &ConnectedWorker| {
            let knows = worker.is_settled() && worker.features().keys;
            knows.then(|| worker.connection.begin_at_once(PATIENCE, Command::NodeKeys, ""))
        };
        let asked: Vec<_> = self.registry.workers().into_iter().map(|worker| (ask(&worker), worker)).collect();
        let mut items = vec![NodeKeys::own(node, None)];
        for (asked, worker) in asked {
            let silent = NodeKeys::silent(&worker.hello.node, &worker.hello.node_type, Some(&worker.connection));
            let answer = asked.and_then(|begun| begun.and_then(Begun::wait).ok());
            items.push(match answer {
                Some(answer) => silent.with_answer(&answer),
                None => silent,
            });
        }
        // One that has left while it was asked is told once.
        let (_, mut away) = self.registry.all();
        away.retain(|away| items.iter().all(|item| item.name != away.name));
        items.extend(away.into_iter().map(|away| NodeKeys {
            left: Some(iso_utc(away.left.as_ref().map_or_else(|| node.clock.wall(), |left| left.since))),
            link: away.key,
            ..NodeKeys::silent(&away.name, &away.node_type, None)
        }));
        json::text(&ClusterKeys { items })
    }
}
