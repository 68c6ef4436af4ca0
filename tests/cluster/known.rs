//! Which nodes a master knows, how each stands, and for how long it is known.

use std::{
    fs,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use clusterd::{
    local::client::{AskError, LocalClient},
    system::clock::{Clock, FakeClock},
    wire::Command,
};
use serde_json::{Value, json};

use crate::support::{Node, RawPeer, SECOND, TestHome, advance_until, eventually, silent_database};

const FILE: &str = "queue/cluster-state/nodes.json";

fn ask(node: &Node, command: Command, payload: &str) -> Result<Value, AskError> {
    let client = LocalClient::new(node.home.path("queue/cluster/c-internal.sock"));
    client.ask(command, payload.as_bytes()).map(|answer| serde_json::from_slice(&answer).unwrap())
}

fn health(node: &Node) -> Value {
    ask(node, Command::Health, "null").unwrap()
}

/// The verdict of a node; null if the master does not know it.
fn verdict(node: &Node, name: &str) -> Value {
    let health = health(node);
    let nodes = health["verdicts"].as_array().unwrap();
    nodes.iter().find(|node| node["name"] == name).cloned().unwrap_or_default()
}

fn forget(node: &Node, name: &str) -> Result<Value, AskError> {
    ask(node, Command::ForgetNode, &json!(name).to_string())
}

/// A master that waits for its workers as long as it takes.
fn master(home: TestHome, clock: &Clock) -> Node {
    Node::master(home, clock, json!({}))
}

/// Case 2.1: a node that was there is known until somebody forgets it, also over a restart.
#[test]
fn a_worker_that_left_is_known_until_it_is_forgotten() {
    let (clock, hand) = FakeClock::new();
    let node = master(TestHome::new(), &clock);
    node.home.write("etc/rules/a.xml", "a");
    assert!(!node.home.path(FILE).exists(), "it knows nobody");
    assert_eq!(verdict(&node, "m")["state"], "in sync");
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", node.port());
    advance_until(&hand, SECOND, "the worker in sync", || verdict(&node, "w1")["state"] == "in sync");
    let told = verdict(&node, "w1");
    assert_eq!((&told["reason"], &told["remedy"], &told["ip"]), (&Value::Null, &Value::Null, &json!("127.0.0.1")));
    let refused = forget(&node, "w1").unwrap_err();
    assert!(refused.to_string().contains("w1 is connected: stop it there first"), "{refused}");
    assert!(ask(&worker, Command::ForgetNode, "\"w1\"").unwrap_err().to_string().contains("run it on the master"));

    drop(worker);
    eventually("it is away", || verdict(&node, "w1")["state"] == "away");
    let away = verdict(&node, "w1");
    assert_eq!(away["reason"], "it closed the connection, as when it is stopped, restarted or killed");
    assert!(away["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{away}");
    assert_eq!((&away["version"], &away["ip"]), (&json!("4.14.7"), &json!("127.0.0.1")));
    let told = health(&node);
    assert_eq!((&told["n_connected_nodes"], &told["nodes"]["w1"]), (&json!(0), &Value::Null), "as the original");
    assert_eq!(told["verdicts"][0]["name"], "w1", "the bad ones come first");
    let some = ask(&node, Command::Health, r#"["m"]"#).unwrap();
    assert_eq!(some["verdicts"].as_array().map(Vec::len), Some(1), "only who is asked for: {some}");

    let node = master(node.stop(), &clock);
    assert_eq!(verdict(&node, "w1"), away, "nothing is lost with a restart");
    assert_eq!(forget(&node, "w1").unwrap()["forgotten"], away);
    assert_eq!(forget(&node, "w1").unwrap_err().code(), 1730);
    let node = master(node.stop(), &clock);
    assert_eq!(verdict(&node, "w1"), Value::Null);
}

/// Case 2.1: the master ends without a word, and the worker is not there when it starts again.
#[test]
fn a_worker_that_does_not_come_back_after_a_restart_is_away() {
    let (clock, hand) = FakeClock::new();
    let node = master(TestHome::new(), &clock);
    let mut peer = RawPeer::connect(node.port());
    assert_eq!(peer.hello("w1").0, "ok");
    eventually("it stands in the file", || node.home.path(FILE).exists());
    // As a kill would leave it.
    let written = node.home.read(FILE).unwrap();
    drop(peer);
    let home = node.stop();
    home.write(FILE, written);
    let started = clock.wall();
    let node = master(home, &clock);
    let away = verdict(&node, "w1");
    assert_eq!(
        (&away["state"], &away["reason"]),
        (&json!("away"), &json!("it has not come back since this master started"))
    );
    assert!(away["since"].as_str().unwrap() >= &*clusterd::system::clock::iso_utc(started), "{away}");

    // The next restart does not begin to count anew.
    hand.advance(3600 * SECOND);
    let node = master(node.stop(), &clock);
    assert_eq!(verdict(&node, "w1"), away);
    let _back = RawPeer::connect(node.port()).hello("w1");
    assert_ne!(verdict(&node, "w1"), away);
}

/// Case 2.1: the last reason is told, also when it wants to come back and may not.
#[test]
fn a_worker_that_is_refused_is_told_with_the_reason() {
    let (clock, _hand) = FakeClock::new();
    let node = master(TestHome::new(), &clock);
    let hello = |version: &str| {
        let mut peer = RawPeer::connect(node.port());
        peer.send("hello", format!("w1 wazuh worker {version}").as_bytes());
        peer.receive().unwrap().1
    };
    assert_eq!(hello("4.13.0"), "err");
    assert_eq!(verdict(&node, "w1"), Value::Null, "one that never was a worker is no node");
    assert_eq!(hello("4.14.7"), "ok");
    eventually("it has left", || verdict(&node, "w1")["state"] == "away");
    assert_eq!(hello("4.13.0"), "err");
    let reason = verdict(&node, "w1")["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("the master refuses it: Error 3031") && reason.contains("4.13.0"), "{reason}");
}

/// Whoever has the key and comes under names without end takes a bounded place, and does not wear the disk out.
#[test]
fn names_without_end_are_not_known_for_ever() {
    let (clock, hand) = FakeClock::new();
    let node = master(TestHome::new(), &clock);
    let come = |name: &str| assert_eq!(RawPeer::connect(node.port()).hello(name).0, "ok");
    come("first");
    eventually("it stands in the file", || node.home.path(FILE).exists());
    let written = || fs::metadata(node.home.path(FILE)).unwrap().modified().unwrap();
    let before = written();
    // The time of the clock stands still.
    (0..300).for_each(|number| come(&format!("x{number}")));
    eventually("all have left", || node.workers().is_empty());
    assert_eq!(written(), before, "however many come in two seconds");
    let known = health(&node)["verdicts"].as_array().unwrap().clone();
    assert_eq!(known.len(), 1 + 256, "and the master itself");
    assert_eq!((verdict(&node, "first"), &verdict(&node, "x299")["state"]), (Value::Null, &json!("away")));
    hand.advance(2 * SECOND);
    eventually("they stand in the file", || written() != before);
    let file: Value = serde_json::from_slice(&node.home.read(FILE).unwrap()).unwrap();
    assert_eq!(file["nodes"].as_array().map(Vec::len), Some(256));
}

/// Neither a damaged file nor one that cannot be written keeps a master from its work.
#[test]
fn a_master_starts_without_its_memory() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write(FILE, "{ damaged");
    let node = master(home, &clock);
    assert_eq!(health(&node)["verdicts"].as_array().map(Vec::len), Some(1));
    assert_eq!(node.home.read("queue/cluster-state/nodes.json.damaged").unwrap(), b"{ damaged");
    // A directory is where the file should be.
    let path = node.home.path(FILE);
    fs::create_dir_all(path.join("in the way")).unwrap();
    assert_eq!(RawPeer::connect(node.port()).hello("w1").0, "ok");
    eventually("it is known all the same", || verdict(&node, "w1")["state"] == "away");
    fs::remove_dir_all(&path).unwrap();
    advance_until(&hand, SECOND, "it is written at last", || path.is_file());
}

/// Case 2.3: a worker that came once under a wrong name counts until it is forgotten, and no longer.
#[test]
fn the_keys_of_nodes_that_are_forgotten_do_not_count() {
    let (clock, hand) = FakeClock::new();
    let node = master(TestHome::new(), &clock);
    assert_eq!(RawPeer::connect(node.port()).hello("typo").0, "ok");
    let keys = || ask(&node, Command::Keys, "").unwrap()["items"].clone();
    eventually("it has left", || keys()[1]["left"].is_string());
    let fingerprint = keys()[0]["key"].clone();
    assert_eq!((&keys()[1]["name"], &keys()[1]["link"]), (&json!("typo"), &fingerprint));
    hand.advance(48 * 3600 * SECOND);
    assert_eq!(keys()[1]["name"], "typo", "it may come back with an old key");
    forget(&node, "typo").unwrap();
    assert_eq!(keys().as_array().map(Vec::len), Some(1));
}

/// Case 2.8: only what needs the agent database lacks its figures.
#[test]
fn a_database_that_hangs_costs_no_more_than_the_number_of_agents() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    let asked = Arc::new(AtomicBool::new(false));
    silent_database(&home.path("queue/db/wdb"), asked);
    let node = Node::master(home, &clock, json!({"agent_database": "wazuh-db"}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", node.port());
    advance_until(&hand, SECOND, "the worker in sync", || node.workers() == ["w1"]);
    for (at, from) in [&node, &worker].into_iter().enumerate() {
        let began = Instant::now();
        let told = health(from);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(if at == 0 { 4 } else { 2 }), "{took:?}");
        assert_eq!(told["nodes"]["w1"]["info"]["n_active_agents"], Value::Null);
        assert_eq!(told["verdicts"].as_array().map(Vec::len), Some(2));
        assert!(told["nodes"]["w1"]["status"]["last_keep_alive"].is_string());
    }
}
