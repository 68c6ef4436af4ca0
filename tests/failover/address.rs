//! The address that moves to the master: the sample for keepalived with the real program, on machines of this test
//! ([`crate::lan`]).

use std::{
    fs,
    net::{Ipv4Addr, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cluster::{Cluster, Node},
    lan::{CANDIDATES, Lan, MIDDLE, Machine},
    members::Members,
    support::{Address, Daemon, Home, USERS, clusterd, skip, unshared, write_users},
};

const KEEPALIVED: &str = "/usr/sbin/keepalived";
const RULE: &str = "etc/rules/local_rules.xml";

/// The address of the sample that moves.
const MOVES: Address = Address(Ipv4Addr::new(192, 0, 2, 10));

/// Keepalived on the machine of a candidate.
struct Keepalived {
    home: Home,
    _daemon: Daemon,
}

impl Keepalived {
    /// With the sample as it is shipped, whose addresses, interface and port these machines have. None where they cannot have its
    /// user, too.
    fn start() -> Option<Self> {
        let home = Home::master();
        let users = home.beside("users");
        let user = "keepalived_script:x:4545:";
        write_users(&users, &format!("{user}4545::/:/usr/sbin/nologin\n"), &format!("{user}\n"));
        // It ends with its test, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", KEEPALIVED, "--dont-fork", "--log-console", "--vrrp", "--use-file"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/failover/keepalived.conf"));
        let command = unshared(&format!("{USERS}\nmount -t tmpfs none /run"), &[&users], &command)?;
        let daemon = Daemon::spawn(&home, command, &[]);
        Some(Self { home, _daemon: daemon })
    }

    fn log(&self) -> String {
        ["stdout", "stderr"].map(|name| fs::read_to_string(self.home.beside(name)).unwrap()).concat()
    }

    /// How often it has taken the address.
    fn taken(&self) -> usize {
        self.log().matches("Entering MASTER STATE").count()
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("keepalived:\n{}", self.log());
        }
    }
}

/// Which of two machines have the address: nobody else can bind it.
fn holders(lan: &Lan) -> [bool; 2] {
    [0, 1].map(|at| lan.machines[at].on(|| UdpSocket::bind((MOVES.0, 0)).is_ok()))
}

/// Whether a candidate tells the keepalived beside it that it is the master.
fn serves(machine: &Machine, node: &Node) -> bool {
    machine.on(|| node.shown("/master").starts_with("HTTP/1.1 200"))
}

/// Whether who knows only the address that moves reaches a master there.
fn answers() -> bool {
    TcpStream::connect_timeout(&MOVES.socket(), Duration::from_millis(200)).is_ok()
}

#[test]
fn an_address_moves_to_the_master() {
    if !Path::new(KEEPALIVED).exists() || !Path::new("/usr/bin/curl").exists() {
        return skip("there is no /usr/sbin/keepalived or no /usr/bin/curl (apt-get install keepalived curl)");
    }
    let lan = match Lan::new() {
        Ok(lan) => lan,
        Err(error) => return skip(&format!("no network namespaces here: {error}")),
    };
    lan.middle.on(|| moves(&lan));
}

/// Done on the machine in the middle.
fn moves(lan: &Lan) {
    let Some(members) = Members::at(vec![MIDDLE]) else { return };
    let members = members.begin(&[]);
    members.serve();
    let own = Address(Ipv4Addr::LOCALHOST);
    let mut cluster = Cluster::of(members, &CANDIDATES, &[("a", own), ("b", own)], &json!({}));
    let client = Home::worker("w", MOVES);
    client.settings(json!({"link": {"native": "never"}}));
    let mut keepalived = vec![];
    for (node, machine) in cluster.nodes.iter_mut().zip(&lan.machines) {
        node.home.option("bind_addr", "0.0.0.0");
        machine.on(|| node.start());
        let Some(started) = machine.on(Keepalived::start) else { return skip("no mount namespaces here") };
        keepalived.push(started);
    }
    let _client = Daemon::spawn(&client, clusterd(&client), &["-f", "-r"]);
    cluster.until_settled();
    cluster.until("a is asked", |nodes| serves(&lan.machines[0], &nodes[0]));
    led_to(&cluster, lan, &client, 0);
    follows(&cluster, 1, 0);

    let killed = Instant::now();
    cluster.nodes[0].kill();
    println!("the master was killed: {}", led_to(&cluster, lan, &client, 1).since(killed));
    lan.machines[0].on(|| cluster.nodes[0].start());
    follows(&cluster, 0, 1);
    assert_eq!(holders(lan), [false, true], "a former master does not take the address");

    let pulled = Instant::now();
    lan.pull(1);
    println!("the master was cut off: {}", led_to(&cluster, lan, &client, 0).since(pulled));
    lan.plug(1);
    follows(&cluster, 1, 0);
    assert_eq!(holders(lan), [true, false], "nor does one that was cut off");
    // It has not been there in between either.
    assert_eq!(keepalived.iter().map(Keepalived::taken).collect::<Vec<_>>(), [2, 1]);
}

/// When the address answered again, and when its worker had a rule that the master there did not have before.
struct Led {
    answered: Instant,
    worked: Instant,
}

impl Led {
    fn since(&self, begun: Instant) -> String {
        let [answered, worked] = [self.answered, self.worked].map(|moment| moment - begun);
        format!("its address answered after {answered:.2?}, and a worker had a new rule after {worked:.2?}")
    }
}

/// Waits until the address leads to the candidate at this place, and a worker that knows nothing else follows it.
fn led_to(cluster: &Cluster, lan: &Lan, client: &Home, at: usize) -> Led {
    cluster.until("the address answers", |_| answers());
    let answered = Instant::now();
    cluster.until("one machine has it", |_| holders(lan) == [at == 0, at == 1]);
    cluster.until("it is the master", |nodes| nodes[at].term().is_some());
    let rule = format!("in term {}", cluster.nodes[at].term().unwrap());
    cluster.nodes[at].home.write(RULE, &rule);
    cluster.until("the worker has its rule", |_| client.read(RULE).as_deref() == Some(rule.as_bytes()));
    Led { answered, worked: Instant::now() }
}

/// Waits until a candidate has what the master has, and may follow it.
fn follows(cluster: &Cluster, at: usize, master: usize) {
    cluster.until("it has the master's rule", |nodes| nodes[at].home.read(RULE) == nodes[master].home.read(RULE));
    cluster.until_may_follow(cluster.nodes[at].name);
}
