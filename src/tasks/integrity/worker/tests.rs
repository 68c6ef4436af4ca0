use std::thread;

use super::*;
use crate::{
    connection::{ReceivedFile, RequestError},
    files::{Added, ArchiveError, ArchiveWriter, md5_of},
    sockets::Endpoint,
    system::disk::faults::Fault,
    tasks::tests::Pair,
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
    session: false,
    term: false,
};

fn files(node: &Node) -> Files {
    let analysis = Endpoint::new("none", node.home.path().join("none"), node.shutdown.clone());
    Files::new(Scanner::new(node.home.path(), node.items.clone()), Reload::new(analysis))
}

/// An update with one rule.
fn update() -> ReceivedFile {
    let home = tempfile::tempdir().unwrap();
    let path = "etc/rules/new.xml";
    std::fs::create_dir_all(home.path().join("etc/rules")).unwrap();
    std::fs::write(home.path().join(path), "new").unwrap();
    let entry = format!(
        r#"{{"{path}": {{"mod_time": 1.0, "cluster_item_key": "etc/rules/", "merged": false, "hash": "{}"}}}}"#,
        crate::system::hex::hex(&md5_of(b"new"))
    );
    let metadata = format!(r#"{{"missing": {entry}, "shared": {{}}, "extra": {{}}}}"#);
    let mut archive = tempfile::tempfile().unwrap();
    let mut writer = ArchiveWriter::new(&mut archive, 1, u64::MAX);
    let mut content = std::fs::File::open(home.path().join(path)).unwrap();
    assert!(matches!(writer.add_file(path, &mut content, None, None), Ok(Added::Written { .. })));
    writer.finish(metadata.as_bytes()).unwrap();
    ReceivedFile { file: archive, sha256: [0; 32] }
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
        pair.wait("syn_i_w_m_p ");
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
