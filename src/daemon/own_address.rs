//! Whether a master is where its `<nodes>` say that the master is. A worker with a copy of the master's file would be a
//! second master, without a word.

use std::{
    io,
    net::{ToSocketAddrs, UdpSocket},
    path::Path,
};

use log::warn;

use crate::{
    config::{Cluster, NodeType},
    logging::Scope,
    system::thread,
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

    /// Warns if the master is to be at an address that this machine does not have. A name may take long to resolve.
    pub fn check(&self, scope: &Scope) {
        if self.host.is_empty() || is_own(&self.host) != Some(false) {
            return;
        }
        warn!(
            target: &**scope,
            "The <node> {} is no address of this machine, which is to be the master. If this is a copy of the master's \
             file, write <node_type>worker</node_type> and a <node_name> of its own; behind NAT or a load balancer all is \
             well ({})",
            self.host, self.file
        );
    }

    /// [`OwnAddress::check`], for which nobody waits.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn check_meanwhile(self, scope: &Scope) -> io::Result<()> {
        let scope = scope.clone();
        thread::spawn("own-address", move || self.check(&scope)).map(drop)
    }
}

/// Whether this machine has an address of `host`; none if that has no address.
fn is_own(host: &str) -> Option<bool> {
    let addresses: Vec<_> = (host, 0).to_socket_addrs().ok()?.collect();
    // The kernel gives a socket no address that the machine does not have.
    let is_foreign = |error: io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    let own = |address: &_| !UdpSocket::bind(address).is_err_and(is_foreign);
    (!addresses.is_empty()).then(|| addresses.iter().any(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 4.11. The foreign addresses are those of documentation (RFC 5737).
    #[test]
    fn addresses_and_names_of_this_machine_are_its_own() {
        for own in ["127.0.0.1", "127.9.9.9", "localhost"] {
            assert_eq!(is_own(own), Some(true), "{own}");
        }
        assert_eq!(is_own("192.0.2.1"), Some(false));
        assert_eq!(is_own("no such name"), None);
    }
}
