//! A new key for a cluster of three that goes on meanwhile: `docs/key-rotation.md`.

use std::{fs, process::Output};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Home, KEY, Peer, clusterd, control, finish, until};

fn generate() -> String {
    let mut command = clusterd(&Home::master());
    command.arg("--generate-key");
    let Output { status, stdout, stderr } = finish(command);
    assert_eq!((status.code(), stderr), (Some(0), Vec::new()));
    String::from_utf8(stdout).unwrap().trim_end_matches('\n').to_owned()
}

#[test]
fn a_new_key_is_printed() {
    let keys = [generate(), generate()];
    for key in &keys {
        assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{key}");
    }
    assert_ne!(keys[0], keys[1]);
}

/// What `--key-status --json` shows, and its exit code.
fn status(home: &Home) -> (Value, Option<i32>) {
    let Output { status, stdout, .. } = control(home, &["--key-status", "--json"]);
    (serde_json::from_slice(&stdout).unwrap_or_default(), status.code())
}

/// A value of each node, by the name of the node.
fn of_nodes(status: &Value, member: &str) -> Value {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().map(|node| (node["name"].as_str().unwrap().to_owned(), node[member].clone())).collect()
}

/// A master and two workers.
struct Cluster {
    homes: [Home; 3],
    daemons: [Option<Daemon>; 3],
    written: usize,
}

const M: usize = 0;
const W1: usize = 1;
const W2: usize = 2;

impl Cluster {
    fn start() -> Self {
        let master = Home::master();
        let [one, two] = ["w1", "w2"].map(|name| Home::worker(name, master.address));
        let homes = [master, one, two];
        let daemons = [0, 1, 2].map(|at| Some(Daemon::start(&homes[at])));
        Self { homes, daemons, written: 0 }
    }

    /// What is changed on the master reaches both workers.
    fn is_in_sync(&mut self) {
        self.written += 1;
        let content = format!("change {}", self.written);
        self.homes[M].write("etc/rules/live.xml", &content);
        for worker in [W1, W2] {
            self.homes[worker].wait_for_file("etc/rules/live.xml", &content);
        }
    }

    /// Has a node read its files, which `change` has changed; then everything goes on.
    fn step(&mut self, at: usize, change: impl FnOnce(&Home)) {
        let home = &self.homes[at];
        change(home);
        let mut check = clusterd(home);
        check.arg("-t");
        assert_eq!(finish(check).status.code(), Some(0));
        let mark = home.mark();
        self.daemons[at].as_ref().unwrap().signal(Signal::SIGHUP);
        home.wait_for_since(mark, "The configuration has been read again: ");
        self.is_in_sync();
    }

    /// Waits until the keys of all nodes are these, on whatever node it is asked.
    fn keys_become(&self, member: &str, expected: &Value, exit: i32) {
        for home in &self.homes {
            until(&format!("{member} {expected}"), || {
                let (status, code) = status(home);
                (status["nodes"].as_array()?.len() == 3 && of_nodes(&status, member) == *expected && code == Some(exit))
                    .then_some(())
            });
        }
    }
}

