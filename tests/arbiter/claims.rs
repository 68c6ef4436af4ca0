//! Who is master, by a real etcd.

use std::{sync::mpsc, time::Duration};

use clusterd::{
    arbiter::{Claim, Claimed, Ended, Folder, Guard, Key, Node, Presence, Tenure, View, Watch, Write, Written},
    system::clock::Clock,
};

use crate::{
    members::Members,
    node::{Seat, master, patient, seat, until},
};

/// The time of a lease that is to end soon, or to be renewed often. On a busy machine nothing is sure to happen within it.
const SHORT: Duration = Duration::from_secs(5);

/// That of one that is not to end, on any machine.
const LONG: Duration = Duration::from_secs(600);

fn claim(seat: &Seat, name: &str, ttl: Duration) -> Guard {
    let lease = seat.etcd.grant(ttl).unwrap();
    match seat.etcd.claim(lease, &master(name)).unwrap() {
        Claim::Won(guard) => guard,
        Claim::Lost(other) => panic!("{other:?}"),
    }
}

/// The name of the master that this node sees.
fn seen(watch: &Watch) -> Option<String> {
    watch.watched().view.and_then(|view| view.master).map(|entry| entry.master().unwrap().node)
}

#[test]
fn a_claim_is_won_once_and_a_lease_that_ends_gives_it_away() {
    let Some(members) = Members::start(1, &[]) else { return };
    let [a, b] = [0, 1].map(|_| seat(&patient(&members.urls())));
    let watch = Watch::start(&b.etcd, LONG, &Clock::real(), &b.shutdown).unwrap();
    until("an empty view", || watch.watched().view == Some(View { master: None, switch: None }));

    let mut old = claim(&a, "a", LONG);
    let lease = b.etcd.grant(LONG).unwrap();
    let Claim::Lost(other) = b.etcd.claim(lease, &master("b")).unwrap() else { panic!("two masters") };
    assert_eq!((other.created, other.lease, other.master()), (old.term, old.lease, Ok(master("a"))));
    assert!(matches!(a.etcd.claim(old.lease, &master("a")).unwrap(), Claim::Won(again) if again == old));
    assert_eq!(a.etcd.write(&mut old, &[Write::ids(100)]), Ok(Written::Done));

    // The watch has a turn in minutes: only the stream can tell it in time.
    until("the master", || seen(&watch).as_deref() == Some("a"));
    a.etcd.revoke(old.lease).unwrap();
    until("that there is none", || seen(&watch).is_none());
    let expires = claim(&a, "a", SHORT);
    until("the end of the lease", || a.etcd.read(&[Key::Master]).unwrap().entries == [None]);
    assert_eq!(a.etcd.renew(expires.lease), Ok(false));
    assert!(expires.term > old.term);
    let Claim::Won(mut new) = b.etcd.claim(lease, &master("b")).unwrap() else { panic!("no master") };
    assert!(new.term > expires.term);
    until("the next master", || seen(&watch).as_deref() == Some("b"));

    assert_eq!(a.etcd.write(&mut old, &[Write::ids(200)]), Ok(Written::Superseded));
    assert_eq!(b.etcd.write(&mut new, &[Write::ids(300)]), Ok(Written::Done));
    let reading = b.etcd.read(&[Key::Ids]).unwrap();
    assert_eq!(reading.entries[0].as_ref().unwrap().ids(), Ok(300));
    assert_eq!(a.etcd.revoke(old.lease), Ok(()), "one that has ended is none to complain about");
    drop(b);
    watch.thread.join().unwrap();
}

#[test]
fn a_tenure_is_renewed_and_can_be_given_back_and_taken() {
    let Some(members) = Members::start(1, &[]) else { return };
    let seat = seat(&patient(&members.urls()));
    let clock = Clock::real();
    let claim = |ttl: Duration| {
        let (tell, told) = mpsc::channel();
        let fenced = move |why| tell.send(why).unwrap_or_default();
        match Tenure::claim(&seat.etcd, &master("a"), ttl, &clock, &seat.shutdown, fenced).unwrap() {
            Claimed::Won(tenure) => (tenure, told),
            Claimed::Lost(other) => panic!("{other:?}"),
        }
    };
    let (mut tenure, told) = claim(LONG);
    assert_eq!(tenure.write(&[Write::ids(100)]), Ok(Written::Done));
    let (deadline, term) = (tenure.deadline.clone(), tenure.term());
    tenure.release().unwrap();
    assert_eq!((told.recv().unwrap(), deadline.holds()), (Ended::Released, false));

    // A person deletes the key: a renewal finds it gone, although the lease lasts. A busy machine may be late for that.
    until("the end of a term whose key is gone", || {
        let (tenure, told) = claim(SHORT);
        assert!(tenure.term() > term);
        members.control(&["del", "/threatlockdown/wazuh/master"]);
        let why = told.recv().unwrap();
        assert!([Ended::Superseded, Ended::Late].contains(&why), "{why:?}");
        tenure.release().unwrap();
        why == Ended::Superseded
    });

    // A person ends the lease.
    let (mut tenure, told) = claim(LONG);
    let reading = seat.etcd.read(&[Key::Master]).unwrap();
    let lease = reading.entries[0].as_ref().unwrap().lease;
    members.control(&["lease", "revoke", &format!("{lease:x}")]);
    assert_eq!(tenure.write(&[Write::ids(200)]), Ok(Written::Superseded));
    assert!(!tenure.deadline.holds());
    assert!([Ended::Superseded, Ended::LeaseLost].contains(&told.recv().unwrap()));
}

