//! cluster_control: what the shell learns.

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Peer, control, until};

fn code(home: &Home, arguments: &[&str]) -> Option<i32> {
    control(home, arguments).status.code()
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let output = control(home, arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn one_when_nothing_runs() {
    let home = Home::master();
    for arguments in [&["-l"][..], &["-i"], &["-i", "more"]] {
        let output = control(&home, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("Error 3012 - Cluster is not running: no daemon listens at "), "{said}");
        assert!(said.contains("Remedy: start it, with"), "{said}");
    }
    assert_eq!(json(&home, &["-l", "--json"])["error"]["code"], 3012);
    assert_eq!(code(&home, &["--nonsense"]), Some(2));
    assert_eq!(code(&home, &["-h"]), Some(0));
}

#[test]
fn three_before_a_worker_is_in_sync_and_zero_after() {
    let master = Home::master();
    master.write("etc/rules/a.xml", "a rule");
    let _master = Daemon::start(&master);
    assert_eq!(code(&master, &["-l"]), Some(0), "a master alone is in sync");
    let unchecked = Peer::join(master.address, "w0");
    let output = control(&master, &["-i"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Not in sync: w0: no integrity check has ended yet (since "), "{said}");
    assert_eq!(json(&master, &["-i", "--json"])["in_sync"], false);
    drop(unchecked);
    // One that was there is missed until it is forgotten.
    until("it is forgotten", || (code(&master, &["--forget", "w0"]) == Some(0)).then_some(()));

    let worker = Home::worker("w1", master.address);
    let _worker = Daemon::start(&worker);
    until("the worker in sync", || (code(&master, &["-i", "-fn", "w1"]) == Some(0)).then_some(()));
    assert!(worker.path("etc/rules/a.xml").exists());
    for home in [&master, &worker] {
        until("all in sync", || (code(home, &["-i"]) == Some(0)).then_some(()));
        let health = json(home, &["-i", "--json"]);
        assert_eq!((&health["in_sync"], &health["nodes"]["w1"]["in_sync"]), (&true.into(), &true.into()), "{health}");
        let list = json(home, &["-l", "--json"]);
        assert!(list.to_string().contains("\"w1\"") && list.to_string().contains("\"m\""), "{list}");
        assert_eq!(code(home, &["-i", "-fn", "nosuch"]), Some(3));
        assert_eq!(code(home, &["-l", "-fn", "nosuch"]), Some(3));
    }
}

/// Case 4.13: nobody is blamed for the silence of a program that has left, however long no other one comes.
#[test]
fn a_program_that_has_left_is_not_said_to_be_silent() {
    let master = Home::master();
    let supervision = json!({"check_worker_lastkeepalive": 0.2, "max_allowed_time_without_keepalive": 0.5});
    master.settings(json!({"intervals": {"master": supervision}}));
    let _daemon = Daemon::start(&master);
    assert_eq!(code(&master, &["-l"]), Some(0));
    let (left, tag) = (master.mark(), "[Local Server] [Keep alive] Calculated.");
    until("some more turns", || (master.log()[left..].matches(tag).count() > 8).then_some(()));
    assert!(!master.log().contains("ERROR"), "{}", master.log());
}

/// Not only at the end of the period.
#[test]
fn a_worker_counts_as_in_sync_as_soon_as_it_has_what_was_sent() {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    let day = json!({"intervals": {"master": {"recalculate_integrity": 86_400}, "worker": {"sync_integrity": 86_400}}});
    [&master, &worker].iter().for_each(|home| home.settings(day.clone()));
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    for content in ["first", "second", "third"] {
        master.write("etc/rules/a.xml", content);
        worker.wait_for_file("etc/rules/a.xml", content);
        until("the worker in sync", || (code(&worker, &["-i", "-fn", "w1"]) == Some(0)).then_some(()));
    }
    assert!(!worker.log().contains("ERROR") && !master.log().contains("ERROR"), "{}\n{}", worker.log(), master.log());
}

#[test]
fn agents_are_listed_alike_on_master_and_worker() {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    master.write("etc/client.keys", "001 web any k1\n002 db 10.0.0.7 k2\n");
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    let table = "\
ID   NAME       IP         STATUS           VERSION  NODE NAME  \n\
000  localhost  127.0.0.1  active           unknown  unknown    \n\
001  web        any        never_connected  unknown  unknown    \n\
002  db         10.0.0.7   never_connected  unknown  unknown    \n";
    for home in [&master, &worker] {
        until("the master knows the agents", || (control(home, &["-a"]).stdout == table.as_bytes()).then_some(()));
        let none = control(home, &["-a", "-fs", "disconnected", "-fn", "w1"]);
        assert_eq!(
            (none.status.code(), &*String::from_utf8_lossy(&none.stdout)),
            (Some(0), "ID  NAME  IP  STATUS  VERSION  NODE NAME  \n")
        );
        let waiting = json(home, &["-a", "-fs", "never_connected", "--json"]);
        assert_eq!(waiting[1]["name"], "db");
        assert_eq!(waiting.as_array().map(Vec::len), Some(2), "{waiting}");
    }
}

#[test]
fn three_on_a_worker_without_its_master() {
    let worker = Home::worker("w1", crate::support::Address::new());
    let _worker = Daemon::start(&worker);
    let output = control(&worker, &["-l"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Error 3023 - Worker node is not connected to master"), "{said}");
    // Before the first attempt has failed, nobody knows why.
    let reasons = ["check <nodes>, <port> and <key>", "set <nodes> and <port> to those of the master"];
    assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
}

/// Case 1.7: it gives the reason of the log, for each of the mistakes with which a worker does not get in.
#[test]
fn a_worker_says_why_it_does_not_get_in() {
    let master = Home::master();
    let _master = Daemon::start(&master);
    let mistakes = [
        ("key", "abcdefghijklmnopqrstuv0123456789", "the <key> must be the same on both nodes"),
        ("name", "other", "Error 3030 - Worker does not belong to the same cluster: "),
        ("node_name", "m", "Error 3029 - Connected worker with same name as the master: m; give each node"),
        ("port", "15161", "Connection refused"),
    ];
    for (option, wrong, reason) in mistakes {
        let worker = Home::worker("w1", master.address);
        worker.option(option, wrong);
        let _worker = Daemon::start(&worker);
        let mut said = String::new();
        until(reason, || {
            let output = control(&worker, &["-l"]);
            assert_eq!(output.status.code(), Some(3));
            said = String::from_utf8(output.stderr).unwrap();
            said.contains(reason).then_some(())
        });
        assert!(said.starts_with("ERROR: Error 3023 - Worker node is not connected to master: "), "{said}");
    }
}
