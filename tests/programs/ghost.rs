//! A worker whose old connection is dead at the other end gets in; a living one keeps its name.

use serde_json::json;

use crate::support::{Daemon, Home, Peer, archive, until};

#[test]
fn a_dead_connection_gives_way() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let mut ghost = Peer::join(master.address, "w1");
    let mut new = Peer::connect(master.address);
    // Nobody reads what the master asks the ghost.
    let (command, text) = new.hello("w1");
    assert!(command == "ok" && text.starts_with("Client w1 added"), "{text}");
    let line =
        master.wait_for("The connection of w1 from 127.0.0.1 is dead; the new one from 127.0.0.1 takes its place.");
    assert!(line.contains("WARNING"), "{line}");
    ghost.silent = true;
    ghost.wait_for_end();
    assert_eq!(new.request("syn_i_w_m_p", "").0, "ok");
    assert_eq!(new.check("w1", &archive(&[], &json!({}))).0, "ok");
    let nodes = new.ask("get_nodes", "{}");
    assert!(nodes.contains("\"totalItems\": 2"), "{nodes}");
}

#[test]
fn a_living_connection_keeps_the_name() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let address = master.address;
    let mut living = Peer::join(address, "w1");
    let second = std::thread::spawn(move || Peer::connect(address).hello("w1"));
    assert!(living.wait_for("echo-m").starts_with(b"alive? "));
    let (command, text) = second.join().unwrap();
    let extra = "\"code\": 3028, \"extra_message\": \"w1; give each node a <node_name> of its own\"";
    assert!(command == "err" && text.contains(extra), "{text}");
    assert_eq!(living.ask("echo", "x"), "x");
}

/// Case 4.18: the worker was restarted and its old end is still on its way, whether or not it has read all before.
#[test]
fn an_orderly_end_is_no_death() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let address = master.address;
    for (round, reads) in [true, false].into_iter().enumerate() {
        let mut old = Peer::join(address, "w1");
        let second = std::thread::spawn(move || {
            let mut second = Peer::connect(address);
            (second.hello("w1"), second)
        });
        old.silent = true;
        if reads {
            old.wait_for("echo-m");
        } else {
            old.wait_for_bytes();
        }
        drop(old);
        let ((command, text), new) = second.join().unwrap();
        assert_eq!(command, "ok", "{text}");
        drop(new);
        let ends = 2 * (round + 1);
        until("both ends", || (master.log().matches("Disconnected w1: ").count() == ends).then_some(()));
    }
    let log = master.log();
    assert_eq!(log.matches("Disconnected w1: the peer closed it.").count(), 4, "{log}");
    assert!(!log.lines().any(|line| line.contains(" WARNING: ") && line.contains("w1")), "{log}");
}
