//! Checks that begin with digests: what they cost does not depend on the number of files.

use clusterd::system::clock::FakeClock;
use serde_json::{Value, json};

use crate::support::{LISTEN, Node, SECOND, TestHome, advance_until, metrics};

/// So many files, of different contents.
const FILES: u32 = 1000;

/// Bytes that the worker sends for a check when nothing has changed, and for all checks until a changed file has come.
fn bytes_of_checks(features: &Value) -> [f64; 2] {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    for file in 0..FILES {
        home.write(&format!("etc/rules/{file}.xml"), file.to_string());
    }
    let settings = json!({
        "link": {"features": features},
        "metrics": {"listen": LISTEN},
        "intervals": {"worker": {"keep_alive": 100_000, "sync_agent_info": 100_000}},
    });
    let master = Node::master(home, &clock, settings.clone());
    let worker = Node::worker(TestHome::new(), &clock, settings, "w1", master.port());
    let sent = || metrics(&worker)["wazuh_cluster_bytes_total{dir=\"out\"}"];
    let checked = || master.health("w1")["status"]["last_check_integrity"]["date_end_master"].clone();
    let next_check = || {
        let before = checked();
        advance_until(&hand, SECOND, "a check", || checked() != before);
    };
    advance_until(&hand, SECOND, "the worker becomes equal", || worker.home.tree() == master.home.tree());
    // What ends first may be the check in which the files came.
    (0..2).for_each(|_| next_check());
    let before = sent();
    next_check();
    let idle = sent() - before;

    master.home.write("etc/rules/7.xml", "changed");
    let before = sent();
    advance_until(&hand, SECOND, "the change arrives", || worker.home.tree() == master.home.tree());
    [idle, sent() - before]
}

#[test]
fn digests_end_a_check_of_equal_files_and_shorten_the_others() {
    let [idle, changed] = bytes_of_checks(&json!(["checksum=md5", "digest"]));
    assert!(idle < 1500.0 && changed < 5000.0, "{idle} and {changed} bytes");
    let [_, whole] = bytes_of_checks(&json!(["checksum=md5+blake2b", "digest"]));
    let [_, known] = bytes_of_checks(&json!(["checksum=md5+blake2b", "digest", "known"]));
    assert!(known + 500.0 < whole, "{known} and {whole} bytes");
    let [idle, changed] = bytes_of_checks(&json!(["checksum=md5"]));
    assert!(idle > 20_000.0 && changed > 20_000.0, "{idle} and {changed} bytes");
}
