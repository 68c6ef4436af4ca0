//! Checks as a worker may ask for them: none stays stuck, and each is about the files that are in force.

use std::fs;

use clusterd::{
    files::{ArchiveWriter, ChecksumKind},
    limits,
    system::clock::FakeClock,
    wire::ErrorObject,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Node, RawPeer, SECOND, TestHome, advance_until, eventually};

const NATIVE: &[u8] = br#"{"nonce": "AAAAAAAAAAAAAAAAAAAAAA", "features": ["checksum=md5", "digest"]}"#;

fn master() -> (FakeClock, Node) {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "first");
    let day = json!({"intervals": {"master": {"recalculate_integrity": 86_400}}});
    let master = Node::master(home, &clock, day);
    eventually("the first run", || master.as_master().local_integrity.turn() > 0);
    (hand, master)
}

/// Changes a file of the master, and waits until that is published.
fn change(hand: &FakeClock, master: &Node, content: &str) {
    let integrity = &master.as_master().local_integrity;
    let before = integrity.generation();
    fs::write(master.home.path("etc/rules/a.xml"), content).unwrap();
    integrity.wake();
    advance_until(hand, SECOND / 100, "the change is published", || integrity.generation() > before);
}

/// Case 4.3: it asks first nine seconds after its hello, and the master scans every eight.
#[test]
fn the_first_check_of_a_classic_worker_is_granted() {
    let (clock, hand) = FakeClock::new();
    let master = Node::master(TestHome::new(), &clock, json!({}));
    let turn = || master.as_master().local_integrity.turn();
    eventually("the first run", || turn() > 0);
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("w1").0, "ok");
    let before = turn();
    advance_until(&hand, SECOND, "the next run", || turn() > before);
    assert_eq!(peer.ask("syn_i_w_m_p", b""), ("ok".into(), "True".into()));
}

/// Case 6.9.
#[test]
fn being_refused_while_a_check_runs_does_not_use_up_the_turn() {
    let (hand, master) = master();
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("w1").0, "ok");
    assert_eq!(peer.ask("native", NATIVE).0, "ok");
    let permission = |peer: &mut RawPeer| peer.ask("syn_i_w_m_p", b"").1;
    assert_eq!(permission(&mut peer), "True");
    assert_eq!(permission(&mut peer), "False", "once in a turn");
    let (answer, task) = peer.ask("syn_i_w_m", b"");
    assert_eq!(answer, "ok", "{task}");
    change(&hand, &master, "second");
    assert_eq!(permission(&mut peer), "False", "a check is running");
    let error = ErrorObject::cluster(3000, "the worker cannot send it").to_json();
    assert_eq!(peer.ask("syn_i_w_m_r", format!("{task} {error}").as_bytes()).0, "ok");
    eventually("the check has ended", || permission(&mut peer) == "True");
}

/// Case 6.9.
#[test]
fn a_part_of_the_files_is_compared_with_those_that_chose_it_or_not_at_all() {
    let (hand, master) = master();
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("w1").0, "ok");
    assert_eq!(peer.ask("native", NATIVE).0, "ok");
    let one_bucket = format!("80{}", "0".repeat(62));
    assert_eq!(peer.ask("syn_i_w_m", one_bucket.as_bytes()).0, "err", "by no digest");
    // The master may have a message of its own on the way.
    assert!(peer.ask("int_digest", "0".repeat(32).as_bytes()).1.starts_with("buckets "));
    change(&hand, &master, "second");
    let (answer, text) = peer.ask("syn_i_w_m", one_bucket.as_bytes());
    assert!(answer == "err" && text.contains("have changed since"), "{text}");
    // Asked again, it may; and all files are always compared with those that are there.
    assert!(peer.ask("int_digest", "0".repeat(32).as_bytes()).1.starts_with("buckets "));
    let (answer, task) = peer.ask("syn_i_w_m", one_bucket.as_bytes());
    assert_eq!(answer, "ok", "{task}");
}

