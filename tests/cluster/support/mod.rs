//! Nodes for tests: a home in a temporary folder, a configuration, a clock.

mod database;
mod exposition;
mod framework;
pub mod members;
mod program;
mod raw;
pub mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clusterd::{
    config::{Auth, Cluster, ClusterKey, Config, Global, Home, NodeType, Settings},
    daemon::{Prepared, Running},
    local::Role,
    master::Master,
    system::clock::{Clock, FakeClock},
};
pub use database::{Database, fake_database, report, silent_database};
pub use exposition::{LISTEN, fetch, metrics};
pub use framework::install_framework;
pub use program::{LocalProgram, manager_program};
pub use raw::RawPeer;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The key of every test cluster.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// How long a condition may take in real time, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// The files of a node.
pub struct TestHome(TempDir);

impl TestHome {
    /// An empty installation.
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for directory in ["etc/rules", "etc/decoders", "etc/lists", "etc/shared", "queue", "var/multigroups", "logs"] {
            fs::create_dir_all(home.path(directory)).unwrap();
        }
        home
    }

    /// A path in it.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The content of a file; none if it is not there.
    pub fn read(&self, relative: &str) -> Option<Vec<u8>> {
        fs::read(self.path(relative)).ok()
    }

    /// All files of the synchronised directories with their contents.
    pub fn tree(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        walk(self.0.path(), &self.path("etc"), &mut found);
        walk(self.0.path(), &self.path("var/multigroups"), &mut found);
        found.sort();
        found
    }
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    // It, too, may have gone since it was listed.
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().unwrap().is_dir() {
            walk(root, &entry.path(), found);
        } else {
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            // It may have gone since it was listed.
            found.extend(fs::read(entry.path()).ok().map(|content| (name, content)));
        }
    }
}

/// A node that runs in this process.
pub struct Node {
    /// The node. It is dropped before its files, so that it does not write while they are removed.
    pub running: Running,
    /// Its files.
    pub home: TestHome,
}

impl Node {
    /// Starts a master on a free port.
    pub fn master(home: TestHome, clock: &Clock, settings: Value) -> Self {
        Self::start(home, clock, settings, "m", NodeType::Master, 0)
    }

    /// Starts a worker of the master at `port`.
    pub fn worker(home: TestHome, clock: &Clock, settings: Value, name: &str, port: u16) -> Self {
        Self::start(home, clock, settings, name, NodeType::Worker, port)
    }

    fn start(home: TestHome, clock: &Clock, settings: Value, name: &str, node_type: NodeType, port: u16) -> Self {
        Self::with_config(config(&home, settings, name, node_type, port), home, clock)
    }

    /// Starts a node with a configuration of the test's own.
    pub fn with_config(config: Config, home: TestHome, clock: &Clock) -> Self {
        let running = Prepared::new(config, clock.clone()).unwrap().start().unwrap();
        Self { home, running }
    }

    /// The port that a master listens at.
    pub fn port(&self) -> u16 {
        self.running.address().unwrap().port()
    }

    /// A master's inside.
    pub fn as_master(&self) -> &Master {
        match self.running.role() {
            Role::Master(master) => master,
            Role::Worker(_) => panic!("this node is a worker"),
        }
    }

    /// Names of the workers that are connected to a master.
    pub fn workers(&self) -> Vec<String> {
        self.as_master().registry.workers().iter().map(|worker| worker.hello.node.clone()).collect()
    }

    /// What a master tells of one worker.
    pub fn health(&self, worker: &str) -> Value {
        let health: Value = serde_json::from_str(&self.as_master().questions.health(b"null").unwrap()).unwrap();
        health["nodes"][worker].clone()
    }

    /// Stops the node; its files stay.
    pub fn stop(self) -> TestHome {
        assert_eq!(self.running.stop(), 0, "all threads end");
        self.home
    }
}

/// The configuration of a test node. Requests have all the time of the world unless `settings` says otherwise: a test
/// moves the clock faster than threads run.
pub fn config(home: &TestHome, settings: Value, name: &str, node_type: NodeType, port: u16) -> Config {
    let mut all =
        json!({"intervals": {"communication": {"timeout_cluster_request": 86400, "timeout_receiving_file": 86400}}});
    merge(&mut all, settings);
    let settings = Settings::parse(all.to_string().as_bytes(), Path::new("cluster.json")).unwrap();
    let cluster = Cluster {
        node_name: name.to_owned(),
        node_type,
        port,
        bind_addr: "127.0.0.1".to_owned(),
        nodes: vec!["127.0.0.1".to_owned()],
        ..Cluster::new(ClusterKey::new(KEY).unwrap())
    };
    Config { home: Home::new(home.path("")), cluster, auth: Auth::default(), global: Global::default(), settings }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Moves the clock in small steps until `condition` holds.
#[track_caller]
pub fn advance_until(hand: &FakeClock, step: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        hand.advance(step);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `condition` holds, with the clock standing still.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What lies in the middle: a machine that does much else makes single ones longer.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A second of the fake clock.
pub const SECOND: Duration = Duration::from_secs(1);
