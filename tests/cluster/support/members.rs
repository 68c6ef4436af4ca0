//! Nodes that run anew when their role has changed, as the daemon does.

use std::{net::TcpListener, sync::Arc};

use clusterd::{
    arbiter::memory::{Memory, Seat},
    config::{ClusterKey, Config, NodeType},
    connection::Connection,
    daemon::Prepared,
    election::{Candidate, Own, order},
    local::Role,
    system::{
        clock::{Clock, FakeClock},
        shutdown::{self, Trigger},
    },
    term::Claim,
};
use serde_json::{Value, json};

use super::{LISTEN, Node, SECOND, TestHome, advance_until, config};

/// A file of the master.
pub const RULE: &str = "etc/rules/local_rules.xml";

/// The seconds after which a silent master is given up. A test moves the clock faster than threads run; so many leave them
/// time.
pub const TTL: u32 = 600;

/// The settings of candidates. The members of etcd are named for the form only.
const FAILOVER: &str = r#"{"etcd": ["http://127.0.0.1:1"], "candidates": ["a", "b"], "ttl": 600, "files": ["etc/authd.pass", "api/configuration/"]}"#;

/// Where `a` and `b` are. Programs of this machine that connect to others come from the second one.
const HOSTS: [&str; 2] = ["127.0.0.2", "127.0.0.1"];

/// A node that runs anew when its role has changed, as the daemon does.
pub struct Member {
    pub name: &'static str,
    address: &'static str,
    pub wished: NodeType,
    port: u16,
    /// The next key of the cluster, of a member that knows it.
    pub next_key: Option<ClusterKey>,
    clock: Clock,
    pub node: Option<Node>,
    /// Its connection to the arbiter, of a candidate.
    pub seat: Option<Seat>,
    pub candidate: Option<Arc<Candidate>>,
}

impl Member {
    pub fn start(&mut self, home: TestHome) {
        let config = self.config(&home);
        if let (Some(seat), None) = (&self.seat, &self.candidate) {
            self.candidate = Some(self.candidate_at(seat, &config));
        }
        let prepared = Prepared::of(config, self.clock.clone(), self.candidate.clone()).unwrap();
        self.node = Some(Node { running: prepared.start().unwrap(), home });
    }

    fn candidate_at(&self, seat: &Seat, config: &Config) -> Arc<Candidate> {
        let own = Own {
            name: self.name.to_owned(),
            address: self.address.to_owned(),
            port: self.port,
            cluster: "k".to_owned(),
            is_first: self.wished == NodeType::Master,
        };
        let failover = config.settings.failover.clone().unwrap();
        Candidate::new(own, failover, Arc::new(seat.clone()), &self.clock, order())
    }

    fn config(&self, home: &TestHome) -> Config {
        let settings = if self.seat.is_some() {
            json!({"failover": FAILOVER.parse::<Value>().unwrap(), "metrics": {"listen": LISTEN}})
        } else {
            json!({})
        };
        let mut config = config(home, settings, self.name, self.wished, self.port);
        if let Some(next) = &self.next_key {
            let present = std::mem::replace(&mut config.cluster.key, next.clone());
            config.settings.link.accept_keys.push(present);
        }
        config.cluster.bind_addr = self.address.to_owned();
        config.cluster.nodes = HOSTS.map(str::to_owned).to_vec();
        config
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// As by a kill: nothing is told to anybody.
    pub fn stop(&mut self) -> TestHome {
        let home = self.node.take().unwrap().stop();
        if let Some(candidate) = self.candidate.take() {
            let seat = self.seat.as_ref().unwrap();
            seat.cut(true);
            candidate.end();
            seat.cut(false);
        }
        home
    }

    /// Runs anew, as the daemon does.
    fn run_anew(&mut self) {
        let home = self.node.take().unwrap().stop();
        self.start(home);
    }

    pub fn role(&self) -> NodeType {
        self.node().running.role().node().cluster.node_type
    }

    pub fn claim(&self) -> Claim {
        self.node().running.role().node().term.claim()
    }

    pub fn reads(&self, path: &str) -> String {
        String::from_utf8(self.node().home.read(path).unwrap_or_default()).unwrap()
    }

    pub fn agents(&self) -> String {
        self.reads("etc/client.keys")
    }
}

/// The candidates a, the master, and b; and a worker c, which is no candidate.
pub struct Cluster {
    pub hand: FakeClock,
    pub members: [Member; 3],
    /// The arbiter, of those who have one.
    pub memory: Memory,
    _trigger: Trigger,
}

impl Cluster {
    pub fn new() -> Self {
        Self::of(false)
    }

