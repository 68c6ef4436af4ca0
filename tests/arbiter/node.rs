//! What the tests have in common.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clusterd::{
    arbiter::{
        Arbiter, Master,
        etcd::{Etcd, Options, Url, User},
    },
    system::shutdown::{self, Shutdown, Trigger},
};

/// Longer than anything that is waited for, on any machine.
const LONG: Duration = Duration::from_secs(120);

/// A node: its way to etcd, and the order to stop, which is given when this is dropped.
pub struct Seat {
    pub etcd: Arc<dyn Arbiter>,
    pub shutdown: Shutdown,
    _trigger: Trigger,
}

/// Options with which nothing is kept secret and no lease lasts.
pub fn options(urls: &[String]) -> Options {
    Options {
        cluster: "wazuh".into(),
        endpoints: urls.iter().map(|url| url.parse::<Url>().unwrap()).collect(),
        user: None,
        tls: None,
        ttl: Duration::from_secs(5),
    }
}

/// The same with calls that may take a minute, on a machine that is busy with other tests.
pub fn patient(urls: &[String]) -> Options {
    Options { ttl: Duration::from_secs(300), ..options(urls) }
}

/// A user with a password.
pub fn user(name: &str, password: &str) -> Option<User> {
    Some(User { name: name.into(), password: password.to_owned().into() })
}

/// A node with these options.
pub fn seat(options: &Options) -> Seat {
    let (trigger, shutdown) = shutdown::channel();
    let etcd = Arc::new(Etcd::new(options, &shutdown).unwrap());
    Seat { etcd, shutdown, _trigger: trigger }
}

/// A master of this name.
pub fn master(node: &str) -> Master {
    Master { node: node.into(), address: "10.0.0.1".into(), port: 1516, since: 7, cluster: "fingerprint".into() }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "waited for too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
