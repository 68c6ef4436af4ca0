//! Whether a master is where its `<nodes>` say that the master is. A worker with a copy of the master's file would be a
//! second master, without a word.

use std::{io, path::Path, sync::Arc};

use crate::{
    config::{Cluster, NodeType},
    logging::{Scope, warn},
    node::Node,
    system::{own_address::is_own, thread},
};

/// What is to be looked at.
pub struct OwnAddress {
    /// Where the master may be; none on a worker.
    hosts: Vec<String>,
    /// Who says so.
    file: String,
}

impl OwnAddress {
    /// Of a node whose `<cluster>` stands in `file`.
    pub fn of(cluster: &Cluster, file: &Path) -> Self {
        let hosts = if cluster.node_type == NodeType::Master { cluster.nodes.clone() } else { Vec::new() };
        Self { hosts, file: file.display().to_string() }
    }

    /// Warns if the master is to be at an address that this machine does not have, and gives what is to be said of it. A
    /// name may take long to resolve.
    pub fn check(&self, scope: &Scope) -> Option<String> {
        // One that cannot be resolved may be its own.
        let host = self.hosts.first().filter(|_| self.hosts.iter().all(|host| is_own(host) == Some(false)))?;
        let text = format!(
            "the <node> {host} is not an address of this machine, which is the master by its <node_type>; if this is a copy of the master's \
             file, write <node_type>worker</node_type> and a <node_name> of its own; behind NAT or a load balancer all is \
             well"
        );
        warn!(scope, "The configuration may be that of another machine: {text} ({}).", self.file);
        Some(text)
    }

    /// [`OwnAddress::check`], for which nobody waits; `node` is told.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn check_meanwhile(self, node: &Arc<Node>, scope: &Scope) -> io::Result<()> {
        let (node, scope) = (node.clone(), scope.clone());
        let check = move || {
            if let Some(text) = self.check(&scope) {
                // Nobody else sets it.
                let _ = node.misplaced.set(text);
            }
        };
        thread::spawn("own-address", check).map(drop)
    }
}
