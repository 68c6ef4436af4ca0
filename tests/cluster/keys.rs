//! Several keys at a time, and the change from one to another.

use clusterd::{
    config::{ClusterKey, Keys, NodeType},
    connection::Connection,
    local::{Role, client::LocalClient},
    system::clock::{Clock, FakeClock},
    wire::{Command, CommandField, frame},
};
use serde_json::{Value, json};

use crate::support::{self, KEY, Node, RawPeer, SECOND, TestHome, advance_until, eventually};

const OTHERS: [&str; 4] = [
    "vutsrqponmlkjihgfedcba9876543210",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "cccccccccccccccccccccccccccccccc",
];

fn key(text: &str) -> ClusterKey {
    ClusterKey::new(text).unwrap()
}

fn keys(current: &str, accepted: &[&str]) -> Keys {
    Keys { current: key(current), accepted: accepted.iter().map(|text| key(text)).collect() }
}

/// A node with these keys.
fn node(clock: &Clock, name: &str, port: Option<u16>, keys: Keys) -> Node {
    let home = TestHome::new();
    let node_type = if port.is_some() { NodeType::Worker } else { NodeType::Master };
    let mut config = support::config(&home, json!({}), name, node_type, port.unwrap_or(0));
    config.cluster.key = keys.current;
    config.settings.link.accept_keys = keys.accepted;
    Node::with_config(config, home, clock)
}

fn master(keys: Keys) -> (FakeClock, Node) {
    let (clock, hand) = FakeClock::new();
    (hand, node(&clock, "m", None, keys))
}

fn links(master: &Node) -> Vec<Connection> {
    master.as_master().registry.workers().iter().map(|worker| worker.connection.clone()).collect()
}

fn told(node: &Node, command: Command) -> Value {
    let client = LocalClient::new(node.home.path("queue/cluster/c-internal.sock"));
    serde_json::from_slice(&client.ask(command, b"").unwrap()).unwrap()
}

fn fingerprint(text: &str) -> String {
    key(text).cipher().fingerprint().to_owned()
}

#[test]
fn each_peer_is_answered_under_the_key_that_it_uses() {
    let (_hand, master) = master(keys(KEY, &OTHERS));
    for (at, key) in [KEY].iter().chain(&OTHERS).enumerate() {
        let mut peer = RawPeer::connect_with(master.port(), key);
        assert_eq!(peer.ask("echo", b"text"), ("ok".into(), "text".into()));
        assert_eq!(peer.hello(&format!("w{at}")).0, "ok");
        assert_eq!(peer.ask("echo", b"text"), ("ok".into(), "text".into()));
    }
}

#[test]
fn the_first_message_decides_for_good() {
    let (_hand, master) = master(keys(KEY, &OTHERS));
    let mut peer = RawPeer::connect_with(master.port(), OTHERS[0]);
    assert_eq!(peer.hello("w1").0, "ok");
    peer.change_key(KEY);
    peer.send("echo", b"x");
    assert!(peer.receive().is_none());
    eventually("it has left", || master.workers().is_empty());
}

/// Whatever a stranger without a key sends, and however many keys there are: the connection ends without a word.
#[test]
fn a_stranger_gets_no_second_try_and_no_answer() {
    for accepted in [&[][..], &OTHERS] {
        let (_hand, master) = master(keys(KEY, accepted));
        for size in [0, 100, 40_000] {
            let mut peer = RawPeer::connect_with(master.port(), "dddddddddddddddddddddddddddddddd");
            peer.send("hello", &vec![b'x'; size]);
            peer.change_key(KEY);
            // It may be closed by now.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                peer.send("hello", b"w1 wazuh worker 4.14.7")
            }));
            assert!(peer.receive().is_none());
        }
        for bytes in [
            &frame::header(1, 64 * 1024 + 1, CommandField::new(Command::Hello))[..],
            &[&frame::header(1, 4, CommandField::new(Command::Hello))[..], b"AAAA"].concat(),
            &frame::header(1, 0, CommandField::new(Command::Hello)),
        ] {
            let mut peer = RawPeer::connect(master.port());
            peer.send_bytes(bytes);
            assert!(peer.receive().is_none());
        }
        assert!(master.workers().is_empty());
    }
}

