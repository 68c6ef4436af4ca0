//! The samples of `etc/failover`, with the real programs.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Instant,
};

use serde_json::{Value, json};

use crate::support::{Address, Daemon, Home, control, finish, skip, unshared_with, until};

const HAPROXY: &str = "/usr/sbin/haproxy";
const KEEPALIVED: &str = "/usr/sbin/keepalived";

fn sample(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/failover").join(name)).unwrap()
}

/// The text with each of these replaced, of which each occurs.
fn replaced(mut text: String, changes: &[(&str, String)]) -> String {
    for (from, to) in changes {
        assert!(text.contains(from), "there is no {from} in the sample");
        text = text.replace(from, to);
    }
    text
}

/// A candidate that can be handed the role by the other, and tells a proxy whether it has it.
fn candidate(home: Home, name: &str, addresses: [Address; 2]) -> Home {
    home.option("node_name", name);
    // A connection to a loopback address comes from the last one, and a node that is handed the role has to be named.
    let nodes = addresses.map(|address| format!("<node>{}</node>", address.0)).concat();
    home.option("nodes", &format!("{nodes}<node>127.0.0.1</node>"));
    home.settings(json!({"metrics": {"listen": format!("{}:9510", home.address.0)}}));
    home
}

/// The configuration of all proxies: the one in the middle, and those of the candidates.
fn proxies(proxy: Address, candidates: [Address; 2]) -> [String; 3] {
    let [a, b] = candidates;
    let middle = [
        ("192.0.2.10:1516", proxy.socket().to_string()),
        ("192.0.2.11:1516", a.socket().to_string()),
        ("192.0.2.12:1516", b.socket().to_string()),
        // The system may take this port for a connection.
        (":55000", ":15500".to_owned()),
        ("192.0.2.10", proxy.0.to_string()),
        ("192.0.2.11", a.0.to_string()),
        ("192.0.2.12", b.0.to_string()),
    ];
    let beside = |name: &str, at: Address| {
        let changes = [
            ("192.0.2.11", at.0.to_string()),
            // Whoever connects to an address of the loopback interface comes from this one.
            ("src 192.0.2.10", "src 127.0.0.1".to_owned()),
            ("127.0.0.1:9510", format!("{}:9510", at.0)),
            ("listen master-check", format!("listen {name}")),
            ("defaults candidate", format!("defaults of-{name}")),
        ];
        replaced(sample("haproxy-candidate.cfg"), &changes)
    };
    [replaced(sample("haproxy.cfg"), &middle), beside("a", a), beside("b", b)]
}

/// Starts HAProxy in the foreground with these files, in the directory of `home`.
fn haproxy(home: &Home, files: &[String]) -> Daemon {
    let mut command = Command::new(HAPROXY);
    command.arg("-db");
    for (number, text) in files.iter().enumerate() {
        let name = format!("proxy{number}.cfg");
        home.write(&name, text);
        command.arg("-f").arg(home.path(&name));
    }
    Daemon::spawn(home, command, &[])
}

fn status(home: &Home) -> Value {
    serde_json::from_slice(&control(home, &["--failover-status", "--json"]).stdout).unwrap_or_default()
}

#[test]
fn a_worker_behind_haproxy_follows_a_change_of_master() {
    if !Path::new(HAPROXY).exists() {
        return skip("there is no /usr/sbin/haproxy (apt-get install haproxy)");
    }
    let addresses = [Address::new(), Address::new()];
    let a = candidate(Home::master_at(addresses[0]), "a", addresses);
    let b = candidate(Home::worker("b", addresses[1]), "b", addresses);
    let front = Home::master();
    let worker = Home::worker("w1", front.address);
    let mut proxy = haproxy(&front, &proxies(front.address, addresses));
    let _daemons = [&a, &b, &worker].map(Daemon::start);
    let follows = |rule: &str| worker.read("etc/rules/local_rules.xml").as_deref() == Some(rule.as_bytes());
    a.write("etc/rules/local_rules.xml", "of a");
    until("a rule of a on the worker", || follows("of a").then_some(()));
    assert!(proxy.is_running());

    let begun = Instant::now();
    let said = control(&b, &["--promote"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let promoted = begun.elapsed();
    until("the worker of b", || (status(&worker)["master"] == "b").then_some(()));
    let followed = begun.elapsed();
    b.write("etc/rules/local_rules.xml", "of b");
    until("a rule of b on the worker", || follows("of b").then_some(()));
    println!(
        "b was the master after {promoted:.2?}, the worker behind HAProxy followed after {followed:.2?}, and had its new rule after \
         {:.2?}",
        begun.elapsed()
    );
    assert_eq!(status(&a)["role"], "worker");
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    proxy.wait();
}

/// What `keepalived --config-test` says of this text where there is an interface `eth0`; none where none can be made.
fn keepalived(home: &Home, text: &str) -> Option<Output> {
    home.write("keepalived.conf", text);
    let mut command = Command::new(KEEPALIVED);
    command.args(["--config-test", "--use-file"]).arg(home.path("keepalived.conf"));
    let setup = "ip link add eth0 type veth peer name other; ip link set eth0 up";
    unshared_with(&["--net"], setup, &[], &command).map(finish)
}

#[test]
fn keepalived_accepts_the_sample() {
    if !Path::new(KEEPALIVED).exists() {
        return skip("there is no /usr/sbin/keepalived (apt-get install keepalived)");
    }
    let home = Home::master();
    // The user of the sample is not one of this machine.
    let good = replaced(sample("keepalived.conf"), &[("script_user keepalived_script", "script_user root".to_owned())]);
    let bad = replaced(good.clone(), &[("virtual_router_id 16", "virtual_router_id sixteen".to_owned())]);
    let Some(said) = keepalived(&home, &good) else { return skip("no network namespaces here") };
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    assert!(!keepalived(&home, &bad).unwrap().status.success());
}
