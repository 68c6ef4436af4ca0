//! The addresses of a host. The resolver of the system may take long and cannot be called off; so it is asked by a thread
//! of its own, and what it said last is used when it hangs.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::Mutex;

use super::Url;
use crate::system::{shutdown::Never, thread};

/// Addresses of one host that are kept.
const MOST: usize = 8;

/// What is known of one host.
pub(super) struct Names(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What the resolver said last when it knew something.
    known: Vec<SocketAddr>,
    /// Why it knew nothing.
    failure: String,
    /// Ends when it has said something.
    asked: Option<Receiver<Never>>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// The addresses of the host, at `deadline` at the latest.
    ///
    /// # Errors
    /// Why none is known, for people.
    pub(super) fn addresses(&self, url: &Url, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = url.host.parse::<IpAddr>() {
            return Ok(vec![(address, url.port).into()]);
        }
        let answer = self.ask(url).map_err(|error| error.to_string())?;
        // Half of the time is left for what the addresses are needed for, if there are some.
        let patience = match deadline.saturating_duration_since(Instant::now()) {
            left if self.0.lock().known.is_empty() => left,
            left => left / 2,
        };
        let hangs = matches!(answer.recv_timeout(patience), Err(RecvTimeoutError::Timeout));
        let state = self.0.lock();
        match &state.known[..] {
            [] if hangs => Err("the name service does not answer".to_owned()),
            [] => Err(state.failure.clone()),
            known => Ok(known.to_vec()),
        }
    }

    /// One question at a time.
    fn ask(&self, url: &Url) -> io::Result<Receiver<Never>> {
        let mut state = self.0.lock();
        if let Some(asked) = &state.asked {
            return Ok(asked.clone());
        }
        let (end, asked) = bounded(0);
        let (state_of_thread, host, port) = (self.0.clone(), url.host.clone(), url.port);
        thread::spawn("arbiter-name", move || {
            let addresses = (host.as_str(), port).to_socket_addrs();
            let mut state = state_of_thread.lock();
            match addresses.map(|all| all.take(MOST).collect::<Vec<_>>()) {
                Ok(all) if all.is_empty() => state.failure = "it has no address".to_owned(),
                Ok(all) => state.known = all,
                // What was known is still better than nothing.
                Err(error) => state.failure = error.to_string(),
            }
            state.asked = None;
            drop(state);
            drop(end);
        })?;
        Ok(state.asked.insert(asked).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn names_and_addresses_are_resolved() {
        let names = Names::new();
        let addresses = |text: &str| names.addresses(&text.parse().unwrap(), soon());
        assert_eq!(addresses("http://[::1]:7").unwrap(), ["[::1]:7".parse().unwrap()]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let all = addresses("http://localhost:7").unwrap();
                    assert!(!all.is_empty() && all.iter().all(|address| address.ip().is_loopback()));
                });
            }
        });
        assert!(names.0.lock().asked.is_none());
    }

    #[test]
    fn what_was_known_is_used_while_the_resolver_hangs() {
        let (hangs, asked) = bounded(0);
        let (url, known) = ("http://etcd:7".parse().unwrap(), vec!["10.0.0.1:7".parse().unwrap()]);
        let state = State { asked: Some(asked), failure: "nobody knows it".to_owned(), ..State::default() };
        let names = Names(Arc::new(Mutex::new(state)));
        let short = || Instant::now() + Duration::from_millis(20);
        assert_eq!(names.addresses(&url, short()).unwrap_err(), "the name service does not answer");
        names.0.lock().known = known.clone();
        assert_eq!(names.addresses(&url, short()).unwrap(), known);
        drop(hangs);
        assert_eq!(names.addresses(&url, soon()).unwrap(), known);
        names.0.lock().known.clear();
        assert_eq!(names.addresses(&url, soon()).unwrap_err(), "nobody knows it");
    }
}
