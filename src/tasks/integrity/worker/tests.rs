use std::{
    io::{Read, Seek},
    thread,
};

use sha2::{Digest, Sha256};

use super::*;
use crate::{
    connection::{FileLimits, IncomingFiles, Proof, ReceivedFile, RequestError},
    files::{Added, ArchiveError, ArchiveWriter, items::is_staged, md5_of},
    sockets::Endpoint,
    system::disk::faults::Fault,
    tasks::tests::{Pair, wait_until},
    wire::{Class, ErrorObject},
};

const FEATURES: Features = Features {
    checksum_md5: true,
    digest: true,
    checksum_md5_blake2b: false,
    push: false,
    keys: false,
    applied: false,
    outline: false,
    groups: false,
    delta: false,
    known: false,
    quiet: false,
    session: false,
    term: false,
};

fn files(node: &Node) -> Files {
    let analysis = Endpoint::new("none", node.home.path().join("none"), node.shutdown.clone());
    Files::new(Scanner::new(node.home.path(), node.items.clone()), Reload::new(analysis))
}

/// An update with one rule.
fn update() -> ReceivedFile {
    ReceivedFile { file: archive(b"new"), sha256: [0; 32] }
}

/// The archive of an update with one rule of this content.
fn archive(rule: &[u8]) -> std::fs::File {
    let home = tempfile::tempdir().unwrap();
    let path = "etc/rules/new.xml";
    std::fs::create_dir_all(home.path().join("etc/rules")).unwrap();
    std::fs::write(home.path().join(path), rule).unwrap();
    let entry = format!(
        r#"{{"{path}": {{"mod_time": 1.0, "cluster_item_key": "etc/rules/", "merged": false, "hash": "{}"}}}}"#,
        crate::system::hex::hex(&md5_of(rule))
    );
    let metadata = format!(r#"{{"missing": {entry}, "shared": {{}}, "extra": {{}}}}"#);
    let mut archive = tempfile::tempfile().unwrap();
    let mut writer = ArchiveWriter::new(&mut archive, 1, u64::MAX);
    let content = std::fs::read(home.path().join(path)).unwrap();
    assert!(matches!(writer.add(path, &content), Ok(Added::Written { .. })));
    writer.finish(metadata.as_bytes()).unwrap();
    archive
}

/// The names in the directory of the rules.
fn rules(node: &Node) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(node.home.path().join("etc/rules")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_large_file_is_staged_while_it_arrives_and_applied_when_all_has_come() {
    let pair = Pair::new();
    let node = pair.node();
    let files = files(node);
    if files.disk.space(std::fs::File::open(node.home.path()).unwrap()).unwrap().bytes < 3 << 30 {
        return eprintln!("This disk is too small for anything to be staged ahead.");
    }
    let mut content = Vec::new();
    let mut file =
        archive(&(0..200_000_u32).flat_map(|n| (n.wrapping_mul(0x9e37_79b9)).to_le_bytes()).collect::<Vec<_>>());
    file.rewind().and_then(|()| file.read_to_end(&mut content)).unwrap();
    let limits = FileLimits { size: 1 << 20, open: 2 };
    let mut transfers = IncomingFiles::new(node.home.path().to_owned(), "queue/cluster/w/".to_owned(), limits);
    let path = b"queue/cluster/w/a.zip";
    let (mut inbox, events) = channel();
    thread::scope(|scope| {
        let integrity = Integrity::new(node, &pair.master, &files, FEATURES);
        scope.spawn(move || integrity.run(&events));
        for whole in [false, true] {
            inbox.sync_begins().unwrap();
            transfers.begin(path, Proof::Checksum).unwrap();
            inbox.arrives(transfers.follow(path).unwrap());
            let (first, rest) = content.split_at(content.len() - 10);
            transfers.append(path, first).unwrap();
            wait_until(|| rules(node).len() == 1);
            assert!(is_staged(&rules(node)[0]), "not before all has come");
            if !whole {
                transfers.clear();
                inbox.sync_failed(ErrorObject::new(Class::Cluster, 3039)).unwrap();
                wait_until(|| rules(node).is_empty());
                continue;
            }
            transfers.append(path, rest).unwrap();
            transfers.end(path, &Sha256::digest(&content).into()).unwrap();
            inbox.archive(transfers.take(path).unwrap()).unwrap();
            wait_until(|| rules(node) == ["new.xml"]);
        }
        pair.master.close("the test ends");
    });
    assert_eq!(node.metrics.task(Task::IntegritySync).failures.get(), 1, "the one that the master gave up");
}

/// Case 6.9: a panic leaves nothing behind that is waited for.
#[test]
fn after_a_panic_the_master_is_told_and_the_next_check_comes_in_its_time() {
    let pair = Pair::new();
    let node = pair.node();
    let files = files(node);
    files.disk.faults.plan(0, Fault::Panic);
    let (mut inbox, events) = channel();
    thread::scope(|scope| {
        let integrity = Integrity::new(node, &pair.master, &files, FEATURES);
        scope.spawn(move || integrity.run(&events));
        assert!(inbox.sync_begins().is_ok() && inbox.archive(update()).is_ok());
        let told = pair.wait("syn_i_w_m_r ");
        assert!(told.starts_with("syn_i_w_m_r None ") && told.contains("the worker failed: operation 0"), "{told}");
        assert!(pair.is_quiet(), "nothing more before its time");
        pair.hand.advance(node.settings.worker.sync_integrity);
        pair.wait("int_digest ");
        pair.master.close("the test ends");
    });
    let failures = |task| node.metrics.task(task).failures.get();
    assert_eq!([Task::IntegritySync, Task::IntegrityCheck].map(failures), [1, 0]);
}

/// The same in the middle of a check.
#[test]
fn after_a_panic_in_a_check_the_master_is_told_and_nothing_is_under_way() {
    let pair = Pair::new();
    let files = files(pair.node());
    let mut integrity = Integrity::new(pair.node(), &pair.master, &files, FEATURES);
    integrity.hurry();
    let done = integrity.check_turn(|this| {
        this.checking = Some(this.node.clock.now());
        assert!(this.sooner.is_none(), "as ordered");
        Ok(())
    });
    assert_eq!((done, integrity.checking, integrity.sooner), (None, None, None));
    assert!(pair.wait("syn_i_w_m_r None ").contains("the worker failed: as ordered"));
    assert_eq!(pair.node().metrics.task(Task::IntegrityCheck).failures.get(), 1);
}

/// The lines of the stock daemon are an interface; the refusal of a master running this daemon comes with each check.
#[test]
fn only_the_refusal_of_a_check_is_damped() {
    let pair = Pair::new();
    let files = files(pair.node());
    let mut integrity = Integrity::new(pair.node(), &pair.master, &files, FEATURES);
    let error = || ErrorObject::new(Class::Cluster, 3039);
    let closed = || RequestError::Closed { reason: "why".into() };
    for (reason, damped) in [(NotChecked::ByTheMaster(error()), true), (NotChecked::NotMade(closed()), false)] {
        let text = reason.to_string();
        assert_eq!(integrity.check_turn(|_| Err::<(), _>(reason)), None);
        assert_eq!(integrity.checks.damps(&text), damped, "{text}");
    }
    let refused = ArchiveError::Io(std::io::Error::other("why"));
    for reason in [NotSynchronised::Late, NotSynchronised::NotSent(error()), NotSynchronised::Refused(refused)] {
        let text = reason.to_string();
        integrity.sync_fails(reason);
        assert!(!integrity.syncs.damps(&text), "{text}");
    }
}
