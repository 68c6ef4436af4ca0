//! Whether an address is one of this machine.

use std::{
    io,
    net::{ToSocketAddrs, UdpSocket},
};

/// Whether this machine has an address of `host`, a name or an address; none if that has no address. A name may take long
/// to resolve.
pub fn is_own(host: &str) -> Option<bool> {
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
