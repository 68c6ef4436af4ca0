//! Connections that have not said hello: how many there may be, and who goes when there are more (`spec/protocol.md` 2.4,
//! 18.14).
//!
//! The stock daemon counts all connections of an address, which locks out the eleventh worker behind one NAT, and turns
//! the newcomer away, which lets ten idle connections lock out the worker of their address. Here only those count that
//! have not yet shown that they hold the key, and a newcomer always gets in; what counts of the others is how long ago
//! they came, whatever they trickle.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    config::settings::Link,
    connection::Connection,
    limits::{Guest, STRANGER_GRACE, STRANGER_LOOKED_AT, who_leaves},
};

/// The strangers of one master, in the order in which they came.
#[derive(Clone, Default)]
pub struct Strangers(Arc<Mutex<Vec<Stranger>>>);

struct Stranger {
    id: u64,
    address: SocketAddr,
    came: Instant,
    at: At,
}

enum At {
    /// It has said nothing whole.
    Door(TcpStream),
    /// Its first message is there, and its connection has threads of its own.
    Inside { since: Instant, connection: Option<Connection> },
}

/// The place of a stranger that is inside; dropping it frees the place.
pub struct Place {
    strangers: Strangers,
    id: u64,
}

/// One that has come in.
pub struct Entered {
    /// The stream, from which nothing was read.
    pub stream: TcpStream,
    /// Of the other end.
    pub address: SocketAddr,
    /// When it must have said hello.
    pub came: Instant,
    /// It is a stranger until this is dropped.
    pub place: Place,
}

impl Strangers {
    /// Somebody has come.
    pub fn come(&self, id: u64, stream: TcpStream, address: SocketAddr, came: Instant) {
        self.0.lock().push(Stranger { id, address, came, at: At::Door(stream) });
    }

    /// Looks at the stream of one at the door; none if it has gone.
    pub fn at_door<T>(&self, id: u64, look: impl FnOnce(&TcpStream) -> T) -> Option<T> {
        let strangers = self.0.lock();
        let stranger = strangers.iter().find(|stranger| stranger.id == id)?;
        if let At::Door(stream) = &stranger.at { Some(look(stream)) } else { None }
    }

    /// Lets one at the door in; none if it has gone.
    pub fn enter(&self, id: u64, now: Instant) -> Option<Entered> {
        let mut strangers = self.0.lock();
        let stranger = strangers.iter_mut().find(|stranger| stranger.id == id)?;
        let inside = At::Inside { since: now, connection: None };
        let At::Door(stream) = std::mem::replace(&mut stranger.at, inside) else { return None };
        let place = Place { strangers: self.clone(), id };
        Some(Entered { stream, address: stranger.address, came: stranger.came, place })
    }

    /// The one that was let in has this connection, if it is a stranger still.
    pub fn serve(&self, id: u64, served: &Connection) {
        if let Some(stranger) = self.0.lock().iter_mut().find(|stranger| stranger.id == id)
            && let At::Inside { connection, .. } = &mut stranger.at
        {
            *connection = Some(served.clone());
        }
    }

    /// One at the door has gone by itself; gives its address.
    pub fn gone(&self, id: u64) -> Option<SocketAddr> {
        let mut strangers = self.0.lock();
        let at = strangers.iter().position(|stranger| stranger.id == id)?;
        Some(strangers.remove(at).address)
    }

    /// Takes out who must go because there are too many. Those at the door are closed with that; the address and, of those
    /// inside, the connection is for the caller to close.
    pub fn surplus(&self, link: &Link, now: Instant) -> Vec<(SocketAddr, Option<Connection>)> {
        let mut strangers = self.0.lock();
        let mut out = Vec::new();
        while let Some(at) = goes(&strangers, link, now) {
            out.push(taken(strangers.remove(at)));
        }
        out
    }

    /// Takes out those at the door that have not said hello in time. Who is inside is timed by its connection.
    pub fn late(&self, limit: Duration, now: Instant) -> Vec<SocketAddr> {
        let mut strangers = self.0.lock();
        let late = |stranger: &mut Stranger| {
            matches!(stranger.at, At::Door(_)) && now.saturating_duration_since(stranger.came) >= limit
        };
        strangers.extract_if(.., late).map(|stranger| stranger.address).collect()
    }

    /// When it must be looked again who goes; none if there are no strangers.
    pub fn next(&self, link: &Link) -> Option<Instant> {
        let strangers = self.0.lock();
        let first = strangers.first()?.came;
        let crowded = crowds(&strangers).into_values().any(|count| count > link.max_unauthenticated_per_address);
        Some(first + if crowded { STRANGER_GRACE.min(link.handshake_timeout) } else { link.handshake_timeout })
    }
}

