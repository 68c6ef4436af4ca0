//! Files of a worker become and stay those of the master.

use std::{fs, os::unix::fs::PermissionsExt};

use clusterd::{
    files::{ChecksumKind, md5_of},
    system::clock::FakeClock,
};
use serde_json::{Value, json};

use crate::support::{Node, SECOND, TestHome, advance_until};

fn filled() -> TestHome {
    let home = TestHome::new();
    home.write("etc/client.keys", "001 agent1 any aaaa\n");
    home.write("etc/rules/local_rules.xml", "<group name=\"local\"/>");
    home.write("etc/decoders/local_decoder.xml", "<decoder name=\"x\"/>");
    home.write("etc/lists/audit-keys", "a:b\n");
    home.write("etc/shared/default/agent.conf", "<agent_config/>");
    home.write("etc/shared/web/deep/er/file with blank.txt", "deep");
    home.write("var/multigroups/ab12/merged.mg", "merged");
    home.write("etc/shared/umlaut/größe.txt", "ü".repeat(100_000));
    home
}

/// A master with files, and a worker whose own files are quite different.
fn cluster(settings: &Value) -> (FakeClock, Node, Node) {
    let (clock, hand) = FakeClock::new();
    let worker = TestHome::new();
    worker.write("etc/client.keys", "something else");
    worker.write("etc/shared/surplus/agent.conf", "to be deleted");
    worker.write("etc/rules/local_rules.xml", "old");
    worker.write("etc/ossec.conf", "the worker's own");
    worker.write("etc/rules/editor.swp", "not ours");
    let master = Node::master(filled(), &clock, settings.clone());
    let worker = Node::worker(worker, &clock, settings.clone(), "w1", master.port());
    (hand, master, worker)
}

/// The files of the set, without those that are never sent.
fn synced(home: &TestHome) -> Vec<(String, Vec<u8>)> {
    let never = |name: &String| name.ends_with("ossec.conf") || name.ends_with(".swp");
    home.tree().into_iter().filter(|(name, _)| !never(name)).collect()
}

fn becomes_and_stays_equal(settings: &Value) {
    let (hand, master, worker) = cluster(settings);
    let equal = || synced(&master.home) == synced(&worker.home);
    let surplus = || worker.home.path("etc/shared/surplus").exists();
    advance_until(&hand, SECOND, "the worker becomes equal, without the emptied folder", || equal() && !surplus());
    assert_eq!(worker.home.read("etc/ossec.conf").unwrap(), b"the worker's own");
    assert_eq!(worker.home.read("etc/rules/editor.swp").unwrap(), b"not ours");
    let mode = |path: &str| fs::metadata(worker.home.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("etc/client.keys"), mode("etc/rules/local_rules.xml")), (0o640, 0o660));

    // What changes on the master arrives.
    master.home.write("etc/rules/local_rules.xml", "new");
    master.home.write("etc/rules/added.xml", "added");
    fs::remove_file(master.home.path("etc/lists/audit-keys")).unwrap();
    fs::remove_dir_all(master.home.path("etc/shared/web")).unwrap();
    advance_until(&hand, SECOND, "the changes arrive", equal);
    assert!(worker.home.path("etc/lists").exists(), "the directory of an item stays");
    assert!(worker.home.read("etc/rules/added.xml").is_some());

    // What changes on the worker is put right.
    worker.home.write("etc/rules/added.xml", "ADDED");
    worker.home.write("etc/lists/own", "own");
    fs::remove_file(worker.home.path("etc/client.keys")).unwrap();
    advance_until(&hand, SECOND, "the worker is repaired", || {
        equal() && worker.home.read("etc/client.keys") == master.home.read("etc/client.keys")
    });
    let temporary = |name: &str| name.ends_with(".tmp");
    assert!(!worker.home.tree().iter().any(|(name, _)| temporary(name)));
    worker.stop();
    master.stop();
}

#[test]
fn a_worker_becomes_and_stays_equal_over_a_native_link() {
    becomes_and_stays_equal(&json!({}));
}

#[test]
fn a_worker_becomes_and_stays_equal_over_a_classic_link() {
    becomes_and_stays_equal(&json!({"link": {"native": "never"}}));
}

