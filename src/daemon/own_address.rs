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
    /// Where the master is; empty on a worker.
    host: String,
    /// Who says so.
    file: String,
}

impl OwnAddress {
    /// Of a node whose `<cluster>` stands in `file`.
    pub fn of(cluster: &Cluster, file: &Path) -> Self {
        let host = if cluster.node_type == NodeType::Master { cluster.master() } else { "" };
        Self { host: host.to_owned(), file: file.display().to_string() }
    }

    /// Warns if the master is to be at an address that this machine does not have, and gives what is to be said of it. A
    /// name may take long to resolve.
    pub fn check(&self, scope: &Scope) -> Option<String> {
        if self.host.is_empty() || is_own(&self.host) != Some(false) {
            return None;
        }
        let text = format!(
            "the <node> {} is not an address of this machine, which is the master by its <node_type>; if this is a copy of the master's \
             file, write <node_type>worker</node_type> and a <node_name> of its own; behind NAT or a load balancer all is \
             well",
            self.host
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