#[test]
fn a_worker_with_the_files_of_before_is_asked_for_nothing_more() {
    const KNOWN: &[u8] =
        br#"{"nonce": "AAAAAAAAAAAAAAAAAAAAAA", "features": ["checksum=md5+blake2b", "digest", "known"]}"#;
    let (hand, master) = master();
    let digest = || {
        let manifest = master.as_master().local_integrity.manifest(ChecksumKind::Md5Blake2b).unwrap();
        manifest.digests().question().into_bytes()
    };
    let [mut one, mut other, mut older] = ["w1", "w2", "w3"].map(|name| {
        let mut peer = RawPeer::connect(master.port());
        assert_eq!(peer.hello(name).0, "ok");
        assert_eq!(peer.ask("native", if name == "w3" { NATIVE } else { KNOWN }).0, "ok");
        peer
    });
    let first = digest();
    for peer in [&mut one, &mut older] {
        assert_eq!(peer.ask("int_digest", &first).1, "same");
    }
    change(&hand, &master, "second");
    change(&hand, &master, "third");
    assert_eq!(one.ask("int_digest", &first).1, "known");
    assert!(one.ask("int_digest", &first).1.starts_with("buckets "), "a check is running");
    assert!(other.ask("int_digest", &first).1.starts_with("buckets "), "what it has besides is not known yet");
    assert!(older.ask("int_digest", &first).1.starts_with("buckets "), "it does not know the answer");
    assert!(one.ask("int_digest", "0".repeat(32).as_bytes()).1.starts_with("buckets "));
    assert_eq!(one.ask("int_digest", &digest()).1, "same");
}

/// Case 2.2: a worker that says nothing more, because it was stopped or its machine is gone, is not in sync with what it
/// has not seen.
#[test]
fn in_sync_is_who_has_shown_the_present_files() {
    let (hand, master) = master();
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("w1").0, "ok");
    assert_eq!(peer.ask("native", NATIVE).0, "ok");
    let behind = || master.health("w1")["status"]["behind_since"].clone();
    let show = |peer: &mut RawPeer| {
        let manifest = master.as_master().local_integrity.manifest(ChecksumKind::Md5).unwrap();
        peer.ask("int_digest", manifest.digests().question().as_bytes()).1
    };
    assert_eq!(show(&mut peer), "same");
    assert_eq!(behind(), Value::Null);
    change(&hand, &master, "second");
    let since = behind();
    assert!(since.is_string(), "{since}");
    change(&hand, &master, "third");
    assert_eq!(behind(), since, "since the first change that it has not seen");
    assert_eq!(show(&mut peer), "same");
    assert_eq!(behind(), Value::Null);
}

/// A worker with no file, which lets the master wait for the answer to the first chunk of its archive.
fn leaves_its_archive(master: &Node, name: &str) -> RawPeer {
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello(name).0, "ok");
    assert_eq!(peer.ask("syn_i_w_m_p", b"").1, "True");
    let (_, task) = peer.ask("syn_i_w_m", b"");
    let manifest = ArchiveWriter::new(Vec::new(), 1, u64::MAX).finish(b"{}").unwrap();
    let path = format!("/queue/cluster/{name}/manifest.zip");
    let mut say = |command, rest: &[u8]| {
        let (answer, text) = peer.ask(command, &[path.as_bytes(), rest].concat());
        assert_eq!(answer, "ok", "{command}: {text}");
    };
    say("new_file", b"");
    say("file_upd", &[b" ", &manifest[..]].concat());
    say("file_end", &[b" ", &Sha256::digest(&manifest)[..]].concat());
    let sent = peer.send("syn_i_w_m_e", format!("{task} {path}").as_bytes());
    loop {
        let (counter, command, _) = peer.receive().expect("the archive");
        match command.as_str() {
            "syn_m_c" => peer.send_with(counter, "ok", b"00000000-0000-0000-0000-000000000000"),
            "new_file" => peer.send_with(counter, "ok", b"Ready to receive new file"),
            "file_upd" => return peer,
            _ => assert_eq!(counter, sent, "{command}"),
        }
    }
}

/// Many more than are made at a time do not take their archives. The clock hardly runs, so nothing ends their requests.
#[test]
fn workers_that_do_not_take_their_archives_hold_up_nobody() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    let noise = (0..200_000_u32).flat_map(|number| Sha256::digest(number.to_be_bytes())[..8].to_vec());
    home.write("etc/rules/long.xml", noise.collect::<Vec<_>>());
    let master = Node::master(home, &clock, json!({}));
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("first").0, "ok");
    advance_until(&hand, SECOND, "the checksums of such workers are there", || {
        peer.ask("syn_i_w_m_p", b"").1 == "True"
    });
    let slow = (0..4 * limits::PACKING).map(|number| leaves_its_archive(&master, &format!("slow{number}")));
    let slow: Vec<_> = slow.collect();
    let fast = Node::worker(TestHome::new(), &clock, json!({}), "fast", master.port());
    let long = || master.home.read("etc/rules/long.xml");
    eventually("a long archive arrives", || fast.home.read("etc/rules/long.xml") == long());
    master.home.write("etc/rules/short.xml", "short");
    master.as_master().local_integrity.wake();
    // Far less than the time of a request.
    advance_until(&hand, SECOND / 1000, "a short archive arrives", || fast.home.read("etc/rules/short.xml").is_some());
    drop(slow);
}
