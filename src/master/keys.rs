//! `get_keys`: which keys the nodes of the cluster have. Ours.

use std::time::Duration;

use super::{Master, Member};
use crate::{
    connection::Begun,
    session::keys::{ClusterKeys, NodeKeys},
    wire::{Command, json},
};

/// How long the workers may take to tell their keys.
const PATIENCE: Duration = Duration::from_secs(5);

impl Master {
    /// The answer to `get_keys`. Workers that can tell their keys are asked, all at a time.
    pub fn keys(&self) -> String {
        let ask = |worker: &Member| {
            let knows = worker.is_settled() && worker.features().keys;
            knows.then(|| worker.connection.begin_within(PATIENCE, Command::NodeKeys, ""))
        };
        let asked: Vec<_> = self.registry.workers().into_iter().map(|worker| (ask(&worker), worker)).collect();
        let mut items = vec![NodeKeys::own(&self.node, None)];
        for (asked, worker) in asked {
            let silent = NodeKeys::silent(&worker.hello.node, &worker.hello.node_type, Some(&worker.connection));
            let answer = asked.and_then(|begun| begun.and_then(Begun::wait).ok());
            items.push(match answer {
                Some(answer) => silent.with_answer(&answer),
                None => silent,
            });
        }
        json::text(&ClusterKeys { items })
    }
}
