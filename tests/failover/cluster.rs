//! Three members of etcd, the candidates a and b, and the workers w1 and w2.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    members::Members,
    support::{Address, Daemon, Home, clusterd, control},
};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// The port where a candidate shows how it is.
pub const WATCHED: u16 = 9510;

/// The seconds after which a silent master is given up.
pub const TTL: u64 = 5;

/// A node, which may be running or not.
pub struct Node {
    pub name: &'static str,
    /// Of a worker, that of the first candidate.
    pub address: Address,
    pub home: Home,
    daemon: Option<Daemon>,
}

/// The whole of it.
pub struct Cluster {
    pub members: Members,
    /// a, b, w1, w2.
    pub nodes: Vec<Node>,
}

impl Node {
    fn new(name: &'static str, address: Address, hosts: &[String]) -> Self {
        let home = if name == "a" { Home::master_at(address) } else { Home::worker(name, address) };
        home.option("node_name", name);
        let nodes: String = hosts.iter().map(|host| format!("<node>{host}</node>")).collect();
        home.option("nodes", &nodes);
        Self { name, address, home, daemon: None }
    }

    /// Starts it; it need not serve yet when this comes back.
    pub fn start(&mut self) {
        self.daemon = Some(Daemon::spawn(&self.home, clusterd(&self.home), &["-f", "-r"]));
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    pub fn signal(&self, signal: Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().pid()
    }

    pub fn runs(&self) -> bool {
        self.daemon.is_some()
    }

    /// What a candidate answers to those who watch it; nothing while it does not run.
    pub fn shown(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect((self.address.0, WATCHED)) else { return String::new() };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        let asked = stream.write_all(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes());
        // It may end at any moment.
        let _ = asked.and_then(|()| stream.read_to_string(&mut answer));
        answer
    }

    /// What `cluster_control --failover-status --json` says; nothing while the node does not answer.
    pub fn status(&self) -> Option<Value> {
        let said = control(&self.home, &["--failover-status", "--json"]);
        serde_json::from_slice(&said.stdout).ok()
    }

    /// Its term, if it is the master.
    pub fn term(&self) -> Option<u64> {
        let status = self.status().filter(|_| self.runs())?;
        (status["role"] == "master").then(|| status["term"].as_u64()).flatten()
    }

    pub fn log(&self) -> String {
        String::from_utf8(self.home.read("logs/cluster.log").unwrap_or_default()).unwrap()
    }

    pub fn keys(&self) -> String {
        String::from_utf8(self.home.read("etc/client.keys").unwrap_or_default()).unwrap()
    }
}

impl Cluster {
    /// All of it, as soon as a is the master, b may follow, and the workers follow; none if etcd is not installed. `more` are
    /// settings of the candidates.
    pub fn start(more: &Value) -> Option<Self> {
        let members = Members::start(3, &[])?;
        let addresses = [Address::new(), Address::new()];
        let nodes = [("a", 0), ("b", 1), ("w1", 0), ("w2", 0)].map(|(name, at)| (name, addresses[at]));
        Some(Self::of(members, &addresses, &nodes, more))
    }

    /// These members and nodes. The candidates are at `hosts` for others, and watched at their own addresses.
    pub fn of(members: Members, hosts: &[Address; 2], nodes: &[(&'static str, Address)], more: &Value) -> Self {
        let hosts = hosts.map(|address| address.0.to_string());
        let nodes: Vec<_> = nodes.iter().map(|(name, address)| Node::new(name, *address, &hosts)).collect();
        for node in &nodes {
            // Where masters are elected, a node looks for the next one as it would in the field.
            let mut settings = json!({"link": {"reconnect_min": 1}});
            if ["a", "b"].contains(&node.name) {
                let mut failover = json!({"etcd": members.urls(), "candidates": ["a", "b"], "ttl": TTL});
                failover.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                settings["failover"] = failover;
                settings["metrics"] = json!({"listen": format!("{}:{WATCHED}", node.address.0)});
            }
            node.home.settings(settings);
            node.home.write("etc/client.keys", "");
            node.home.write("etc/shared/default/agent.conf", "<agent_config/>");
        }
        Self { members, nodes }
    }

    /// Starts all nodes, and waits until a is the master and b may follow.
    pub fn settle(&mut self) {
        self.nodes.iter_mut().for_each(Node::start);
        self.until_settled();
    }

    /// The same of nodes that have been started.
    pub fn until_settled(&self) {
        self.until("a is the master", |nodes| nodes[0].term().is_some());
        self.until_may_follow("b");
    }

    /// Waits until this candidate may follow the present master.
    pub fn until_may_follow(&self, name: &str) {
        let seat = crate::node::seat(&crate::node::options(&self.members.urls()));
        self.until(&format!("{name} may follow"), |_| {
            let reading = seat.etcd.read(&[clusterd::arbiter::Key::Sync]).ok();
            let entry = reading.and_then(|reading| reading.entries[0].clone());
            entry.is_some_and(|entry| entry.sync().unwrap().candidates.iter().skip(1).any(|other| other == name))
        });
    }

    /// Waits until `condition` holds; gives how long that took.
    #[track_caller]
    pub fn until(&self, what: &str, condition: impl Fn(&[Node]) -> bool) -> Duration {
        let begun = Instant::now();
        while !condition(&self.nodes) {
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.last_words());
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    }

    /// The last lines of all logs, for a test that fails.
    fn last_words(&self) -> String {
        let last = |node: &Node| {
            let log = node.log();
            let lines = log.lines().filter(|line| !line.contains("[Local ")).rev();
            let lines: Vec<_> = lines.take(25).map(|line| line.chars().take(200).collect::<String>()).collect();
            format!("{}:\n{}\n", node.name, lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        self.nodes.iter().map(last).collect()
    }

    /// The place of the master among the nodes.
    pub fn master(&self) -> usize {
        (0..2).find(|at| self.nodes[*at].term().is_some()).expect("a master")
    }
}

/// The socket of the node at `home`, at which programs ask it.
pub fn control_socket(home: &Home) -> std::path::PathBuf {
    let path: &Path = &home.path("queue/cluster/c-internal.sock");
    path.to_owned()
}
