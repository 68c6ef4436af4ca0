//! Connections that have not said hello: how many there may be (`spec/protocol.md` 2.4, 18.14).
//!
//! The original counts all connections of an address, which locks out the eleventh worker behind one NAT. Here only
//! those count that have not yet shown that they hold the key.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// Counts strangers, by address and in all.
#[derive(Clone, Default)]
pub struct Strangers(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// The place of one stranger; dropping it frees the place.
pub struct Place {
    strangers: Strangers,
    address: IpAddr,
}

impl Strangers {
    /// Takes a place for a connection from `address`; none if one of the limits is reached.
    pub fn admit(&self, address: IpAddr, per_address: u32, in_all: u32) -> Option<Place> {
        let address = host_of(address);
        let mut counts = self.0.lock();
        let all: u32 = counts.values().sum();
        let own = counts.get(&address).copied().unwrap_or(0);
        if own >= per_address || all >= in_all {
            return None;
        }
        counts.insert(address, own + 1);
        Some(Place { strangers: self.clone(), address })
    }
}

/// What counts as one address: of IPv6 the first 64 bits, because one host has all the rest.
fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.strangers.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let (strangers, one, two) = (Strangers::default(), IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let places: Vec<_> = (0..3).map(|_| strangers.admit(one, 3, 4).unwrap()).collect();
        assert!(strangers.admit(one, 3, 4).is_none(), "too many of this address");
        let other = strangers.admit(two, 3, 4);
        assert!(other.is_some() && strangers.admit(two, 3, 4).is_none(), "too many in all");
        drop(places);
        assert!(strangers.admit(one, 3, 4).is_some());
        assert_eq!(host_of("2001:db8::1".parse().unwrap()), host_of("2001:db8::ffff:1".parse().unwrap()));
        assert_eq!(host_of("::ffff:127.0.0.1".parse().unwrap()), one);
    }
}