#[test]
fn a_link_lasts_as_long_as_its_key() {
    let (_hand, master) = master(keys(KEY, &[]));
    let [mut old, mut late] = [(); 2].map(|()| RawPeer::connect(master.port()));
    assert_eq!(old.hello("old").0, "ok");
    assert_eq!(late.ask("echo", b"x").0, "ok");
    master.running.change_keys(keys(OTHERS[0], &[KEY]));
    let mut new = RawPeer::connect_with(master.port(), OTHERS[0]);
    assert_eq!(new.hello("new").0, "ok");
    assert_eq!(old.ask("echo", b"x").0, "ok");
    master.running.change_keys(keys(OTHERS[0], &[]));
    // What the master had to tell it of groups comes before the end.
    while old.receive().is_some() {}
    eventually("the old one has left", || master.workers() == ["new"]);
    assert_eq!(new.ask("echo", b"x").0, "ok");
    // A connection that was there before the change is not let in by it.
    late.send("hello", b"late wazuh worker 4.14.7");
    assert!(late.receive().is_none());
    eventually("it is forgotten", || master.workers() == ["new"]);
}

/// All orders of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A cluster whose key is changed again and again.
struct Changing {
    hand: FakeClock,
    nodes: [Node; 3],
}

impl Changing {
    fn connected(&self) -> bool {
        let mut workers = self.nodes[0].workers();
        workers.sort();
        let has_master = |node: &Node| match node.running.role() {
            Role::Worker(worker) => worker.master().is_some(),
            Role::Master(_) => true,
        };
        workers == ["w1", "w2"] && self.nodes.iter().all(has_master)
    }

    /// Whether all links, after they were cut, come back with the keys that the nodes have now.
    fn cut_links(&self, what: &str) {
        links(&self.nodes[0]).iter().for_each(|link| link.close("the test cuts it"));
        eventually("the links are cut", || !self.connected());
        advance_until(&self.hand, SECOND / 4, what, || self.connected());
    }
}

/// The procedure of `docs/key-rotation.md`, with the nodes in every order in both steps, and with every link cut in every state.
#[test]
fn nobody_stays_out_in_whatever_order_the_nodes_are_changed() {
    let (clock, hand) = FakeClock::new();
    let master = node(&clock, "m", None, keys(KEY, &[]));
    let port = Some(master.port());
    let [one, two] = ["w1", "w2"].map(|name| node(&clock, name, port, keys(KEY, &[])));
    let cluster = Changing { hand, nodes: [master, one, two] };
    advance_until(&cluster.hand, SECOND / 4, "the workers connect", || cluster.connected());
    let mut old = KEY.to_owned();
    let mut number = 0;
    for first in ORDERS {
        for second in ORDERS {
            number += 1;
            let (new, case) = (format!("{number:016}").repeat(2), format!("{first:?} {second:?}"));
            for at in first {
                let before = links(&cluster.nodes[0]);
                cluster.nodes[at].running.change_keys(keys(&new, &[&old]));
                assert!(before.iter().all(|link| !link.is_closed()), "links stay: {case}");
                cluster.cut_links(&format!("first step, node {at}: {case}"));
            }
            for at in second {
                cluster.nodes[at].running.change_keys(keys(&new, &[]));
                advance_until(&cluster.hand, SECOND / 4, &case, || cluster.connected());
                cluster.cut_links(&format!("second step, node {at}: {case}"));
            }
            let under_new = |link: &Connection| link.cipher() == Some(key(&new).cipher());
            assert!(links(&cluster.nodes[0]).iter().all(under_new), "{case}");
            let mut stranger = RawPeer::connect_with(cluster.nodes[0].port(), &old);
            stranger.send("hello", b"w3 wazuh worker 4.14.7");
            assert!(stranger.receive().is_none(), "{case}");
            old = new;
        }
    }
}

