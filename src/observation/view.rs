//! What this node knows of itself and of others, gathered for one answer.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::agents::Numbers;
use crate::{
    local::Role,
    master::{Gone, Master, Member},
    metrics::Task,
    node::Node,
    tasks::integrity::{
        Applied,
        master::Held,
        status::{Sending, Standing},
    },
    worker::Worker,
};

/// The node, now.
pub(super) struct View {
    /// The node that looks.
    pub(super) node: Arc<Node>,
    /// Wall clock.
    pub(super) now: SystemTime,
    /// The node itself, then the others that it knows.
    pub(super) nodes: Vec<Seen>,
    /// Only the master knows.
    pub(super) authority: Option<Authority>,
}

/// What the master is the authority for.
pub(super) struct Authority {
    /// How often its files have changed.
    pub(super) generation: u64,
    /// How many there are.
    pub(super) files: usize,
}

/// A node of the cluster.
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) node_type: String,
    pub(super) version: String,
    pub(super) address: String,
    /// Whether it is connected to the cluster.
    pub(super) connected: bool,
    /// Since when it is connected, or not.
    pub(super) since: Option<SystemTime>,
    /// Of a worker: how long ago its last keep-alive was.
    pub(super) keep_alive: Option<Duration>,
    /// Of a worker that is connected.
    pub(super) files: Option<Files>,
    /// Agents that report to it and are active.
    pub(super) agents: Option<u64>,
}

/// The files of a worker, compared with those of the master.
pub(super) struct Files {
    pub(super) standing: Standing,
    /// How long ago they were found equal or, if never, since when they could have been.
    pub(super) age: Duration,
    /// The end of the last check.
    pub(super) checked: Option<SystemTime>,
    /// The end of the last transfer.
    pub(super) sent: Option<SystemTime>,
    pub(super) sending: Option<Sending>,
    pub(super) applied: Applied,
    /// Since when the master has had files that it has not shown to have.
    pub(super) behind_since: Option<SystemTime>,
    /// What the master holds back from it.
    pub(super) held: Option<Held>,
}

impl View {
    /// With the numbers of active agents, if they are known.
    pub(super) fn new(role: &Role, agents: Option<Numbers>) -> Self {
        let node = role.node().clone();
        let (nodes, authority) = match role {
            Role::Master(master) => (of_master(master, &agents), Some(authority(master))),
            Role::Worker(worker) => (vec![of_worker(worker, &agents)], None),
        };
        let now = node.clock.wall();
        Self { node, now, nodes, authority }
    }

    /// The node itself.
    pub(super) fn own(&self) -> &Seen {
        &self.nodes[0]
    }
}

fn authority(master: &Master) -> Authority {
    Authority { generation: master.local_integrity.generation(), files: master.local_integrity.files() }
}

fn of_master(master: &Master, agents: &Option<Numbers>) -> Vec<Seen> {
    let clock = &master.node.clock;
    let mut own = own(&master.node, agents);
    (own.connected, own.since) = (true, Some(master.node.metrics.started));
    own.address = master.node.cluster.nodes.first().cloned().unwrap_or_default();
    let mut nodes = vec![own];
    nodes.extend(master.registry.workers().iter().map(|worker| of_member(worker, clock.now(), agents)));
    nodes.extend(master.registry.gone(clock).into_iter().map(of_gone));
    nodes[1..].sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn own(node: &Node, agents: &Option<Numbers>) -> Seen {
    let cluster = &node.cluster;
    Seen {
        name: cluster.node_name.clone(),
        node_type: cluster.node_type.to_string(),
        version: node.settings.version.to_string(),
        address: String::new(),
        connected: false,
        since: None,
        keep_alive: None,
        files: None,
        agents: active(agents, &cluster.node_name),
    }
}

fn active(agents: &Option<Numbers>, name: &str) -> Option<u64> {
    agents.as_ref().map(|numbers| numbers.get(name).copied().unwrap_or_default())
}

fn of_member(worker: &Member, now: Instant, agents: &Option<Numbers>) -> Seen {
    let status = worker.integrity.status();
    let equal = status.standing.verified.unwrap_or(worker.joined.0);
    Seen {
        connected: true,
        since: Some(worker.joined.1),
        address: worker.address.to_string(),
        keep_alive: Some(now.saturating_duration_since(worker.last_keep_alive().0)),
        files: Some(Files {
            standing: status.standing,
            age: now.saturating_duration_since(equal),
            checked: status.check.end,
            sent: status.sync.end,
            sending: status.sending,
            applied: worker.integrity.last_applied(),
            behind_since: status.behind_since,
            held: status.held,
        }),
        agents: active(agents, &worker.hello.node),
        ..of_hello(&worker.hello)
    }
}

fn of_gone(gone: Gone) -> Seen {
    Seen { since: Some(gone.since), ..of_hello(&gone.hello) }
}

fn of_hello(hello: &crate::wire::Hello) -> Seen {
    Seen {
        name: hello.node.clone(),
        node_type: hello.node_type.clone(),
        version: hello.version.clone(),
        address: String::new(),
        connected: false,
        since: None,
        keep_alive: None,
        files: None,
        agents: None,
    }
}

fn of_worker(worker: &Worker, agents: &Option<Numbers>) -> Seen {
    let (node, state) = (&worker.node, worker.files.state.lock().clone());
    let (metrics, now) = (&node.metrics, node.clock.now());
    let last = |task| metrics.task(task).last().map(|last| last.wall);
    let verified = state.standing.verified.map(|verified| now.saturating_duration_since(verified));
    let since = worker.connected_since();
    Seen {
        connected: since.is_some(),
        since,
        keep_alive: metrics.age(Task::KeepAlive),
        files: Some(Files {
            age: verified.unwrap_or_else(|| metrics.uptime()),
            checked: last(Task::IntegrityCheck),
            sent: last(Task::IntegritySync),
            standing: state.standing,
            sending: None,
            applied: state.applied,
            behind_since: None,
            held: None,
        }),
        ..own(node, agents)
    }
}
