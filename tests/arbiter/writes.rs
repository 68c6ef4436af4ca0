//! What a master writes.

use std::time::{Duration, Instant};

use clusterd::arbiter::{Claim, Entry, Folder, InSync, Key, MOST_ENTRIES, MOST_WRITES, Write, Written};

use crate::{
    members::Members,
    node::{Seat, master, patient, seat},
};

const LONG: Duration = Duration::from_secs(600);

fn numbers(seat: &Seat) -> Vec<u64> {
    let (mut found, mut more) = (Vec::new(), true);
    while more {
        let after = found.last().map(|last| Key::Registration(*last));
        let page = seat.etcd.list(Folder::Registrations, after.as_ref()).unwrap();
        assert!(page.entries.len() <= MOST_ENTRIES);
        more = page.more;
        found.extend(page.entries.into_iter().map(|(key, entry)| match key {
            Key::Registration(number) if entry.value == number.to_be_bytes() => number,
            other => panic!("{other:?}: {entry:?}"),
        }));
    }
    found
}

#[test]
fn registrations_are_written_in_one_transaction_listed_in_order_and_dropped() {
    let Some(members) = Members::start(1, &[]) else { return };
    let seat = seat(&patient(&members.urls()));
    let lease = seat.etcd.grant(LONG).unwrap();
    let Claim::Won(mut guard) = seat.etcd.claim(lease, &master("a")).unwrap() else { panic!("another master") };
    let puts: Vec<Write> =
        (1..=250_u64).map(|number| Write::Put(Key::Registration(number), number.to_be_bytes().to_vec())).collect();
    for batch in puts.chunks(MOST_WRITES) {
        assert_eq!(seat.etcd.write(&mut guard, batch), Ok(Written::Done));
    }
    // What stands beside the folder is not in it.
    let sync = InSync { term: 7, cluster: "k".into(), candidates: vec!["b".into(), "c".into()] };
    let switch = br#"{"to":"b","by":"w"}"#;
    seat.etcd.announce(&Key::Switch, switch, lease).unwrap();
    let more = [Write::sync(&sync), Write::ids(300), Write::Delete(Key::Switch), Write::DeleteRegistrations(120)];
    assert_eq!(seat.etcd.write(&mut guard, &more), Ok(Written::Done));
    assert_eq!(numbers(&seat), (121..=250).collect::<Vec<_>>());
    let reading = seat.etcd.read(&[Key::Sync, Key::Switch, Key::Ids]).unwrap();
    let [read, switch, ids] = &reading.entries[..] else { panic!("{reading:?}") };
    assert_eq!((read.as_ref().map(Entry::sync), switch), (Some(Ok(sync)), &None));
    assert_eq!(ids.as_ref().map(Entry::ids), Some(Ok(300)));
    assert_eq!(seat.etcd.write(&mut guard, &[Write::DeleteRegistrations(u64::MAX)]), Ok(Written::Done));
    assert!(numbers(&seat).is_empty());

    // Reading makes no history.
    let revision = || seat.etcd.read(&[Key::Master]).unwrap().revision;
    assert_eq!(revision(), revision());

    members.control(&["put", "/threatlockdown/wazuh/reg/what", "x"]);
    let text = seat.etcd.list(Folder::Registrations, None).unwrap_err().to_string();
    assert!(
        text.contains("holds the key /threatlockdown/wazuh/reg/what, which this daemon has not written; delete it"),
        "{text}"
    );
}

/// Not asserted: figures for `tests/benches/RESULTS.md`.
#[test]
#[ignore = "a measurement: make arbiter"]
fn slow_how_long_calls_take() {
    let Some(members) = Members::start(3, &[]) else { return };
    let seat = seat(&patient(&members.urls()));
    let lease = seat.etcd.grant(LONG).unwrap();
    let Claim::Won(mut guard) = seat.etcd.claim(lease, &master("a")).unwrap() else { panic!("another master") };
    let measure = |name: &str, call: &mut dyn FnMut(u64)| {
        let mut times: Vec<Duration> = (0..500)
            .map(|turn| {
                let start = Instant::now();
                call(turn);
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("{name}: median {:?}, p95 {:?}", times[250], times[475]);
    };
    measure("renewal", &mut |_| assert!(seat.etcd.renew(lease).unwrap()));
    measure("linearizable read", &mut |_| drop(seat.etcd.read(&[Key::Master]).unwrap()));
    for count in [1_u64, 100] {
        measure(&format!("guarded write of {count} x 200 B"), &mut |turn| {
            let put = |one| Write::Put(Key::Registration(turn * 100 + one), vec![7; 200]);
            let writes: Vec<Write> = (0..count).map(put).collect();
            assert_eq!(seat.etcd.write(&mut guard, &writes), Ok(Written::Done));
        });
    }
}