#[test]
fn a_worker_that_was_forgotten_comes_back_when_it_has_the_key() {
    let (clock, hand) = FakeClock::new();
    let master = node(&clock, "m", None, keys(KEY, &[]));
    let worker = node(&clock, "w1", Some(master.port()), keys(KEY, &[]));
    eventually("the worker connects", || master.workers() == ["w1"]);
    master.running.change_keys(keys(OTHERS[0], &[]));
    eventually("it is out", || master.workers().is_empty());
    for _ in 0..100 {
        hand.advance(SECOND);
    }
    assert!(master.workers().is_empty());
    worker.running.change_keys(keys(OTHERS[1], &[OTHERS[2], OTHERS[0]]));
    // The clock stands still: nobody waits until the pause between two attempts is over.
    eventually("it is back", || master.workers() == ["w1"]);
    assert_eq!(links(&master)[0].cipher(), Some(key(OTHERS[0]).cipher()));
}

#[test]
fn every_node_tells_who_uses_which_key() {
    let (clock, hand) = FakeClock::new();
    let [old, new] = [KEY, OTHERS[0]].map(fingerprint);
    let master = node(&clock, "m", None, keys(OTHERS[0], &[KEY]));
    let worker = node(&clock, "w1", Some(master.port()), keys(KEY, &[]));
    let of_master = json!({"name": "m", "type": "master", "link": null, "key": new, "accepted": [old]});
    let of_worker = json!({"name": "w1", "type": "worker", "link": old, "key": old, "accepted": []});
    // An original worker speaks the classic protocol.
    let mut classic = RawPeer::connect_with(master.port(), OTHERS[0]);
    assert_eq!(classic.hello("classic").0, "ok");
    let of_classic = json!({"name": "classic", "type": "worker", "link": new, "key": null, "accepted": null});
    advance_until(&hand, SECOND / 4, "all is told", || {
        let items = told(&master, Command::Keys)["items"].as_array().unwrap().clone();
        items.len() == 3 && items[0] == of_master && items.contains(&of_worker) && items.contains(&of_classic)
    });
    eventually("the worker is told the same", || {
        told(&worker, Command::Keys)["items"].as_array().unwrap().contains(&of_classic)
    });
    assert_eq!(told(&master, Command::NodeKeys), of_master);
    assert_eq!(told(&worker, Command::NodeKeys), of_worker);

    // Who has left is not forgotten, and is one node when it comes back.
    drop(classic);
    let of_classic = || {
        let items = told(&worker, Command::Keys)["items"].as_array().unwrap().clone();
        let of_classic: Vec<_> = items.into_iter().filter(|item| item["name"] == "classic").collect();
        assert_eq!(of_classic.len(), 1);
        of_classic[0].clone()
    };
    eventually("it has left", || of_classic()["left"].as_str().is_some_and(|date| date.ends_with('Z')));
    assert_eq!((of_classic()["link"].as_str(), &of_classic()["key"]), (Some(&*new), &Value::Null));
    let mut classic = RawPeer::connect_with(master.port(), KEY);
    assert_eq!(classic.hello("classic").0, "ok");
    assert_eq!((of_classic()["link"].as_str(), of_classic().get("left")), (Some(&*old), None));

    drop(master);
    eventually("the link is lost", || told(&worker, Command::NodeKeys)["link"].is_null());
    let client = LocalClient::new(worker.home.path("queue/cluster/c-internal.sock"));
    assert_eq!(client.ask(Command::Keys, b"").unwrap_err().code(), 3023);
}

#[test]
fn the_configuration_tells_the_current_key() {
    let (_hand, master) = {
        let (clock, hand) = FakeClock::new();
        (hand, Node::master(TestHome::new(), &clock, json!({"local": {"show_key": true}})))
    };
    assert_eq!(told(&master, Command::Config)["key"], KEY);
    master.running.change_keys(keys(OTHERS[0], &[KEY]));
    assert_eq!(told(&master, Command::Config)["key"], OTHERS[0]);
}
