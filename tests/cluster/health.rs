//! What a cluster tells of itself.

use clusterd::{local::client::LocalClient, system::clock::FakeClock, wire::Command};
use serde_json::{Value, json};

use crate::support::{Node, SECOND, TestHome, advance_until, eventually};

fn ask(node: &Node, command: Command, payload: &str) -> Value {
    let client = LocalClient::new(node.home.path("queue/cluster/c-internal.sock"));
    serde_json::from_slice(&client.ask(command, payload.as_bytes()).unwrap()).unwrap()
}

#[test]
fn master_and_worker_tell_the_same_of_the_cluster() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "a");
    home.write("etc/shared/default/agent.conf", "not of the ruleset");
    // It never sees only one of them.
    let master = Node::master(home, &clock, json!({}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    advance_until(&hand, SECOND, "a synchronisation", || worker.home.read("etc/rules/a.xml").is_some());
    eventually("the end of the synchronisation", || master.health("w1")["status"]["sync_integrity_free"] == true);

    for node in [&master, &worker] {
        let nodes = ask(node, Command::Nodes, "{}");
        let names: Vec<_> = nodes["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
        assert_eq!(names, ["m", "w1"]);
        let health = ask(node, Command::Health, "null");
        assert_eq!(health["n_connected_nodes"], 1);
        let status = &health["nodes"]["w1"]["status"];
        assert_eq!(status["last_sync_integrity"]["total_files"], json!({"missing": 2, "extra": 0, "shared": 0}));
        assert_eq!(health["nodes"]["m"]["info"]["type"], "master");
        let config = ask(node, Command::Config, "");
        assert_eq!(config["name"], "wazuh");
        assert_ne!(config["key"], crate::support::KEY, "the key is masked");
    }
    let hash = ask(&worker, Command::Hash, "");
    assert_eq!(hash, ask(&master, Command::Hash, ""));
    assert_eq!(hash.as_object().unwrap().keys().collect::<Vec<_>>(), ["etc/rules/a.xml"]);
    assert_eq!(hash["etc/rules/a.xml"].as_str().unwrap().len(), 128);
}

#[test]
fn a_worker_without_a_master_says_so() {
    let (clock, _hand) = FakeClock::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", free.local_addr().unwrap().port());
    let client = LocalClient::new(worker.home.path("queue/cluster/c-internal.sock"));
    let error = client.ask(Command::Nodes, b"{}").unwrap_err();
    assert_eq!(error.code(), 3023);
    assert_eq!(ask(&worker, Command::Config, "")["node_type"], "worker");
}
