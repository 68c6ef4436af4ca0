use crossbeam_channel::bounded;

use super::*;
use crate::{
    files::{Entry, Items, items::ItemId, sum_of},
    tasks::{integrity::sending::write_manifest, tests::Pair},
};

const KIND: ChecksumKind = ChecksumKind::Md5Blake2b;

fn integrity(pair: &Pair) -> Arc<Integrity> {
    let node = pair.shared_node();
    let local = Arc::new(LocalIntegrity::new(&node));
    let (deletions, archives) = (Deletions::default(), Archives::default());
    let (packing, doubtful, reading) = (Line::new(1), Doubtful::default(), Mutex::default());
    let shared = Shared { node, local, deletions, archives, packing, doubtful, reading };
    Integrity::new(Arc::new(shared), "w", pair.master.clone())
}

/// A check of a worker without any file, by a manifest whose only file belongs to this item. It is the one that is running.
fn check(integrity: &Integrity, item: ItemId) -> (Check, crossbeam_channel::Receiver<Arrived>) {
    let (arrived, arrives) = bounded(1);
    let mut archive = tempfile::tempfile().unwrap();
    let items = Arc::new(Items::standard());
    let nothing = Manifest::new(items.clone(), Vec::new(), Default::default());
    write_manifest(&nothing, &[], KIND, 1, &mut archive).unwrap();
    let file = ReceivedFile { file: archive, sha256: [0; 32] };
    assert!(arrived.send(Arrived::File("path".into(), file)).is_ok());
    let entry = Entry { path: "etc/rules/a".into(), item, mod_time: 0.0, sum: sum_of(b"a"), blake2b: None };
    let master = Manifest::new(items, vec![entry], Default::default());
    let since = integrity.clock().now();
    integrity.state.lock().running.begin("1", since, Hand { arrived, sending: None });
    let about = Some(Arc::new(master));
    (Check { task: "1".into(), kind: KIND, is_native: true, deltas: false, buckets: Buckets::ALL, about }, arrives)
}

fn failures(pair: &Pair) -> [u64; 2] {
    [Task::IntegrityCheck, Task::IntegritySync].map(|task| pair.node().metrics.task(task).failures.get())
}

/// Case 6.9: whether by an error or a panic, a worker of ours is told that there is no verdict, and may ask again.
#[test]
fn after_a_check_that_failed_the_worker_is_told_and_may_ask_again() {
    let pair = Pair::new();
    let integrity = integrity(&pair);
    let turns: [fn() -> Result<(), String>; 2] = [|| Err("as ordered".into()), || panic!("as ordered")];
    for (turn, count) in turns.into_iter().zip(1..) {
        let (check, _arrives) = check(&integrity, ItemId(0));
        integrity.carry_out(&check, turn);
        let told = pair.wait("syn_m_c_r ");
        assert!(told.starts_with("syn_m_c_r None ") && told.contains("as ordered"), "{told}");
        assert!(integrity.status().free);
        assert_eq!(failures(&pair), [count, 0]);
    }
}

/// Case 6.9: the worker waits for the archive of a synchronisation that it was told of.
#[test]
fn after_a_panic_while_files_are_packed_the_worker_waits_no_longer() {
    let pair = Pair::new();
    let integrity = integrity(&pair);
    let no_item = ItemId(u8::MAX);
    let (check, arrives) = check(&integrity, no_item);
    integrity.run(&check, &arrives);
    // The master of the test answers "True" to everything, so that is the id of the synchronisation.
    let told = pair.wait("syn_m_c_r ");
    assert!(told.starts_with("syn_m_c_r True ") && told.contains("Please report this."), "{told}");
    assert!(integrity.status().free);
    assert_eq!(integrity.last_applied().failures[0].path, super::super::ARCHIVE);
    assert_eq!(failures(&pair), [0, 1]);
    assert!(pair.node().metrics.task(Task::IntegrityCheck).last().is_some(), "the check itself has ended well");
}