#[test]
fn a_node_is_there_while_it_announces_itself() {
    let Some(members) = Members::start(1, &[]) else { return };
    let seat = seat(&patient(&members.urls()));
    let node = |version: &str| Node { address: "10.0.0.2".into(), version: version.into(), obstacle: None };
    let list = || {
        let page = seat.etcd.list(Folder::Nodes, None).unwrap();
        page.entries.into_iter().map(|(key, entry)| (key, entry.node().unwrap().version)).collect::<Vec<_>>()
    };
    let presence = Presence::start(&seat.etcd, "b 1", &node("7"), SHORT, &Clock::real(), &seat.shutdown).unwrap();
    until("the node", || list() == [(Key::Node("b 1".into()), "7".into())]);
    presence.set(&node("8"));
    until("the next version", || list() == [(Key::Node("b 1".into()), "8".into())]);
    // Ended under it: it gets another lease.
    let lease = || seat.etcd.read(&[Key::Node("b 1".into())]).unwrap().entries[0].as_ref().map(|entry| entry.lease);
    until("a lease", || lease().is_some_and(|lease| seat.etcd.revoke(lease).is_ok()));
    until("the node again", || list() == [(Key::Node("b 1".into()), "8".into())]);
    drop(presence);
    until("its end", || list().is_empty());
}

/// After a restore terms begin at an earlier one, and the history for which a stream waits never comes.
#[test]
fn a_restored_backup_is_seen_and_its_terms_are_lower() {
    let Some(mut members) = Members::start(1, &[]) else { return };
    let seat = seat(&patient(&members.urls()));
    // The turn of the watch, by which it sees what no stream tells.
    let watch = Watch::start(&seat.etcd, Duration::from_secs(3), &Clock::real(), &seat.shutdown).unwrap();
    claim(&seat, "early", LONG);
    members.control(&["snapshot", "save", "backup"]);
    members.control(&["del", "/threatlockdown/wazuh/master"]);
    let mut late = claim(&seat, "late", LONG);
    until("the late one", || seen(&watch).as_deref() == Some("late"));

    let restored = members.path("restored");
    let url = format!("http://{}:2380", members.address());
    let (data, peers) = (restored.to_str().unwrap().to_owned(), format!("m0={url}"));
    let place =
        ["--data-dir", &data, "--name", "m0", "--initial-cluster", &peers, "--initial-advertise-peer-urls", &url];
    members.control(&[&["snapshot", "restore", "backup", "--initial-cluster-token", &peers], &place[..]].concat());
    members.start_again(0, Some(&restored));
    until("the early one", || seen(&watch).as_deref() == Some("early"));
    let view = watch.watched().view.unwrap();
    assert!(view.master.unwrap().created < late.term);
    assert_eq!(seat.etcd.write(&mut late, &[Write::ids(9)]), Ok(Written::Superseded));
    members.control(&["del", "/threatlockdown/wazuh/master"]);
    until("nobody", || watch.watched().failure.is_none() && seen(&watch).is_none());
    drop(seat);
    watch.thread.join().unwrap();
}

#[test]
fn clusters_of_other_names_do_not_meet_and_one_of_the_same_name_is_known_by_its_key() {
    let Some(members) = Members::start(1, &[]) else { return };
    let named = |name: &str| {
        let mut options = patient(&members.urls());
        options.cluster = name.into();
        seat(&options)
    };
    let [one, other, same] = ["wazuh", "wazuh/master", "wazuh"].map(named);
    claim(&one, "a", LONG);
    claim(&other, "a", LONG);
    let lease = same.etcd.grant(LONG).unwrap();
    let mut stranger = master("a");
    stranger.cluster = "another fingerprint".into();
    let Claim::Lost(entry) = same.etcd.claim(lease, &stranger).unwrap() else { panic!("two masters") };
    assert_ne!(entry.master().unwrap().cluster, stranger.cluster);
}
