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

/// The members of all objects in their order, each with its path.
fn members(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{path}/{}", name.replace("specmaster", "m").replace("specw1", "w1"));
                found.push(path.clone());
                members(&path, value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| members(path, value, found)),
        _ => (),
    }
}

/// Case 4.2: programs print the answers member by member.
#[test]
fn members_come_in_the_order_of_the_original() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "a");
    let master = Node::master(home, &clock, json!({}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    let ended = || master.health("w1")["status"]["last_sync_integrity"]["total_files"]["missing"] == 1;
    advance_until(&hand, SECOND, "a synchronisation", ended);
    for (node, role) in [(&master, "master"), (&worker, "worker")] {
        let cases = [
            ("nodes", Command::Nodes, "{}"),
            ("health_null", Command::Health, "null"),
            ("health_list", Command::Health, r#"["m", "w1"]"#),
        ];
        for (name, command, payload) in cases {
            let vector = format!("tests/fixtures/vectors/local_{role}_get_{name}.json");
            let vector: Value = serde_json::from_str(&std::fs::read_to_string(vector).unwrap()).unwrap();
            let answers =
                vector["messages"].as_array().unwrap().iter().filter_map(|message| message["payload"].as_str());
            let original: Value = answers.filter_map(|text| serde_json::from_str(text).ok()).next_back().unwrap();
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            members("", &original, &mut theirs);
            let mut answer = ask(node, command, payload);
            // Ours, behind all else, and part of no object whose members anybody goes through.
            let verdicts = answer.as_object_mut().unwrap().shift_remove("verdicts");
            assert_eq!(verdicts.is_some(), command == Command::Health);
            members("", &answer, &mut ours);
            assert!(theirs.len() > 8, "{theirs:?}");
            assert_eq!(ours, theirs, "{role} {name}");
        }
    }
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
