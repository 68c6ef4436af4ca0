//! What only the master has: the listener, the registry of connected workers, and what it tells of them.

mod agreement;
mod hand_over;
mod join;
mod listener;
mod lookout;
mod private_files;
mod served;
mod session;
mod snapshot;
mod strangers;
mod turned_away;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::{Receiver, TryRecvError};
use hand_over::HandOver;
use listener::PUSHED_OUT;
use parking_lot::Mutex;

pub use listener::Listener;
pub use snapshot::Snapshot;
use turned_away::TurnedAway;

use crate::{
    connection::{Connection, PEER_CLOSED},
    files::ChecksumKind,
    limits::{self, Line},
    logging::{Repeats, Scope, debug, info, log, scope, warn},
    metrics::Rejection,
    node::Node,
    questions::Questions,
    redirection::Daemons,
    registry::{ConnectedWorker, Memory, Registry},
    services::Services,
    system::thread,
    tasks::{
        haproxy_helper, integrity,
        keep_alive::supervision::{self, Supervised},
        local_agent_groups::LocalAgentGroups,
        local_integrity::LocalIntegrity,
    },
    wire::Hello,
};

/// The master of a cluster.
pub struct Master {
    /// The node.
    pub node: Arc<Node>,
    /// Its services.
    pub services: Arc<Services>,
    /// The workers that are known.
    pub registry: Arc<Registry>,
    /// The master's own files.
    pub local_integrity: Arc<LocalIntegrity>,
    /// Assignments of agents to groups, and which worker has them.
    pub local_agent_groups: Arc<LocalAgentGroups>,
    /// What it answers of the cluster.
    pub questions: Arc<Questions>,
    integrity: Arc<integrity::master::Shared>,
    daemons: Arc<Daemons>,
    memory: Memory,
    /// What was said of peers that hold the key and are no workers.
    told: Repeats,
    turned_away: TurnedAway,
    hand_over: HandOver,
    /// As [`Master::is_overruled`].
    overruled: AtomicBool,
}

impl Master {
    /// The master of `node`, with nothing started yet. It knows the workers that an earlier run has known.
    pub fn new(node: Arc<Node>, services: Arc<Services>) -> Arc<Self> {
        let local_integrity = Arc::new(LocalIntegrity::new(&node));
        let integrity = Arc::new(integrity::master::Shared {
            node: node.clone(),
            local: local_integrity.clone(),
            deletions: integrity::master::Deletions::default(),
            archives: integrity::master::Archives::default(),
            packing: Line::new(limits::PACKING),
            doubtful: integrity::Doubtful::default(),
            reading: Mutex::default(),
        });
        let daemons =
            Arc::new(Daemons::new(&node, services.agents.clone(), services.registrar.clone(), &local_integrity));
        let memory = Memory::new(&node);
        let away = memory.load(&node.cluster.node_name, &node.clock);
        let registry = Arc::new(Registry::new(away));
        let questions = Questions::new(services.clone(), registry.clone(), integrity.clone());
        Arc::new(Self {
            node,
            services,
            daemons,
            registry,
            questions,
            memory,
            local_integrity,
            local_agent_groups: Arc::default(),
            integrity,
            told: Repeats::default(),
            turned_away: TurnedAway::default(),
            hand_over: HandOver::default(),
            overruled: AtomicBool::new(false),
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
            let push = |worker: &Arc<ConnectedWorker>| worker.push(this.local_integrity.generation());
            let classic = |worker: &Arc<ConnectedWorker>| worker.features().checksum() == ChecksumKind::Blake2b;
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
            this.local_agent_groups.run(&this.node, &this.services.agents, settled);
        })?;
        haproxy_helper::start(&self.node, threads)?;
        let this = self.clone();
        if self.node.candidate.is_some() {
            // The arbiter knows that there is no other.
            return threads.spawn("listen", move || listener.run(&this));
        }
        let looked = lookout::start(self, threads)?;
        threads.spawn("listen", move || {
            if this.may_serve(&looked) {
                listener.run(&this);
            }
        })
    }

    /// Whether there is a later master that this node cannot follow yet, because it cannot write that down. Until then it serves
    /// nobody.
    pub fn is_overruled(&self) -> bool {
        self.overruled.load(Ordering::Acquire)
    }

    /// Waits until it is known whether there is a later master, but not for long: one that does not answer is none. Nobody
    /// is registered meanwhile. False if the node is to stop.
    fn may_serve(&self, looked: &Receiver<()>) -> bool {
        let looks = looked.try_recv() == Err(TryRecvError::Empty);
        let rest = looks.then(|| self.services.registrar.rest()).flatten();
        crossbeam_channel::select! {
            recv(looked) -> _ => (),
            recv(self.node.clock.after(lookout::FIRST)) -> _ => (),
            recv(self.node.shutdown.channel()) -> _ => return false,
        }
        drop(rest);
        true
    }

    /// A worker that has just said hello, with all that is done for it.
    fn worker(&self, hello: Hello, address: IpAddr, connection: &Connection) -> Arc<ConnectedWorker> {
        let (checks, daemons) = (self.integrity.clone(), self.daemons.clone());
        ConnectedWorker::new(hello, address, connection.clone(), checks, &self.services.agents, daemons)
    }

    /// client.keys has been written, or was read for the first time: ids up to `counter` are given.
    pub fn registered(&self, counter: u32) {
        if let Some(mark) = self.node.term.reserve(counter) {
            self.registry.workers().iter().for_each(|worker| worker.tell_ids(mark));
        }
        self.local_integrity.wake();
        // The groups of a new agent are not to be lost with its master.
        if self.registry.workers().iter().any(|worker| worker.features().term) {
            self.local_agent_groups.registered();
        }
    }

    /// Both ends of the link of `worker` know what it speaks: from now on the master asks on its own.
    fn settle(&self, worker: &ConnectedWorker) {
        if worker.settle() {
            self.local_agent_groups.wake();
            worker.push(self.local_integrity.generation());
            // It may have changed since they agreed.
            worker.tell_ids(self.node.term.told().ids);
        }
    }

    /// A connection has ended that was never a worker's.
    fn left(&self, address: SocketAddr, reason: &str, scope: &Scope) {
        // A load balancer that looks whether the port is open does this all day.
        if reason == PEER_CLOSED {
            return debug!(scope, "{address} has left.");
        }
        let why = if reason == PUSHED_OUT { Rejection::Strangers } else { Rejection::NoHello };
        self.turn_away(address, why, reason, scope);
    }

    /// Counts and tells that a connection was not accepted.
    fn turn_away(&self, address: SocketAddr, why: Rejection, reason: &str, scope: &Scope) {
        self.node.metrics.rejected(why);
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
        let supervise = |worker: &Arc<ConnectedWorker>| Supervised {
            connection: worker.connection.clone(),
            last: worker.last_keep_alive().0,
        };
        self.registry.workers().iter().map(supervise).collect()
    }
}