    /// The same where a and b agree on the master at an arbiter; a is the first.
    pub fn with_arbiter() -> Self {
        Self::of(true)
    }

    fn of(with_arbiter: bool) -> Self {
        let (clock, hand) = FakeClock::new();
        let (trigger, order) = shutdown::channel();
        let memory = Memory::new(&clock, &order);
        // Free at the one address is free at the other, as good as always.
        let port = TcpListener::bind((HOSTS[0], 0)).unwrap().local_addr().unwrap().port();
        let member = |name, address, wished| Member {
            name,
            address,
            wished,
            port,
            next_key: None,
            clock: clock.clone(),
            node: None,
            seat: (with_arbiter && name != "c").then(|| memory.seat()),
            candidate: None,
        };
        let mut members = [
            member("a", HOSTS[0], NodeType::Master),
            member("b", HOSTS[1], NodeType::Worker),
            member("c", HOSTS[1], NodeType::Worker),
        ];
        for member in &mut members {
            let home = TestHome::new();
            if member.name == "a" {
                home.write(RULE, "of a");
                home.write("etc/client.keys", "");
                home.write("etc/shared/web/agent.conf", "<agent_config/>");
            }
            member.start(home);
        }
        let mut cluster = Self { hand, members, memory, _trigger: trigger };
        cluster.until("all follow a", |[a, b, c]| {
            is_master(a) && a.node().workers().len() == 2 && [b, c].iter().all(|node| node.claim().master == "a")
        });
        cluster
    }

    /// Lets time pass, and those whose role has changed run anew, until `condition` holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, condition: impl Fn(&[Member; 3]) -> bool) {
        let Self { hand, members, .. } = self;
        advance_until(hand, SECOND / 20, what, || {
            for member in members.iter_mut() {
                if member.node.as_ref().is_some_and(|node| node.running.changed().try_recv().is_ok()) {
                    member.run_anew();
                }
            }
            condition(members)
        });
    }

    /// Has a member register an agent in the group web; gives its id, or the answer if it is refused.
    #[track_caller]
    pub fn register(&mut self, at: usize, name: &str) -> String {
        let registrar = self.members[at].node().running.role().services().registrar.clone();
        let arguments = json!({"name": name, "ip": "any", "groups": "web"});
        let request = json!({"function": "add", "arguments": arguments}).to_string();
        let asked = std::thread::spawn(move || registrar.ask(request.as_bytes()).unwrap());
        self.until("it is registered", |_| asked.is_finished());
        let answer: Value = serde_json::from_slice(&asked.join().unwrap()).unwrap();
        answer["data"]["id"].as_str().map_or_else(|| answer.to_string(), str::to_owned)
    }

    /// The connection of a member that is a worker to its master, as soon as there is one.
    #[track_caller]
    pub fn connection_of(&mut self, at: usize) -> Connection {
        let connection = |member: &Member| match member.node().running.role() {
            Role::Worker(worker) => worker.master(),
            Role::Master(_) => None,
        };
        self.until("a connection to the master", |members| connection(&members[at]).is_some());
        connection(&self.members[at]).unwrap()
    }

    /// Has a member promoted; gives the answer.
    #[track_caller]
    pub fn promote(&mut self, at: usize, force: bool) -> Value {
        let home = self.members[at].node().home.path("queue/cluster/c-internal.sock");
        let asked = std::thread::spawn(move || {
            let client = clusterd::local::client::LocalClient::new(home);
            client.ask(clusterd::wire::Command::Promote, json!({ "force": force }).to_string().as_bytes())
        });
        self.until("an answer", |_| asked.is_finished());
        match asked.join().unwrap() {
            Ok(answer) => serde_json::from_slice(&answer).unwrap(),
            Err(error) => json!(error.to_string()),
        }
    }
}

pub fn is_master(member: &Member) -> bool {
    member.node.is_some() && member.role() == NodeType::Master
}