#[test]
fn a_file_that_does_not_fit_an_archive_comes_with_a_later_one() {
    let settings = json!({"intervals": {"communication": {"max_zip_size": 40_000, "min_zip_size": 1024}}});
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    for at in 0..6_u32 {
        // Noise does not shrink, so three archives are needed.
        let noise: Vec<u8> = (0..15_000_u32).map(|i| ((i ^ at).wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        home.write(&format!("etc/rules/{at}.xml"), noise);
    }
    let master = Node::master(home, &clock, settings.clone());
    let worker = Node::worker(TestHome::new(), &clock, settings, "w1", master.port());
    let mut counts = vec![0];
    advance_until(&hand, SECOND, "all files arrive", || {
        let count = worker.home.tree().len();
        if counts.last() != Some(&count) {
            counts.push(count);
        }
        worker.home.tree() == master.home.tree()
    });
    assert!(counts.iter().any(|count| (1..6).contains(count)), "in parts: {counts:?}");
}

#[test]
fn nothing_is_deleted_on_a_worker_before_the_master_knows_its_own_files() {
    let (clock, hand) = FakeClock::new();
    let (master_home, worker_home) = (filled(), filled());
    let master = Node::master(master_home, &clock, json!({}));
    let worker = Node::worker(worker_home, &clock, json!({}), "w1", master.port());
    let before = synced(&worker.home);
    let checked = || master.health("w1")["status"]["last_check_integrity"]["date_end_master"] != "n/a";
    advance_until(&hand, SECOND, "a check", || {
        assert_eq!(synced(&worker.home), before);
        !master.workers().is_empty() && checked()
    });
    assert_eq!(master.health("w1")["status"]["last_sync_integrity"]["date_start_master"], "n/a");
}

#[test]
fn a_worker_that_comes_back_is_made_equal_again() {
    let (hand, master, worker) = cluster(&json!({}));
    advance_until(&hand, SECOND, "the first synchronisation", || synced(&master.home) == synced(&worker.home));
    let home = worker.stop();
    master.home.write("etc/rules/while_away.xml", "new");
    home.write("etc/rules/local_rules.xml", "damaged");
    let clock = &master.as_master().node.clock;
    let worker = Node::worker(home, clock, json!({}), "w1", master.port());
    advance_until(&hand, SECOND, "the second synchronisation", || synced(&master.home) == synced(&worker.home));
}

/// Case 3.7: what a kill left is gone after the next start, and only that.
#[test]
fn a_start_removes_what_was_not_yet_in_its_place() {
    let (clock, _hand) = FakeClock::new();
    let ours = [
        "etc/.client.keys.tmp",
        "queue/cluster-state/.agents-pending.tmp",
        "queue/.agents-timestamp.tmp",
        "queue/cluster-state/.nodes.json.tmp",
        "etc/.cluster-0123abcd-0.tmp",
        "etc/rules/deep/.cluster-0123abcd-17.tmp",
        "queue/cluster/apply.journal.tmp",
    ];
    let others =
        ["etc/.ossec.conf.tmp", "etc/client.keys.tmp", "etc/.client.keys.aB3xYz", "etc/rules/.local_rules.xml.tmp"];
    let fresh = || {
        let home = TestHome::new();
        ours.iter().chain(&others).for_each(|path| home.write(path, "001 a any secret"));
        home
    };
    let master = Node::master(fresh(), &clock, json!({}));
    let worker = Node::worker(fresh(), &clock, json!({}), "w1", master.port());
    for home in [&master.home, &worker.home] {
        assert_eq!(ours.map(|path| home.read(path)), ours.map(|_| None));
        assert!(others.iter().all(|path| home.read(path).is_some()));
    }
}

/// Case 6.8: two contents that somebody has made to have one MD5, and one size, are two for nodes of ours, also when one
/// takes the place of the other.
#[test]
fn contents_with_one_md5_do_not_stay_different() {
    let [first, second] = {
        let pair: Vec<Vec<u8>> = include_str!("../fixtures/one_md5.txt")
            .lines()
            .map(|line| (0..128).map(|at| u8::from_str_radix(&line[2 * at..][..2], 16).unwrap()).collect())
            .collect();
        <[Vec<u8>; 2]>::try_from(pair).unwrap()
    };
    assert!(first != second && md5_of(&first) == md5_of(&second));
    let (clock, hand) = FakeClock::new();
    let homes = [&first, &second].map(|content| {
        let home = TestHome::new();
        home.write("etc/lists/pair", content);
        home
    });
    let [master, worker] = homes;
    let master = Node::master(master, &clock, json!({}));
    let worker = Node::worker(worker, &clock, json!({}), "w1", master.port());
    let arrives = |content: &[u8], what: &str| {
        advance_until(&hand, SECOND, what, || worker.home.read("etc/lists/pair").unwrap() == content);
    };
    arrives(&first, "the worker has the master's");
    let kind = master.as_master().registry.find("w1").unwrap().features().checksum();
    assert_eq!(kind, ChecksumKind::Md5Blake2b, "the link of two nodes of ours");
    master.home.write("etc/lists/pair", &second);
    arrives(&second, "another with the same MD5");
    master.home.write("etc/lists/pair", &first);
    arrives(&first, "the first again");
}
