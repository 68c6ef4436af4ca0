//! A connected worker, as the master sees it.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use parking_lot::Mutex;

use crate::{
    agents::Store,
    connection::Connection,
    logging::{Scope, scope},
    redirection::{Daemons, SendSync},
    session::native::Features,
    system::clock::Clock,
    tasks::{
        agent_groups_send::master::AgentGroups,
        agent_info::master::AgentInfo,
        integrity::master::{Integrity, Shared},
        local_agent_groups::{LocalAgentGroups, Recipient},
    },
    wire::{Command, Hello},
};

/// From its accepted hello until its connection ends.
pub struct ConnectedWorker {
    /// What it said of itself.
    pub hello: Hello,
    /// The address of its end of the connection.
    pub address: IpAddr,
    /// When it said hello: for deadlines, and for people.
    pub joined: (Instant, SystemTime),
    /// The connection.
    pub connection: Connection,
    /// Its integrity checks.
    pub integrity: Arc<Integrity>,
    /// What it tells of its agents.
    pub agent_info: Arc<AgentInfo>,
    /// What it is told of groups.
    pub agent_groups: Arc<AgentGroups>,
    /// What it asks of the programs of this node.
    pub send_sync: Arc<SendSync>,
    features: Mutex<Features>,
    /// Whether one of its connections has been a session.
    had_session: AtomicBool,
    /// Whether this one is, and has been proved to be.
    proven: AtomicBool,
    settled: AtomicBool,
    last_keep_alive: Mutex<(Instant, SystemTime)>,
}

impl ConnectedWorker {
    /// A worker that has just said hello.
    pub fn new(
        hello: Hello,
        address: IpAddr,
        connection: Connection,
        shared: Arc<Shared>,
        agents: &Store,
        daemons: Arc<Daemons>,
    ) -> Arc<Self> {
        let node = shared.node.clone();
        let joined = (node.clock.now(), node.clock.wall());
        let agent_info = AgentInfo::new(node.clone(), agents.clone(), &hello.node, connection.clone());
        let send_sync = SendSync::new(node.clone(), daemons, &hello.node, connection.clone());
        let agent_groups = AgentGroups::new(node, agents.clone(), &hello.node, connection.clone());
        let integrity = Integrity::new(shared, &hello.node, connection.clone());
        let (features, settled, last_keep_alive) = (Mutex::default(), AtomicBool::new(false), Mutex::new(joined));
        Arc::new(Self {
            hello,
            address,
            joined,
            connection,
            integrity,
            agent_info,
            agent_groups,
            send_sync,
            features,
            had_session: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            settled,
            last_keep_alive,
        })
    }

    /// Who speaks of its coming and going, which the stock daemon does not tell of.
    pub fn link_scope(&self) -> Scope {
        scope(&format!("Worker {}", self.hello.node), "Link")
    }

    /// What both ends have agreed on; nothing on a classic link.
    pub fn features(&self) -> Features {
        *self.features.lock()
    }

    /// Sets what both ends have agreed on.
    pub fn agree(&self, features: Features) {
        *self.features.lock() = features;
    }

    /// It has proved by the first frame of a session that it has the key now.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Release);
    }

    /// Whether it has agreed on a session and not proved yet that it can speak it: it may be somebody who plays back what
    /// it said once.
    pub fn is_unproven(&self) -> bool {
        self.features().session && !self.proven.load(Ordering::Acquire)
    }

    /// This connection, or an earlier one, has been a session; whether that is news.
    pub fn remember_session(&self) -> bool {
        !self.had_session.swap(true, Ordering::AcqRel)
    }

    /// Whether this connection, or an earlier one, has been a session.
    pub fn had_session(&self) -> bool {
        self.had_session.load(Ordering::Acquire)
    }

    /// Both ends know by now what they speak; whether they did not before. Until then the master asks nothing of its own
    /// (`spec/native.md` 1).
    pub fn settle(&self) -> bool {
        !self.settled.swap(true, Ordering::AcqRel)
    }

    /// Whether both ends know what they speak.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Tells it that the files of the master have changed and are of this generation now, if that was agreed on and both
    /// know (`spec/native.md` 2).
    pub fn push(&self, generation: u64) {
        let agreed = self.is_settled() && self.features().push;
        // A worker that takes nothing compares itself at its next turn, if it lives.
        let _ = agreed && self.connection.tell(Command::IntegrityChanged, generation.to_string());
    }

    /// Tells it up to which id none is certain to be free for another master (`spec/native.md` 5).
    pub fn tell_ids(&self, mark: u32) {
        let agreed = self.is_settled() && self.features().term;
        // What does not reach it now is told when it connects again.
        let _ = agreed && self.connection.tell(Command::Ids, mark.to_string());
    }

    /// A keep-alive has come.
    pub fn keep_alive(&self, clock: &Clock) {
        *self.last_keep_alive.lock() = (clock.now(), clock.wall());
    }

    /// When the last keep-alive came or, before the first, the hello: for deadlines, and for people.
    pub fn last_keep_alive(&self) -> (Instant, SystemTime) {
        *self.last_keep_alive.lock()
    }
}

impl Recipient for Arc<ConnectedWorker> {
    fn name(&self) -> &str {
        &self.hello.node
    }

    fn is_native(&self) -> bool {
        self.features().any()
    }

    fn takes_group_names(&self) -> bool {
        self.features().groups
    }

    fn send(
        &self,
        local: &Arc<LocalAgentGroups>,
        whole: Option<Arc<Vec<String>>>,
        names: Option<Arc<Vec<String>>>,
    ) -> io::Result<()> {
        self.agent_groups.send_what_is_new(local, whole, names, self.features().quiet)
    }
}
