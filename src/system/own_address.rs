//! The addresses of a host, and whether one is of this machine.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs, UdpSocket},
};

/// The addresses of `host`, a name or an address; none if it has none now. A name may take long to resolve.
pub fn addresses(host: &str) -> Vec<IpAddr> {
    let found = (host, 0).to_socket_addrs();
    found.map_or_else(|_| Vec::new(), |found| found.map(|address| address.ip().to_canonical()).collect())
}

/// Whether this machine has an address of `host`, a name or an address; none if that has no address. A name may take long
/// to resolve.
pub fn is_own(host: &str) -> Option<bool> {
    let addresses = addresses(host);
    // The kernel gives a socket no address that the machine does not have.
    let is_foreign = |error: io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    let own = |address: &IpAddr| !UdpSocket::bind((*address, 0)).is_err_and(is_foreign);
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
