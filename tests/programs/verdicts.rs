//! A worker goes on asking for checks, whatever becomes of the verdict of one.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{Address, Daemon, Home, Peer, Permission, ScriptedMaster, until};

/// A worker, and its master, which has just got the manifest of the worker's first check.
fn asked() -> (Home, Daemon, Peer) {
    let address = Address::new();
    let master = ScriptedMaster::new(address);
    let worker = Home::worker("w1", address);
    worker.settings(json!({"intervals": {"worker": {"sync_integrity": 1}}}));
    let daemon = Daemon::start(&worker);
    let mut peer = master.accept();
    peer.wait_for("syn_i_w_m_e");
    peer.was_asked("syn_i_w_m_p");
    (worker, daemon, peer)
}

/// Case 6.5.
#[test]
fn pushes_that_come_more_often_than_checks_do_not_put_them_off() {
    let (_worker, _daemon, mut peer) = asked();
    // The verdict never comes.
    until("the next check", || {
        thread::sleep(Duration::from_millis(20));
        peer.ask("int_changed", "7");
        peer.was_asked("syn_i_w_m_p").then_some(())
    });
}

/// Case 6.5.
#[test]
fn a_check_that_the_master_gave_up_is_made_again() {
    let (worker, _daemon, mut peer) = asked();
    let error = clusterd::wire::ErrorObject::cluster(3007, "why");
    peer.ask("syn_m_c_r", format!("None {}", error.to_json()));
    let line = worker.wait_for("The master did not find these files equal to its own: Error 3007");
    assert!(line.contains("ERROR") && line.contains("[Integrity check]"), "{line}");
    peer.wait_for("syn_i_w_m_e");
}

/// Case 6.5: the way out of a check that was refused is the next one in its time, not the same question without end.
#[test]
fn a_master_that_refuses_a_check_is_asked_again_in_its_time() {
    let (worker, _daemon, mut peer) = asked();
    peer.permission = Permission::Refused;
    peer.ask("int_changed", "7");
    peer.wait_for("syn_i_w_m_p");
    let begun = Instant::now();
    // The first of these may be due at once; each of the others comes one period after the one before.
    (0..3).for_each(|_| drop(peer.wait_for("syn_i_w_m_p")));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(2), "asked three times in {waited:?}");
    let line = worker.wait_for("The check could not be made");
    assert!(line.contains("ERROR") && line.contains("no checks today"), "{line}");
}

/// Case 6.9.
#[test]
fn a_master_whose_files_change_all_the_time_gets_all_of_the_workers_list() {
    let address = Address::new();
    let master = ScriptedMaster::new(address);
    let worker = Home::worker("w1", address);
    worker.write("etc/rules/a.xml", "a");
    let _daemon = Daemon::start(&worker);
    let mut peer = master.accept_native();
    let offered: Vec<_> = (0..4).map(|_| String::from_utf8(peer.wait_for("syn_i_w_m")).unwrap()).collect();
    assert!(offered[..3].iter().all(|buckets| buckets.len() == 64) && offered[3].is_empty(), "{offered:?}");
    peer.wait_for("syn_i_w_m_e");
}
