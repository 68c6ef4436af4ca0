//! What only the master has: the listener, the registry of connected workers, and what it tells of them.

mod away;
mod health;
mod join;
mod keys;
mod known;
mod listener;
mod member;
mod memory;
mod nodes;
mod peer;
mod registry;
mod strangers;
mod turned_away;

use std::{io, net::SocketAddr, sync::Arc};

use listener::PUSHED_OUT;
use parking_lot::Mutex;

pub use known::Known;
pub use listener::Listener;
pub use member::Member;
use memory::Memory;
pub use registry::Registry;
use turned_away::TurnedAway;

use crate::{
    connection::PEER_CLOSED,
    drift,
    files::ChecksumKind,
    logging::{Repeats, Scope, debug, info, log, scope, warn},
    metrics::Rejection,
    node::Node,
    redirection::Daemons,
    system::thread,
    tasks::{
        integrity,
        keep_alive::supervision::{self, Supervised},
        local_agent_groups::LocalAgentGroups,
        local_integrity::LocalIntegrity,
    },
};

/// The master of a cluster.
pub struct Master {
    /// The node.
    pub node: Arc<Node>,
    /// The workers that are known.
    pub registry: Registry,
    /// The master's own files.
    pub local_integrity: Arc<LocalIntegrity>,
    /// Assignments of agents to groups, and which worker has them.
    pub local_agent_groups: Arc<LocalAgentGroups>,
    /// Whose comparison of configurations it is.
    pub comparing: drift::Turn,
    integrity: Arc<integrity::master::Shared>,
    daemons: Arc<Daemons>,
    memory: Memory,
    /// What was said of peers that hold the key and are no workers.
    told: Repeats,
    turned_away: TurnedAway,
}

impl Master {
    /// The master of `node`, with nothing started yet. It knows the workers that an earlier run has known.
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        let local_integrity = Arc::new(LocalIntegrity::new(&node));
        let integrity = Arc::new(integrity::master::Shared {
            node: node.clone(),
            local: local_integrity.clone(),
            deletions: integrity::master::Deletions::default(),
            reading: Mutex::default(),
        });
        let daemons = Arc::new(Daemons::new(&node, &local_integrity));
        let memory = Memory::new(&node);
        let away = memory.load(&node.cluster.node_name, &node.clock);
        Arc::new(Self {
            node,
            daemons,
            registry: Registry::new(away),
            memory,
            local_integrity,
            local_agent_groups: Arc::default(),
            comparing: drift::Turn::default(),
            integrity,
            told: Repeats::default(),
            turned_away: TurnedAway::default(),
        })
    }

    /// Starts its threads: `listen`, `local_integrity`, `local_groups`, `keep_alive` and `nodes`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self: &Arc<Self>, listener: Listener, threads: &thread::Group) -> io::Result<()> {
        info!(scope("Master", "Main"), "Serving on {}", listener.address_text());
        let this = self.clone();
        threads.spawn("keep_alive", move || supervision::run(&this.node, "Master", || this.supervised()))?;
        let this = self.clone();
        threads.spawn("local_integrity", move || {
            let push = |worker: &Arc<Member>| worker.push(this.local_integrity.generation());
            let classic = |worker: &Arc<Member>| worker.features().checksum() == ChecksumKind::Blake2b;
            this.local_integrity.run(
                &this.node,
                || this.registry.workers().iter().for_each(push),
                || this.registry.workers().iter().any(classic),
            );
        })?;
        let this = self.clone();
        threads.spawn("nodes", move || this.memory.run(&this.node, &this.registry))?;
        let this = self.clone();
        threads.spawn("local_groups", move || {
            let settled = || this.registry.workers().into_iter().filter(|worker| worker.is_settled()).collect();
            this.local_agent_groups.run(&this.node, settled);
        })?;
        let this = self.clone();
        threads.spawn("listen", move || listener.run(&this))
    }

    /// A connection has ended that was never a worker's.
    fn left(&self, address: SocketAddr, reason: &str, scope: &Scope) {
        // A load balancer that looks whether the port is open does this all day.
        if reason == PEER_CLOSED {
            return debug!(scope, "{address} has left.");
        }
        self.node.metrics.rejected(if reason == PUSHED_OUT { Rejection::Strangers } else { Rejection::NoHello });
        let (level, forgotten) = self.turned_away.note(address.ip(), reason, self.node.clock.now());
        if let Some(line) = forgotten {
            warn!(scope, "{line}");
        }
        log!(scope, level, "{address} has left without being accepted: {reason}.");
    }

    /// Tells what has come together of those who were turned away.
    fn tell_turned_away(&self) {
        for line in self.turned_away.due(self.node.clock.now()) {
            warn!("[Worker] [Main]", "{line}");
        }
    }

    fn supervised(&self) -> Vec<Supervised> {
        let supervise = |worker: &Arc<Member>| Supervised {
            connection: worker.connection.clone(),
            last: worker.last_keep_alive().0,
        };
        self.registry.workers().iter().map(supervise).collect()
    }
}
