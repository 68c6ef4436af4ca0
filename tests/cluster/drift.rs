//! The comparison of configurations with workers that mean no good.

use std::{thread, time::Duration};

use clusterd::{
    local::client::{AskError, LocalClient},
    system::clock::FakeClock,
    wire::Command,
};
use serde_json::{Value, json};

use crate::support::{Node, RawPeer, TestHome, eventually};

fn master() -> (FakeClock, Node) {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/ossec.conf", "<ossec_config><syscheck><frequency>60</frequency></syscheck></ossec_config>");
    (hand, Node::master(home, &clock, json!({})))
}

fn ask(node: &Node) -> impl Fn() -> Result<Value, AskError> + Sync {
    let client = LocalClient::new(node.home.path("queue/cluster/c-internal.sock"));
    move || client.ask(Command::Drift, b"{}").map(|answer| serde_json::from_slice(&answer).unwrap())
}

/// A worker that the master takes for one of ours.
fn join(master: &Node, name: &str) -> RawPeer {
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello(name).0, "ok");
    let offer = json!({"nonce": "A".repeat(22), "features": ["outline"]}).to_string();
    assert_eq!(peer.ask("native", offer.as_bytes()).0, "ok");
    let settled = || master.as_master().registry.find(name).is_some_and(|worker| worker.is_settled());
    eventually("a master that may ask it", settled);
    peer
}

/// Waits until the master asks for the outline; gives the counter.
fn asked(peer: &mut RawPeer) -> u32 {
    loop {
        let (counter, command, _) = peer.receive().unwrap();
        if command == "get_outline" {
            return counter;
        }
    }
}

/// What the master tells of a worker that answers with this.
fn told_of(answer: &str) -> Value {
    let (_hand, master) = master();
    let (mut peer, ask) = (join(&master, "w1"), ask(&master));
    thread::scope(|scope| {
        let told = scope.spawn(|| ask().unwrap());
        let counter = asked(&mut peer);
        peer.send_with(counter, "ok", answer.as_bytes());
        told.join().unwrap()["nodes"]["w1"].take()
    })
}

fn outline(settings: Value, ruleset: Value) -> String {
    json!({"settings": settings, "ruleset": ruleset}).to_string()
}

fn ruleset(text: &str) -> Value {
    json!({"verdict": "loaded", "changed": text, "newest": text, "loaded": text})
}

#[test]
fn what_a_worker_tells_has_bounds() {
    let long = "x".repeat(100_000);
    let option = json!({"name": long, "label": long, "line": 1, "hash": "h"});
    let told = told_of(&outline(json!({"Ok": vec![option; 30]}), ruleset(&long)));
    assert_eq!(told["differences"].as_array().unwrap().len(), 31, "30 of the node, one of the master");
    assert!(told.to_string().len() < 20_000, "{} bytes", told.to_string().len());

    let many: Vec<Value> = (0..100_000).map(|_| json!({"name": "a", "line": 1, "hash": ""})).collect();
    let told = told_of(&outline(json!({ "Ok": many }), ruleset("t")));
    assert_eq!((told["differences"].as_array().unwrap().len(), &told["more"]), (500, &json!(true)));

    let deep = (0..500).fold(json!([]), |inner, _| json!([{"name": "a", "line": 1, "hash": "", "settings": inner}]));
    for (answer, reason) in [
        (outline(json!({ "Err": long }), ruleset("t")), "xxxx"),
        (outline(json!({ "Ok": deep }), ruleset("t")), "its answer is not understood: recursion limit"),
        (long.clone(), "its answer is not understood: expected value"),
        (" ".repeat(9 << 20), "its answer is longer than 8388608 bytes"),
        (outline(json!({"Ok": []}), json!({ "verdict": long })), "its answer is not understood: unknown variant"),
    ] {
        let told = told_of(&answer);
        let error = told["error"].as_str().unwrap();
        assert!(error.starts_with(reason) && error.len() <= 512, "{error}");
        assert_eq!(told["differences"], json!([]));
    }
}

#[test]
fn a_worker_that_takes_nothing_holds_nobody_up() {
    let (_hand, master) = master();
    join(&master, "w1").stuff();
    let mut stuffed = join(&master, "w2");
    stuffed.stuff();
    // The clock stands still: nobody waits for a time limit.
    let told = ask(&master)().unwrap();
    assert_eq!(told["nodes"]["w2"]["error"], "it has not answered within 8 s");
}

#[test]
fn comparisons_come_one_after_the_other() {
    let (hand, master) = master();
    let (mut peer, ask) = (join(&master, "w1"), ask(&master));
    thread::scope(|scope| {
        let [first, second] = [(); 2].map(|()| scope.spawn(&ask));
        let counter = asked(&mut peer);
        // Nothing is asked for the other while this one is not answered.
        peer.send("echo", b"now");
        let mut before = std::iter::repeat_with(|| peer.receive().unwrap().1).take_while(|command| command != "ok");
        assert!(before.all(|command| command != "get_outline"));
        peer.send_with(counter, "ok", outline(json!({"Ok": []}), ruleset("t")).as_bytes());
        // Now it is, and left without an answer.
        asked(&mut peer);
        eventually("the end of both", || {
            hand.advance(Duration::from_secs(1));
            first.is_finished() && second.is_finished()
        });
        let told = [first, second].map(|asking| asking.join().unwrap().unwrap()["nodes"]["w1"]["error"].take());
        assert!(told.contains(&Value::Null) && told.contains(&json!("it has not answered within 8 s")), "{told:?}");
    });
}
