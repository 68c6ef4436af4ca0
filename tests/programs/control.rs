//! cluster_control: what the shell learns.

use serde_json::Value;

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
    assert!(said.contains("Not in sync: w0: no integrity check has ended yet."), "{said}");
    assert_eq!(json(&master, &["-i", "--json"])["in_sync"], false);
    drop(unchecked);

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

#[test]
fn three_on_a_worker_without_its_master() {
    let worker = Home::worker("w1", crate::support::Address::new());
    let _worker = Daemon::start(&worker);
    let output = control(&worker, &["-l"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Error 3023 - Worker node is not connected to master"), "{said}");
    assert!(said.contains("logs/cluster.log tells why the master cannot be reached"), "{said}");
}
