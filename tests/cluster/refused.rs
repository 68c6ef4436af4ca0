//! Files that a worker cannot take: they hold up nothing else, and are sent again ever more rarely.

use std::fs;

use clusterd::system::clock::FakeClock;
use serde_json::{Value, json};

use crate::support::{LISTEN, Node, SECOND, TestHome, advance_until, metrics};

/// A worker with a directory where the master has a file.
fn cluster(settings: Value) -> (FakeClock, Node, Node) {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/big.xml", "b".repeat(100_000));
    home.write("etc/client.keys", "001 a any first\n");
    let mut watched = settings.clone();
    watched["metrics"] = json!({"listen": LISTEN});
    let master = Node::master(home, &clock, watched);
    let home = TestHome::new();
    home.write("etc/rules/big.xml/own.tmp", "in its place");
    let worker = Node::worker(home, &clock, settings, "w1", master.port());
    (hand, master, worker)
}

fn failed(master: &Node) -> Value {
    master.health("w1")["status"]["failed_files"].clone()
}

fn keys_arrive(hand: &FakeClock, master: &Node, worker: &Node, keys: &str) {
    master.home.write("etc/client.keys", keys);
    master.as_master().local_integrity.wake();
    advance_until(hand, SECOND / 50, "the keys", || {
        worker.home.read("etc/client.keys").as_deref() == Some(keys.as_bytes())
    });
}

/// Removes the directory that is in the way.
fn make_way(worker: &Node) {
    fs::remove_file(worker.home.path("etc/rules/big.xml/own.tmp")).unwrap();
    // The worker may be faster: it removes empty directories, and puts the file in its place.
    let _ = fs::remove_dir(worker.home.path("etc/rules/big.xml"));
}

fn sendings(master: &Node) -> f64 {
    metrics(master)[r#"wazuh_cluster_task_duration_seconds_count{task="integrity_sync"}"#]
}

/// Cases 2.4 and 3.3, over a native link.
#[test]
fn a_file_that_fails_is_sent_ever_more_rarely_and_keys_at_once() {
    let (hand, master, worker) = cluster(json!({}));
    advance_until(&hand, SECOND, "the file is named", || !master.workers().is_empty() && !failed(&master).is_null());
    let named = json!({"count": 1, "first": [{"path": "etc/rules/big.xml", "reason": "Is a directory"}]});
    assert_eq!(failed(&master), named);
    keys_arrive(&hand, &master, &worker, "001 a any second\n");
    advance_until(&hand, SECOND / 50, "the end of the sending", || {
        master.health("w1")["status"]["last_sync_integrity"]["total_files"]
            == json!({"missing": 0, "extra": 0, "shared": 1})
    });
    assert_eq!(failed(&master), named, "it is still named, and was not sent with the keys");

    let (before, mut checks) = (sendings(&master), 0);
    let mut last = Value::Null;
    advance_until(&hand, SECOND, "an hour of checks", || {
        let now = master.health("w1")["status"]["last_check_integrity"]["date_end_master"].clone();
        checks += usize::from(now != last);
        last = now;
        checks > 100
    });
    let again = sendings(&master) - before;
    assert!((3.0..=12.0).contains(&again), "sent {again} times in {checks} checks");
    assert_eq!(failed(&master), named);

    make_way(&worker);
    let sent = |home: &TestHome| home.path("etc/rules/big.xml").is_file();
    advance_until(&hand, SECOND, "the file comes after the pause", || sent(&worker.home));
    advance_until(&hand, SECOND, "nothing is named any more", || failed(&master).is_null());
}

/// Case 2.4: an original worker tells nothing, but it is seen that the file is not there.
#[test]
fn a_file_that_fails_on_a_classic_link_is_named_too() {
    let (hand, master, worker) = cluster(json!({"link": {"native": "never"}}));
    advance_until(&hand, SECOND, "the file is named", || !master.workers().is_empty() && !failed(&master).is_null());
    let named =
        json!({"count": 1, "first": [{"path": "etc/rules/big.xml", "reason": "it was sent, and is not there"}]});
    assert_eq!(failed(&master), named);
    master.home.write("etc/client.keys", "001 a any second\n");
    advance_until(&hand, SECOND, "the keys", || {
        worker.home.read("etc/client.keys").as_deref() == Some(&b"001 a any second\n"[..])
    });
    make_way(&worker);
    let sent = |home: &TestHome| home.path("etc/rules/big.xml").is_file();
    advance_until(&hand, SECOND, "the file comes after the pause", || sent(&worker.home));
    advance_until(&hand, SECOND, "nothing is named any more", || failed(&master).is_null());
}
