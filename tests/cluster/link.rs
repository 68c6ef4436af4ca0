//! The life of a connection.

use std::time::Duration;

use clusterd::{config::NodeType, system::clock::FakeClock};
use serde_json::json;

use crate::support::{self, Node, RawPeer, SECOND, TestHome, advance_until, eventually};

fn master(settings: serde_json::Value) -> (FakeClock, Node) {
    let (clock, hand) = FakeClock::new();
    (hand, Node::master(TestHome::new(), &clock, settings))
}

#[test]
fn a_worker_keeps_its_connection_by_keep_alives() {
    let (clock, hand) = FakeClock::new();
    let master = Node::master(TestHome::new(), &clock, json!({}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    eventually("the worker connects", || master.workers() == ["w1"]);
    let first = master.health("w1")["status"]["last_keep_alive"].clone();
    advance_until(&hand, SECOND, "a keep-alive", || master.health("w1")["status"]["last_keep_alive"] != first);
    for _ in 0..300 {
        hand.advance(SECOND);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(master.workers(), ["w1"]);
    }
    drop(worker);
}

#[test]
fn a_silent_worker_is_disconnected_after_two_minutes_whatever_else_it_sends() {
    let (hand, master) = master(json!({}));
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("quiet").0, "ok");
    let mut seconds = 0;
    advance_until(&hand, SECOND, "it is disconnected", || {
        seconds += 1;
        master.workers().is_empty()
    });
    // How much later it is says how much the machine has to do: the clock of the test moves on meanwhile.
    assert!(seconds >= 120, "after {seconds} s");
    // What the master had to tell it of groups comes before the end.
    while let Some((_, command, _)) = peer.receive() {
        assert_eq!(command, "new_str");
    }
}

#[test]
fn a_worker_gives_up_a_master_that_does_not_answer_and_connects_again() {
    let settings = json!({"intervals": {"communication": {"timeout_cluster_request": 20}}});
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (clock, hand) = FakeClock::new();
    let _worker = Node::worker(TestHome::new(), &clock, settings, "w1", port);
    listener.set_nonblocking(true).unwrap();
    let mut accepted = Vec::new();
    advance_until(&hand, SECOND / 4, "a second connection", || {
        accepted.extend(listener.accept().ok());
        accepted.len() == 2
    });
}

#[test]
fn a_dead_connection_loses_its_name_and_a_living_one_keeps_it() {
    let (hand, master) = master(json!({}));
    let mut ghost = RawPeer::connect(master.port());
    assert_eq!(ghost.hello("w1").0, "ok");
    // The ghost does not answer: its name goes to the next.
    let mut second = RawPeer::connect(master.port());
    let sent = second.send("hello", b"w1 wazuh worker 4.14.7");
    let (_, question, _) = ghost.receive().unwrap();
    assert_eq!(question, "echo-m");
    let connected = || master.as_master().registry.workers().first().map(|worker| worker.connection.peer().to_owned());
    let ghosts = connected();
    advance_until(&hand, SECOND / 4, "the ghost loses its place", || connected() != ghosts);
    let (counter, answer, _) = second.receive().unwrap();
    assert_eq!((counter, answer.as_str()), (sent, "ok"));
    assert!(ghost.receive().is_none());
    // The second one lives and says so.
    let mut third = RawPeer::connect(master.port());
    third.send("hello", b"w1 wazuh worker 4.14.7");
    let (counter, question, payload) = second.receive().unwrap();
    assert_eq!(question, "echo-m");
    second.send_with(counter, "ok-c", &payload);
    let (_, answer, error) = third.receive().unwrap();
    assert_eq!(answer, "err");
    assert!(String::from_utf8(error).unwrap().contains("3028"));
    assert!(third.receive().is_none(), "the refused one is closed");
    assert_eq!(master.workers(), ["w1"]);
}

#[test]
fn a_stranger_is_refused_everything_but_hello_and_echo() {
    let (_hand, master) = master(json!({}));
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.ask("echo", b"text"), ("ok".into(), "text".into()));
    for command in ["syn_i_w_m_p", "get_health", "new_file", "native", "syn_i_w_m", "nonsense"] {
        let (answer, text) = peer.ask(command, b"null");
        assert_eq!(answer, "err", "{command}");
        assert!(text.contains("say hello first"), "{text}");
    }
    assert!(master.workers().is_empty());
}

#[test]
fn an_answer_is_never_answered() {
    let (_hand, master) = master(json!({}));
    let mut peer = RawPeer::connect(master.port());
    peer.hello("w1");
    for command in ["ok", "err", "error", "ok-m", "ok-c"] {
        peer.send(command, b"late");
    }
    assert_eq!(peer.ask("echo", b"next"), ("ok".into(), "next".into()));
}

