//! A master without files, or with far fewer than its workers, empties nobody before somebody confirms it.

use std::fs;

use clusterd::system::clock::FakeClock;
use serde_json::{Value, json};

use crate::support::{LocalProgram, Node, SECOND, TestHome, advance_until};

const KEYS: &str = "etc/client.keys";
const MANY_KEYS: &str = "001 a any aaaa\n002 b any bbbb\n";

/// A worker's home with its keys and so many rules.
fn worker_with(rules: usize) -> TestHome {
    let home = TestHome::new();
    home.write(KEYS, MANY_KEYS);
    for number in 0..rules {
        home.write(&format!("etc/rules/{number}.xml"), format!("rule {number}"));
    }
    home
}

fn rules(home: &TestHome) -> usize {
    fs::read_dir(home.path("etc/rules")).unwrap().count()
}

fn keys(home: &TestHome) -> String {
    String::from_utf8(home.read(KEYS).unwrap_or_default()).unwrap()
}

fn held(master: &Node) -> Value {
    master.health("w1")["status"]["held_deletions"].clone()
}

/// Lets the node and its master look at each other several times more.
fn some_checks(hand: &FakeClock, master: &Node) {
    let last = || master.as_master().registry.find("w1").map(|worker| worker.integrity.status().check.start);
    for _ in 0..4 {
        let before = last();
        advance_until(hand, SECOND, "another check", || last() != before);
    }
}

fn confirm(node: &Node, filter: &str) -> String {
    LocalProgram::of(node).ask("confirm_del", filter).body
}

/// Case 3.5.
fn empties_nobody(settings: &Value) {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/lists/new", "what the master has");
    let master = Node::master(home, &clock, settings.clone());
    let worker = Node::worker(worker_with(20), &clock, settings.clone(), "w1", master.port());
    advance_until(&hand, SECOND, "what the master has arrives", || worker.home.read("etc/lists/new").is_some());
    some_checks(&hand, &master);
    assert_eq!(held(&master), json!({"deletions": 20, "of": 22, "keys": true}));
    assert_eq!((rules(&worker.home), keys(&worker.home)), (20, MANY_KEYS.to_owned()));

    // An agent that is registered now is not to cost all others their keys either.
    master.home.write(KEYS, "003 c any cccc\n");
    some_checks(&hand, &master);
    assert_eq!((rules(&worker.home), keys(&worker.home)), (20, MANY_KEYS.to_owned()));

    let refused = confirm(&worker, "null");
    assert!(refused.contains("run it on the master"), "{refused}");
    let confirmed = |filter| serde_json::from_str::<Value>(&confirm(&master, filter)).unwrap();
    assert_eq!(confirmed(r#"["w2"]"#), json!({"confirmed": {}}));
    assert_eq!(confirmed(r#"["w1"]"#), json!({"confirmed": {"w1": {"deletions": 20, "of": 22, "keys": true}}}));
    advance_until(&hand, SECOND, "the worker becomes equal", || {
        rules(&worker.home) == 0 && keys(&worker.home) == "003 c any cccc\n"
    });
    advance_until(&hand, SECOND, "nothing is held back any more", || held(&master).is_null());
}

#[test]
fn a_master_with_empty_volumes_empties_no_worker_of_ours() {
    empties_nobody(&json!({}));
}

#[test]
fn a_master_with_empty_volumes_empties_no_original_worker() {
    empties_nobody(&json!({"link": {"native": "never"}}));
}

#[test]
fn what_is_few_or_less_than_half_is_deleted_at_once_and_later_so_is_anything() {
    let (clock, hand) = FakeClock::new();
    let master = Node::master(worker_with(20), &clock, json!({}));
    let home = worker_with(20);
    (0..10).for_each(|number| home.write(&format!("etc/lists/{number}"), "surplus"));
    let worker = Node::worker(home, &clock, json!({}), "w1", master.port());
    let equal = || worker.home.tree() == master.home.tree();
    advance_until(&hand, SECOND, "ten surplus files go", equal);
    advance_until(&hand, SECOND, "the master knows", || held(&master).is_null() && !master.health("w1").is_null());
    (1..20).for_each(|number| fs::remove_file(master.home.path(&format!("etc/rules/{number}.xml"))).unwrap());
    advance_until(&hand, SECOND, "what a person deletes later goes", equal);
    assert_eq!(rules(&worker.home), 1);
}

/// Case 3.4.
#[test]
fn a_worker_never_loses_its_keys_because_the_master_has_no_such_file() {
    let (clock, hand) = FakeClock::new();
    let master = Node::master(worker_with(1), &clock, json!({}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    advance_until(&hand, SECOND, "the worker becomes equal", || worker.home.tree() == master.home.tree());
    fs::remove_file(master.home.path(KEYS)).unwrap();
    master.home.write("etc/rules/later.xml", "later");
    advance_until(&hand, SECOND, "what is new arrives", || worker.home.read("etc/rules/later.xml").is_some());
    some_checks(&hand, &master);
    assert_eq!(keys(&worker.home), MANY_KEYS);
    // Whoever empties the file means it.
    master.home.write(KEYS, "");
    advance_until(&hand, SECOND, "the keys go", || keys(&worker.home).is_empty());
}
