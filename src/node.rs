//! What all rooms of one node share.

use std::sync::Arc;

use crate::{
    agents::Store,
    api::Api,
    config::{Cluster, Home, Settings},
    connection::Options,
    crypto::Fernet,
    files::Items,
    metrics::Metrics,
    redirection::Waiting,
    registration::Registrar,
    system::{clock::Clock, shutdown::Shutdown, thread::Group, user::Owner},
};

/// One node of a cluster: its configuration, its clock and its threads. Nothing in it changes while it runs.
pub struct Node {
    /// The installation.
    pub home: Home,
    /// `<cluster>` of ossec.conf.
    pub cluster: Cluster,
    /// cluster.json.
    pub settings: Settings,
    /// The files that are kept equal.
    pub items: Arc<Items>,
    /// The agent database. Asking it may take long: never on the reader of a connection.
    pub agents: Store,
    /// Who registers agents. Asking may take long, like the agent database.
    pub registrar: Registrar,
    /// Who is to own the files that are written; none if this process cannot give files away.
    pub owner: Option<Owner>,
    /// For every wait.
    pub clock: Clock,
    /// The order to stop.
    pub shutdown: Shutdown,
    /// What it counts.
    pub metrics: Metrics,
    /// Local programs that wait for other nodes.
    pub waiting: Waiting,
    /// Requests of the API that this node executes.
    pub api: Api,
    /// Readers and writers of connections.
    pub connections: Group,
    /// Short-lived threads for what other nodes ask and what takes long.
    pub requests: Group,
    /// The same for local programs, which are not to hinder other nodes.
    pub local_requests: Group,
}

impl Node {
    /// The cipher of the links to other nodes.
    fn cipher(&self) -> Fernet {
        Fernet::new(self.cluster.key.as_bytes())
    }

    /// How a link to another node is set up; `accepted` as in [`Options::accepted`].
    pub fn link_options(&self, peer: String, accepted: bool) -> Options {
        let traffic = self.metrics.link.clone();
        Options { cipher: Some(self.cipher()), accepted, traffic, ..self.local_options(peer) }
    }

    /// How the connection of a local program is set up.
    pub fn local_options(&self, peer: String) -> Options {
        Options {
            peer,
            cipher: None,
            accepted: true,
            handshake_timeout: self.settings.link.handshake_timeout,
            frame_timeout: self.settings.link.frame_timeout,
            request_timeout: self.settings.communication.timeout_cluster_request,
            traffic: Arc::default(),
            clock: self.clock.clone(),
            shutdown: self.shutdown.clone(),
        }
    }
}