#[test]
fn three_nodes_stay_in_sync_while_their_key_is_changed() {
    let mut cluster = Cluster::start();
    cluster.is_in_sync();
    let first = of_nodes(&status(&cluster.homes[M]).0, "key");
    let old = first["m"].clone();
    cluster.keys_become("key", &json!({"m": old, "w1": old, "w2": old}), 0);

    // Step 1: the new key, and the old one besides; in any order.
    let key = generate();
    let change = |home: &Home| {
        home.settings(json!({"link": {"accept_keys": [KEY]}}));
        home.option("key", &key);
    };
    cluster.step(W1, change);
    let (now, code) = status(&cluster.homes[M]);
    let new = of_nodes(&now, "key")["w1"].clone();
    assert!(new != old && code == Some(3), "{now}");
    let said = control(&cluster.homes[W2], &["--key-status"]).stderr;
    let expected =
        format!("Another key: w1: it has {}, the master {}.\n", new.as_str().unwrap(), old.as_str().unwrap());
    assert_eq!(String::from_utf8(said).unwrap(), expected);
    // It is found again when it comes back, whatever the others have by then.
    cluster.daemons[W1].take().unwrap().kill();
    cluster.daemons[W1] = Some(Daemon::start(&cluster.homes[W1]));
    cluster.is_in_sync();
    cluster.homes[W1]
        .wait_for("The master does not take the <key> of this node; the link uses one of link.accept_keys.");
    cluster.step(M, change);
    cluster.step(W2, change);
    // All have it: the next step may be taken. The links are the old ones.
    cluster.keys_become("key", &json!({"m": new, "w1": new, "w2": new}), 0);
    cluster.keys_become("accepted", &json!({"m": [old], "w1": [old], "w2": [old]}), 0);
    cluster.keys_become("link", &json!({"m": null, "w1": old, "w2": old}), 0);
    let lost = |home: &Home| home.log().matches("The connection has been closed: ").count();
    assert_eq!([W1, W2].map(|at| lost(&cluster.homes[at])), [0, 0], "no link was cut");

    // Step 2: the old key goes; in any order.
    let finish_change = |home: &Home| home.settings(json!({}));
    cluster.step(W2, finish_change);
    assert_eq!(of_nodes(&status(&cluster.homes[M]).0, "link")["w2"], new);
    cluster.step(M, finish_change);
    cluster.step(W1, finish_change);
    cluster.keys_become("link", &json!({"m": null, "w1": new, "w2": new}), 0);
    cluster.keys_become("accepted", &json!({"m": [], "w1": [], "w2": []}), 0);
    assert_eq!([W1, W2].map(|at| lost(&cluster.homes[at])), [1, 1], "each link was made anew once");

    // The old key is worth nothing any more.
    let mut late = Peer::connect(cluster.homes[M].address);
    late.send_bytes(&late.frame(1, "hello", b"w3 wazuh worker 4.14.7"));
    late.wait_for_end();
    let mut peer = Peer::connect(cluster.homes[M].address);
    peer.change_key(&key);
    assert_eq!(peer.hello("w3").0, "ok");

    for home in &cluster.homes {
        let log = home.log();
        assert!(!log.contains("Could not connect to master"), "each attempt to connect was good:\n{log}");
        assert!(!log.contains("ERROR"), "{log}");
        for text in [&log, &fs::read_to_string(home.beside("stderr")).unwrap()] {
            assert!(![KEY, &key, &key[..16], &key[16..]].iter().any(|secret| text.contains(secret)), "a key is shown");
            let fingerprints = [&old, &new].map(|name| name.as_str().unwrap());
            assert!(!fingerprints.iter().any(|name| text.contains(name)), "a fingerprint is logged");
        }
    }
}

/// A worker that was forgotten is out, says why, and is back with the new key.
#[test]
fn a_worker_without_the_new_key_is_told_so() {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    master.write("etc/rules/a.xml", "a");
    let (master_daemon, worker_daemon) = (Daemon::start(&master), Daemon::start(&worker));
    worker.wait_for_file("etc/rules/a.xml", "a");
    let key = generate();
    master.option("key", &key);
    master_daemon.signal(Signal::SIGHUP);
    master.wait_for("Disconnected w1: its key is not accepted any more.");
    worker.wait_for(
        "Could not connect to master: the connection was closed: the peer closed it; the <key> must be the same",
    );
    let output = control(&worker, &["--key-status"]);
    assert_eq!(output.status.code(), Some(3));
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.lines().count() == 2 && out.contains("w1"), "its own keys are shown: {out}");
    assert!(err.starts_with("ERROR: Error 3023 - Worker node is not connected to master"), "{err}");
    worker.option("key", &key);
    worker_daemon.signal(Signal::SIGHUP);
    master.write("etc/rules/a.xml", "b");
    worker.wait_for_file("etc/rules/a.xml", "b");
}
