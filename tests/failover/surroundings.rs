//! What stands around the master learns who that is: load balancers, hooks, and people.

use std::{fs, path::Path, process::Command, time::Instant};

use serde_json::json;

use crate::{
    cluster::{Cluster, Node, WATCHED},
    support::{Address, Daemon, Home, clusterd, skip},
};

/// The file in a node's home that its hooks write.
const TOLD: &str = "logs/told";

fn serves(node: &Node) -> bool {
    node.shown("/master").starts_with("HTTP/1.1 200")
}

fn told(node: &Node) -> String {
    String::from_utf8(node.home.read(TOLD).unwrap_or_default()).unwrap()
}

#[test]
fn load_balancers_hooks_and_people_are_told_who_the_master_is() {
    let script = "echo $THREATLOCKDOWN_ROLE $THREATLOCKDOWN_TERM >>\"$0\"";
    let Some(mut cluster) = Cluster::start(&json!({})) else { return };
    for node in &cluster.nodes[..2] {
        let text = String::from_utf8(node.home.read("etc/cluster.json").unwrap()).unwrap();
        let mut settings: serde_json::Value = serde_json::from_str(&text).unwrap();
        for hook in ["on_master", "on_standby"] {
            settings["failover"][hook] = json!(["/bin/sh", "-c", script, node.home.path(TOLD)]);
        }
        node.home.write("etc/cluster.json", settings.to_string());
    }
    cluster.settle();
    let page = |node: &Node, parts: &[&str]| {
        let page = node.shown("/");
        parts.iter().all(|part| page.contains(part))
    };
    let b_may_follow = ["<p>b would follow a within about 6 s.</p>", "good\">is the master<", "good\">may follow<"];
    cluster.until("a shows it", |nodes| page(&nodes[0], &b_may_follow) && page(&nodes[1], &b_may_follow));
    cluster.until("a balancer chooses a", |nodes| serves(&nodes[0]) && !serves(&nodes[1]));
    assert!(cluster.nodes[1].shown("/master").starts_with("HTTP/1.1 503"));
    cluster.until("the hooks of both have run", |nodes| {
        told(&nodes[0]).ends_with("master 1\n") && told(&nodes[1]).ends_with("standby 0\n")
    });

    cluster.nodes[0].kill();
    cluster.until("a balancer chooses b", |nodes| serves(&nodes[1]));
    cluster.until("b has run its hook", |nodes| told(&nodes[1]).ends_with("master 2\n"));
    let nobody = ["<p>Nobody would follow b, if it failed now.</p>", "bad\">was in sync, and is away<"];
    let nobody_left = ["<p>Nobody would follow b, if it failed now.</p>", "bad\">is away<"];
    cluster.until("b shows that it is alone", |nodes| page(&nodes[1], &nobody) || page(&nodes[1], &nobody_left));
    assert!(cluster.nodes[1].shown("/").contains("<dt>Changes of master</dt><dd>2</dd>"));

    cluster.nodes[0].start();
    // It does not know of the change yet when it starts.
    cluster.until("a has run its hook", |nodes| told(&nodes[0]).ends_with("standby 1\n"));
    cluster.until_may_follow("a");
    cluster.until("both show it", |nodes| {
        nodes[..2].iter().all(|node| page(node, &["<p>a would follow b within about 6 s.</p>"]))
    });
    assert!(serves(&cluster.nodes[1]) && !serves(&cluster.nodes[0]));
}

const HAPROXY: &str = "/usr/sbin/haproxy";
const RULE: &str = "etc/rules/local_rules.xml";

/// The sample, with a proxy at this address in front of two candidates, which it asks itself.
fn proxy(at: Address, candidates: [Address; 2]) -> String {
    let sample = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/failover/haproxy.cfg")).unwrap();
    [
        ("check port 9511", format!("check port {WATCHED}")),
        ("192.0.2.10:1516", at.socket().to_string()),
        ("192.0.2.11:1516", candidates[0].socket().to_string()),
        ("192.0.2.12:1516", candidates[1].socket().to_string()),
        // The system may take this port for a connection.
        (":55000", ":15500".to_owned()),
        ("192.0.2.10", at.0.to_string()),
        ("192.0.2.11", candidates[0].0.to_string()),
        ("192.0.2.12", candidates[1].0.to_string()),
    ]
    .iter()
    .fold(sample, |text, (from, to)| {
        assert!(text.contains(from), "there is no {from} in the sample");
        text.replace(from, to)
    })
}

#[test]
fn a_worker_of_the_standard_protocol_behind_haproxy_follows() {
    if !Path::new(HAPROXY).exists() {
        return skip("there is no /usr/sbin/haproxy (apt-get install haproxy)");
    }
    let Some(mut cluster) = Cluster::start(&json!({})) else { return };
    let front = Home::master();
    front.write("proxy.cfg", proxy(front.address, [cluster.nodes[0].address, cluster.nodes[1].address]));
    let mut command = Command::new(HAPROXY);
    command.arg("-db").arg("-f").arg(front.path("proxy.cfg"));
    let _proxy = Daemon::spawn(&front, command, &[]);
    let stock = Home::worker("w3", front.address);
    stock.settings(
        json!({"link": {"native": "never", "reconnect_min": 10}, "intervals": {"worker": {"connection_retry": 10}}}),
    );
    cluster.settle();
    let _stock = Daemon::spawn(&stock, clusterd(&stock), &["-f", "-r"]);
    let has = |rule: &str| stock.read(RULE).as_deref() == Some(rule.as_bytes());
    cluster.nodes[0].home.write(RULE, "of a");
    cluster.until("it has a rule of a", |_| has("of a"));
    cluster.until("b has it, too", |nodes| nodes[1].home.read(RULE).as_deref() == Some(b"of a"));
    cluster.until_may_follow("b");

    cluster.nodes[0].kill();
    let killed = Instant::now();
    cluster.until("b is the master", |nodes| nodes[1].term() == Some(2));
    cluster.nodes[1].home.write(RULE, "of b");
    cluster.until("it has a rule of b", |_| has("of b"));
    println!(
        "a worker of the standard protocol behind HAProxy had a rule of the next master after {:.2?}",
        killed.elapsed()
    );
}
