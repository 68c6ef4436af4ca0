//! What a node does for other programs of its machine, beside being one of a cluster.

use std::sync::Arc;

use crate::{
    agents::{Active, Numbers, Store},
    api::Api,
    config::settings::DistributedApi,
    node::Node,
    redirection::Waiting,
    registration::Registrar,
};

/// The services of one node.
pub struct Services {
    /// The agent database. A request may take long: never on the reader of a connection.
    pub agents: Store,
    /// How many agents are active on each node; see [`Services::active_agents`].
    pub active: Active,
    /// Registers agents. A request may take long, as with the agent database.
    pub registrar: Registrar,
    /// Local programs that wait for other nodes.
    pub waiting: Arc<Waiting>,
    /// Requests of the API that this node executes.
    pub api: Arc<Api>,
}

impl Services {
    /// With this agent database and this registrar, and what executes requests of the API.
    pub fn new(agents: Store, registrar: Registrar, api: &DistributedApi) -> Self {
        let (active, waiting, api) = (Active::default(), Arc::default(), Arc::new(Api::new(api)));
        Self { agents, active, registrar, waiting, api }
    }

    /// How many agents are active on each node; none if the agent database does not tell within a second.
    pub fn active_agents(&self, node: &Node) -> Option<Numbers> {
        self.active.now(&self.agents, &node.local_requests, &node.clock)
    }
}
