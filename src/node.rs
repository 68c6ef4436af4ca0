//! What all modules of one node share: its configuration, its clock and its threads.

use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use crate::{
    config::{Cluster, Home, Keys, Places, Settings},
    connection::{Connection, Connections, Known, Options},
    crypto::Fernet,
    election::Candidate,
    files::Items,
    limits::Budget,
    logging::Scope,
    metrics::{Metrics, Task},
    system::{clock::Clock, shutdown::Shutdown, thread::Group, user::Owner},
    term::Term,
    turn::Turns,
};

/// One node of a cluster: its configuration, its clock and its threads. Nothing in it but the keys changes while it runs.
pub struct Node {
    /// The installation.
    pub home: Home,
    /// `<cluster>` of ossec.conf, without the key.
    pub cluster: Cluster,
    /// The keys; see [`Node::keys`].
    pub keys: RwLock<Arc<Keys>>,
    /// cluster.json.
    pub settings: Settings,
    /// Which master it follows, or is.
    pub term: Term,
    /// What is known at the arbiter of this node, if it may be the master when that fails.
    pub candidate: Option<Arc<Candidate>>,
    /// The files that are kept equal.
    pub items: Arc<Items>,
    /// Who is to own the files that are written; none if this process cannot give files away.
    pub owner: Option<Owner>,
    /// Why this master may be none, for people; nothing is set if all is well.
    pub misplaced: OnceLock<String>,
    /// For every wait.
    pub clock: Clock,
    /// The order to stop.
    pub shutdown: Shutdown,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// The room for the messages of all connections.
    pub budget: Budget,
    /// To other nodes, and of local programs.
    pub connections: Connections,
    /// Short-lived threads for what other nodes ask and what takes long.
    pub requests: Group,
    /// The same for local programs, which are not to hinder other nodes.
    pub local_requests: Group,
}

impl Node {
    /// The keys that are in force now.
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.read().clone()
    }

    /// The turns of a task of this node, which logs under `scope`.
    pub fn turns(&self, task: Task, scope: Scope) -> Turns {
        Turns::new(task, scope, &self.metrics, &self.clock)
    }

    /// What this node has to write to.
    pub fn places(&self) -> Places {
        Places::new(&self.home, self.cluster.node_type, &self.settings)
    }

    /// Closes a link whose key is not in force any more. Whoever changes the keys calls it for all links that are there;
    /// whoever makes a link known calls it afterwards, because the keys may have changed before.
    pub fn check_key(&self, link: &Connection) {
        if link.cipher().is_some_and(|cipher| !self.keys().accept(cipher)) {
            link.close("its key is not accepted any more");
        }
    }

    /// How a link to another node is set up, with what it may be encrypted with; `known` as in [`Options::known`].
    pub fn link_options(&self, peer: String, ciphers: Vec<Fernet>, known: Known) -> Options {
        let traffic = self.metrics.link.clone();
        let deadline = self.candidate.as_ref().and_then(|candidate| candidate.deadline());
        Options { ciphers, known, traffic, deadline, ..self.local_options(peer) }
    }

    /// How the connection of a local program is set up.
    pub fn local_options(&self, peer: String) -> Options {
        Options {
            peer,
            ciphers: Vec::new(),
            known: Known::AtOnce,
            handshake_timeout: self.settings.link.handshake_timeout,
            frame_timeout: self.settings.link.frame_timeout,
            request_timeout: self.settings.communication.timeout_cluster_request,
            traffic: Arc::default(),
            deadline: None,
            budget: self.budget.clone(),
            clock: self.clock.clone(),
        }
    }
}
