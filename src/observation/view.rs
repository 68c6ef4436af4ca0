//! What this node knows of itself and of others, gathered for one answer.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    agents::Numbers,
    config::NodeType,
    local::Role,
    master::Master,
    metrics::Task,
    node::Node,
    registry::{ConnectedWorker, Known},
    tasks::integrity::{Applied, Held, status::Standing},
    verdict::Verdict,
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
    /// How it stands.
    pub(super) verdict: Verdict,
    /// Since when it is connected, if it is.
    pub(super) connected: Option<SystemTime>,
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
    pub(super) applied: Applied,
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

    /// The tasks that a node of its type has.
    pub(super) fn tasks(&self) -> impl Iterator<Item = Task> {
        let node_type = self.node.cluster.node_type;
        Task::ALL.into_iter().filter(move |task| match task {
            Task::LocalIntegrity | Task::LocalAgentGroups => node_type == NodeType::Master,
            Task::KeepAlive => node_type == NodeType::Worker,
            Task::IntegrityCheck
            | Task::IntegritySync
            | Task::AgentInfo
            | Task::AgentGroups
            | Task::AgentGroupsFull => true,
        })
    }
}

fn authority(master: &Master) -> Authority {
    Authority { generation: master.local_integrity.generation(), files: master.local_integrity.files() }
}

fn of_master(master: &Master, agents: &Option<Numbers>) -> Vec<Seen> {
    let now = master.node.clock.now();
    let mut nodes: Vec<Seen> =
        master.registry.known(&master.node).into_iter().map(|known| of_known(known, now, agents)).collect();
    let own = nodes.iter().position(|node| node.name == master.node.cluster.node_name).unwrap_or_default();
    nodes[..=own].rotate_right(1);
    nodes[0].connected = Some(master.node.metrics.started);
    nodes[0].agents = active(agents, &nodes[0].name);
    nodes
}

fn active(agents: &Option<Numbers>, name: &str) -> Option<u64> {
    agents.as_ref().map(|numbers| numbers.get(name).copied().unwrap_or_default())
}

fn of_known(known: Known, now: Instant, agents: &Option<Numbers>) -> Seen {
    let Known { name, node_type, version, address, verdict, worker } = known;
    let worker = worker.as_deref();
    Seen {
        connected: worker.map(|worker| worker.joined.1),
        keep_alive: worker.map(|worker| now.saturating_duration_since(worker.last_keep_alive().0)),
        files: worker.map(|worker| files(worker, now)),
        agents: worker.and_then(|_| active(agents, &name)),
        name,
        node_type,
        version,
        address,
        verdict,
    }
}

fn files(worker: &ConnectedWorker, now: Instant) -> Files {
    let status = worker.integrity.status();
    let equal = status.standing.verified.unwrap_or(worker.joined.0);
    Files {
        standing: status.standing,
        age: now.saturating_duration_since(equal),
        checked: status.check.end,
        sent: status.sync.end,
        applied: worker.integrity.last_applied(),
        held: status.held,
    }
}

fn of_worker(worker: &Worker, agents: &Option<Numbers>) -> Seen {
    let (node, state) = (&worker.node, worker.files.state.lock().clone());
    let (metrics, now) = (&node.metrics, node.clock.now());
    let last = |task| metrics.task(task).last().map(|last| last.wall);
    let verified = state.standing.verified.map(|verified| now.saturating_duration_since(verified));
    Seen {
        name: node.cluster.node_name.clone(),
        node_type: node.cluster.node_type.to_string(),
        version: node.settings.version.to_string(),
        address: String::new(),
        verdict: worker.verdict(),
        connected: worker.connected_since(),
        keep_alive: metrics.age(Task::KeepAlive),
        files: Some(Files {
            age: verified.unwrap_or_else(|| metrics.uptime()),
            checked: last(Task::IntegrityCheck),
            sent: last(Task::IntegritySync),
            standing: state.standing,
            applied: state.applied,
            held: None,
        }),
        agents: active(agents, &node.cluster.node_name),
    }
}
