//! Large files that change by lines travel as their difference from what the worker has.

use std::{fmt::Write, fs};

use clusterd::{files::sum_of, system::clock::FakeClock};
use serde_json::{Value, json};

use crate::support::{LISTEN, Node, SECOND, TestHome, advance_until, metrics};

const KEYS: &str = "etc/client.keys";

/// The keys of agents with these numbers; they hardly shrink.
fn keys(ids: impl Iterator<Item = u32>) -> String {
    let mut text = String::new();
    for id in ids {
        let key = sum_of(&id.to_le_bytes()).iter().fold(String::new(), |key, byte| format!("{key}{byte:02x}"));
        writeln!(text, "{id:03} agent-{id} any {key}").unwrap();
    }
    text
}

struct Cluster {
    hand: FakeClock,
    master: Node,
    worker: Node,
}

impl Cluster {
    /// Of a master with many keys and a worker, in sync.
    fn new(settings: Value, worker: TestHome) -> Self {
        let (clock, hand) = FakeClock::new();
        let home = TestHome::new();
        home.write(KEYS, keys(1..8000));
        let mut watched = settings.clone();
        watched["metrics"] = json!({"listen": LISTEN});
        let master = Node::master(home, &clock, settings);
        let worker = Node::worker(worker, &clock, watched, "w1", master.port());
        let cluster = Self { hand, master, worker };
        cluster.arrives();
        cluster
    }

    fn arrives(&self) {
        let keys = self.master.home.read(KEYS);
        advance_until(&self.hand, SECOND / 50, "the keys", || self.worker.home.read(KEYS) == keys);
        // What is counted below is to be about the next change.
        let is_free = || self.master.health("w1")["status"]["sync_integrity_free"] == json!(true);
        advance_until(&self.hand, SECOND / 50, "the end of it", || !self.master.workers().is_empty() && is_free());
    }

    /// Bytes that came to the worker until it had these keys.
    fn bytes_of(&self, keys: &str) -> f64 {
        let received = || metrics(&self.worker)["wazuh_cluster_bytes_total{dir=\"in\"}"];
        let before = received();
        self.master.home.write(KEYS, keys);
        self.arrives();
        received() - before
    }
}

/// Less than the chunks that a key is in.
const FEW: f64 = 64_000.0;

#[test]
fn a_key_more_or_less_travels_as_a_difference() {
    let cluster = Cluster::new(json!({}), TestHome::new());
    for (what, new) in [
        ("one more", keys(1..8001)),
        ("one less", keys((1..8001).filter(|id| *id != 4000))),
        ("a removed one is marked, and two are new", keys((1..8003).filter(|id| *id != 10)) + "010 !agent-10 any x\n"),
        ("as before", keys(1..8001)),
    ] {
        let bytes = cluster.bytes_of(&new);
        assert!(bytes < FEW, "{what}: {bytes} bytes");
    }
    let bytes = cluster.bytes_of(&keys(10_000..18_000));
    assert!(bytes > 5.0 * FEW, "all others: {bytes} bytes");
}

#[test]
fn without_the_feature_it_travels_as_a_whole() {
    let features = json!(["checksum=md5+blake2b", "digest", "push", "applied"]);
    let bytes = Cluster::new(json!({"link": {"features": features}}), TestHome::new()).bytes_of(&keys(1..8001));
    assert!(bytes > 5.0 * FEW, "{bytes} bytes");
}

/// What stands there has the content that the difference is made from, but it is a link, and nothing is made from that.
#[test]
fn what_cannot_be_made_from_what_is_there_comes_as_a_whole_at_once() {
    let home = TestHome::new();
    home.write("kept.keys", keys(1..8000));
    fs::create_dir_all(home.path("etc")).unwrap();
    std::os::unix::fs::symlink(home.path("kept.keys"), home.path(KEYS)).unwrap();
    let cluster = Cluster::new(json!({}), home);
    let bytes = cluster.bytes_of(&keys(1..8001));
    assert!(bytes > 5.0 * FEW, "{bytes} bytes");
    assert!(!cluster.worker.home.path(KEYS).is_symlink());
    assert_eq!(cluster.master.health("w1")["status"]["failed_files"], Value::Null, "nothing has failed");
    let bytes = cluster.bytes_of(&keys(1..8002));
    assert!(bytes < FEW, "{bytes} bytes");
}

#[test]
fn a_worker_that_was_away_gets_what_has_changed_meanwhile() {
    let Cluster { hand, master, worker } = Cluster::new(json!({}), TestHome::new());
    let home = worker.stop();
    for last in [8001, 8002, 8003] {
        master.home.write(KEYS, keys(1..last));
        let turn = master.as_master().local_integrity.turn();
        advance_until(&hand, SECOND, "a look", || master.as_master().local_integrity.turn() > turn + 1);
    }
    let clock = &master.as_master().node.clock;
    let worker = Node::worker(home, clock, json!({"metrics": {"listen": LISTEN}}), "w1", master.port());
    let cluster = Cluster { hand, master, worker };
    cluster.arrives();
    let bytes = metrics(&cluster.worker)["wazuh_cluster_bytes_total{dir=\"in\"}"];
    assert!(bytes < FEW, "{bytes} bytes");
}