/// Who goes next, if there are too many.
fn goes(strangers: &[Stranger], link: &Link, now: Instant) -> Option<usize> {
    let guest = |stranger: &Stranger| Guest { party: host_of(stranger.address.ip()), idle: idle(stranger, now) };
    if strangers.len() > link.max_unauthenticated as usize {
        return who_leaves(strangers.iter().map(guest), now, Duration::ZERO);
    }
    if strangers.len() <= link.max_unauthenticated_per_address as usize {
        return None;
    }
    let crowds = crowds(strangers);
    let crowded = |stranger: &Stranger| {
        let guest = guest(stranger);
        let crowded = crowds.get(&guest.party).is_some_and(|count| *count > link.max_unauthenticated_per_address);
        Guest { idle: guest.idle.filter(|_| crowded), ..guest }
    };
    who_leaves(strangers.iter().map(crowded), now, STRANGER_GRACE)
}

fn crowds(strangers: &[Stranger]) -> HashMap<IpAddr, u32> {
    let mut crowds = HashMap::new();
    strangers.iter().for_each(|stranger| *crowds.entry(host_of(stranger.address.ip())).or_default() += 1);
    crowds
}

/// Since when it has been waited for its hello; none while its first message is being looked at.
fn idle(stranger: &Stranger, now: Instant) -> Option<Instant> {
    let looked_at = matches!(&stranger.at, At::Inside { since, .. } if now < *since + STRANGER_LOOKED_AT);
    (!looked_at).then_some(stranger.came)
}

fn taken(stranger: Stranger) -> (SocketAddr, Option<Connection>) {
    match stranger.at {
        At::Door(_) => (stranger.address, None),
        At::Inside { connection, .. } => (stranger.address, connection),
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
        self.strangers.0.lock().retain(|stranger| stranger.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Settings;

    /// Ten of one address, twenty in all.
    fn link() -> Link {
        Link { max_unauthenticated: 20, ..Settings::default().link }
    }

    struct House {
        strangers: Strangers,
        listener: TcpListener,
        start: Instant,
        count: u64,
    }

    impl House {
        fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Self { strangers: Strangers::default(), listener, start: Instant::now(), count: 0 }
        }

        /// Somebody comes from `host` after so many milliseconds; gives its number, which is in its port too.
        fn comes(&mut self, host: [u8; 4], after: u64) -> u64 {
            self.count += 1;
            let _peer = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            let (stream, _) = self.listener.accept().unwrap();
            self.strangers.come(self.count, stream, (host, self.count as u16).into(), self.at(after));
            self.count
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.start + Duration::from_millis(milliseconds)
        }

        /// The numbers of those who go then.
        fn go(&self, after: u64) -> Vec<u64> {
            let out = self.strangers.surplus(&link(), self.at(after));
            out.iter().map(|(address, _)| u64::from(address.port())).collect()
        }
    }

    const ONE: [u8; 4] = [10, 0, 0, 1];
    const TWO: [u8; 4] = [10, 0, 0, 2];

    #[test]
    fn the_oldest_of_a_crowded_address_goes_when_it_had_its_second() {
        let mut house = House::new();
        for n in 0..12 {
            house.comes(ONE, n);
        }
        assert_eq!(house.go(500), [0_u64; 0], "there is room, and each may be a worker in the middle of its hello");
        assert_eq!(house.strangers.next(&link()), Some(house.at(1000)));
        assert_eq!(house.go(1005), [1, 2]);
        assert_eq!(house.strangers.next(&link()), Some(house.at(30_002)));
        house.comes(ONE, 2000);
        assert_eq!(house.go(2000), [3]);
    }

    #[test]
    fn a_flood_pushes_out_its_own_and_not_who_came_from_elsewhere() {
        let mut house = House::new();
        let worker = house.comes(TWO, 0);
        for n in 1..1000 {
            house.comes(ONE, n);
            assert!(!house.go(n).contains(&worker));
        }
        assert_eq!(house.strangers.0.lock().len(), 20);
        let newest = house.comes(ONE, 1000);
        assert!(!house.go(1000).contains(&newest), "a newcomer always gets in");
    }

    #[test]
    fn who_has_said_something_whole_is_left_alone_for_a_while() {
        let mut house = House::new();
        let speaks = house.comes(ONE, 0);
        let entered = house.strangers.enter(speaks, house.at(1)).unwrap();
        for n in 0..15 {
            house.comes(ONE, n);
        }
        assert_eq!(house.go(4000).len(), 6);
        house.comes(ONE, 5001);
        assert_eq!(house.go(5001), [speaks]);
        drop(entered);
        assert_eq!(house.strangers.0.lock().len(), 10);
    }

    #[test]
    fn who_has_said_nothing_in_time_is_late() {
        let mut house = House::new();
        house.comes(ONE, 0);
        let inside = house.comes(TWO, 0);
        let _entered = house.strangers.enter(inside, house.at(1));
        let limit = Duration::from_secs(30);
        assert!(house.strangers.late(limit, house.at(29_999)).is_empty());
        assert_eq!(house.strangers.late(limit, house.at(30_000)), [(ONE, 1).into()]);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        assert_eq!(host_of("2001:db8::1".parse().unwrap()), host_of("2001:db8::ffff:1".parse().unwrap()));
        assert_eq!(host_of("::ffff:127.0.0.1".parse().unwrap()), IpAddr::from([127, 0, 0, 1]));
    }
}