#[test]
fn a_stranger_who_says_nothing_is_disconnected() {
    let (_hand, master) = master(json!({"link": {"handshake_timeout": 0.2}}));
    let mut peer = RawPeer::connect(master.port());
    assert!(peer.receive().is_none());
}

#[test]
fn the_oldest_stranger_of_an_address_goes_for_a_new_one_and_workers_do_not_count() {
    let (_hand, master) = master(json!({}));
    let mut workers = Vec::new();
    for at in 0..12 {
        let mut worker = RawPeer::connect(master.port());
        assert_eq!(worker.hello(&format!("w{at}")).0, "ok");
        workers.push(worker);
    }
    let mut strangers: Vec<_> = (0..11).map(|_| RawPeer::connect(master.port())).collect();
    assert!(strangers.remove(0).receive().is_none(), "it was there for longer than a second");
    for (at, mut stranger) in strangers.into_iter().enumerate() {
        assert_eq!(stranger.hello(&format!("late{at}")).0, "ok");
    }
    assert!(workers.iter_mut().all(|worker| worker.ask("echo", b"x").0 == "ok"));
}

#[test]
fn links_that_must_be_native_are_not_made_with_classic_nodes() {
    let (_hand, master) = master(json!({"link": {"native": "require"}}));
    let mut classic = RawPeer::connect(master.port());
    assert_eq!(classic.hello("w1").0, "ok");
    let (answer, text) = classic.ask("syn_i_w_m_p", b"");
    assert_eq!(answer, "err");
    assert!(text.contains("accepts sessions only"), "{text}");
    assert!(classic.receive().is_none());
}

#[test]
fn a_wrong_native_offer_leaves_a_classic_link() {
    let (_hand, master) = master(json!({}));
    let mut peer = RawPeer::connect(master.port());
    assert!(peer.hello("w1").1.starts_with("Client w1 added native/1 "));
    assert_eq!(peer.ask("native", b"{\"nonce\": \"short\", \"features\": []}").0, "err");
    assert_eq!(peer.ask("echo", b"x").0, "ok");
    assert_eq!(master.workers(), ["w1"]);
}

#[test]
fn nodes_may_meet_over_ipv6() {
    let (clock, hand) = FakeClock::new();
    let (master_home, worker_home) = (TestHome::new(), TestHome::new());
    master_home.write("etc/rules/a.xml", "a");
    let mut config = support::config(&master_home, json!({}), "m", NodeType::Master, 0);
    config.cluster.bind_addr = "::1".to_owned();
    let master = Node::with_config(config, master_home, &clock);
    let mut config = support::config(&worker_home, json!({}), "w1", NodeType::Worker, master.port());
    config.cluster.nodes = vec!["::1".to_owned()];
    let worker = Node::with_config(config, worker_home, &clock);
    advance_until(&hand, SECOND, "the file arrives", || worker.home.read("etc/rules/a.xml").is_some());
    assert!(master.as_master().questions.nodes(b"{}").unwrap().contains("\"ip\": \"::1\""));
}

#[test]
fn another_patch_version_may_join_unless_cluster_json_says_otherwise() {
    let hello = |settings, version: &str| {
        let (_hand, master) = master(settings);
        RawPeer::connect(master.port()).ask("hello", format!("w1 wazuh worker {version}").as_bytes())
    };
    assert_eq!(hello(json!({}), "4.14.2").0, "ok");
    let (answer, text) = hello(json!({}), "4.13.7");
    assert!(answer == "err" && text.contains("3031"), "{text}");
    assert_eq!(hello(json!({"link": {"accept_patch_versions": false}}), "4.14.2").0, "err");
}

#[test]
fn more_workers_than_allowed_are_refused_with_the_name_of_the_setting() {
    let (_hand, master) = master(json!({"link": {"max_workers": 1}}));
    let mut first = RawPeer::connect(master.port());
    assert_eq!(first.hello("w1").0, "ok");
    let (answer, text) = RawPeer::connect(master.port()).hello("w2");
    assert!(answer == "err" && text.contains("link.max_workers"), "{text}");
}

#[test]
fn a_check_that_was_begun_and_forgotten_is_given_up() {
    let (hand, master) = master(json!({}));
    let mut peer = RawPeer::connect(master.port());
    peer.hello("w1");
    eventually("the master knows its files", || peer.ask("syn_i_w_m_p", b"").1 == "True");
    assert_eq!(peer.ask("syn_i_w_m", b"").0, "ok");
    assert_eq!(peer.ask("syn_i_w_m", b"").0, "err", "one at a time");
    for _ in 0..1001 {
        hand.advance(SECOND);
        peer.ask("echo-c", b"keepalive");
    }
    assert_eq!(peer.ask("syn_i_w_m", b"").0, "ok");
}
