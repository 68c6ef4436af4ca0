//! A fault or a crash at any operation of the disk: every file keeps its old content or has its new one.

use std::{
    collections::BTreeSet,
    io::{Read, Seek, Write},
};

use super::*;

/// Every file that differs must have its old or its new content, and nothing else may be there but staged files. Those
/// that are `torn` may have any content.
fn assert_old_or_new(home: &Path, old: &Files, new: &Files, staged_too: bool, torn: &[&str], context: &str) {
    let now = only_files(home);
    for (path, content) in &now {
        let name = path.rsplit('/').next().unwrap();
        if is_staged(name) {
            assert!(staged_too, "{context}: {path} is left over");
            continue;
        }
        let is = |files: &Files| files.get(path) == Some(content);
        assert!(
            is(old) || is(new) || torn.contains(&name),
            "{context}: {path} is {:?}",
            String::from_utf8_lossy(content)
        );
    }
    for (path, content) in old {
        let kept = OWN.contains(&&**path);
        if new.get(path) == Some(content) || kept {
            assert_eq!(now.get(path), Some(content), "{context}: {path}");
        } else if new.contains_key(path) {
            assert!(now.contains_key(path), "{context}: {path} is lost");
        }
    }
}

/// What no update touches.
const OWN: [&str; 2] = ["etc/ossec.conf", "etc/shared/kept/own.tmp"];

/// What goes with its directory only.
const LEFT: &str = "etc/shared/gone/ar.conf";

/// The files of an update that could not be dealt with are those that are named, and where there was no room for a
/// directory, it is as it was.
fn assert_named(home: &Path, outcome: &Outcome, old: &Files, new: &Files, context: &str) {
    let now = only_files(home);
    let paths = old.keys().chain(new.keys()).filter(|path| !OWN.contains(&&***path) && *path != LEFT);
    let stale: BTreeSet<&str> = paths.filter(|path| now.get(*path) != new.get(*path)).map(|path| &**path).collect();
    let named = outcome.failures.iter().filter(|failure| failure.what != What::Sync).map(|failure| &*failure.path);
    assert_eq!(named.collect::<BTreeSet<_>>(), stale, "{context}: {outcome:?}");
    for Failure { path, .. } in outcome.failures.iter().filter(|failure| failure.reason.contains("no room")) {
        let (directory, _) = crate::files::path::split(path);
        let of = |files: &Files| -> Files {
            let inside = |path: &&String| crate::files::path::split(path).0 == directory;
            files
                .iter()
                .filter(|(path, _)| inside(path))
                .map(|(path, content)| (path.clone(), content.clone()))
                .collect()
        };
        assert_eq!(of(&now), of(old), "{context}: half of {directory} was changed");
    }
}

struct Sweep {
    old: Files,
    new: Files,
    few: usize,
    /// From so many files on two threads work: then an operation has another number in every run, and what is swept over
    /// is a random interleaving each time.
    many: usize,
    mounts: &'static [&'static str],
    /// Whether the contents are staged while the archive arrives.
    ahead: bool,
}

impl Sweep {
    fn new(few: usize, many: usize) -> Self {
        let (old, new) = old_and_new();
        Self { old, new, few, many, mounts: &[], ahead: false }
    }

    fn ahead(self) -> Self {
        Self { ahead: true, ..self }
    }

    /// One file of each kind is a mount, and gets a longer or a shorter content.
    fn of_mounts(few: usize) -> Self {
        let (mut old, mut new) = old_and_new();
        for (path, before, after) in [
            ("etc/client.keys", "001 a any key\n", "001 a any key\n002 b any key\n"),
            ("etc/rules/local_rules.xml", "<long and old/>", "<new/>"),
            ("etc/shared/default/agent.conf", "old conf", "new conf"),
        ] {
            old.insert(path.to_owned(), before.into());
            new.insert(path.to_owned(), after.into());
        }
        Self { old, new, few, many: MANY, mounts: &["client.keys", "local_rules.xml"], ahead: false }
    }

    fn disk(&self) -> Disk {
        let disk = Disk::new();
        disk.faults.set_mounts(self.mounts);
        disk
    }

    fn apply(&self, home: &Path, bytes: &[u8], disk: &Disk) -> Outcome {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        disk.faults.set_mounts(self.mounts);
        let target = Target { home, owner: None, disk, outlines: None };
        if self.ahead {
            return ahead::apply(file, &target, self.few, self.many);
        }
        open(file).apply_with(&target, self.few, self.many)
    }

    fn archive(&self, master: &Path, worker: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = archive(master, worker, ChecksumKind::Md5Blake2b);
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
        bytes
    }

    fn worker(&self) -> TempDir {
        let worker = home();
        put(worker.path(), &self.old);
        worker
    }

    /// Applies the update once for each operation that it takes, which meets this fault.
    fn over(&self, fault: Fault) {
        let Self { old, new, few, many, mounts, ahead } = self;
        let pair = Pair::new(new, old);
        let bytes = self.archive(pair.master.path(), pair.worker.path());
        let mut failed = 0;
        let operations = at_each(fault, |disk, context| {
            let context = format!("few {few}, many {many}, mounts {mounts:?}, ahead {ahead}, {context}");
            let worker = self.worker();
            let outcome = self.apply(worker.path(), &bytes, disk);
            // The staged content of a mount that was written over goes with the next start, if not now.
            assert_old_or_new(worker.path(), old, new, !mounts.is_empty(), &[], &context);
            failed += usize::from(!outcome.failures.is_empty());
            assert_named(worker.path(), &outcome, old, new, &context);
            let unremoved = outcome.failures.iter().any(|failure| failure.path == journal::PATH);
            assert!(unremoved || !worker.path().join(journal::PATH).exists(), "{context}: it is still promised");
            self.assert_mended(pair.master.path(), worker.path(), &context);
        });
        assert!(operations > 50);
        if HARMLESS.contains(&fault) {
            assert_eq!(failed, 0, "{fault:?}");
        } else {
            assert!(failed > 10, "{fault:?}: {failed} of {operations} have failed");
        }
    }

    /// The same for a crash, after which the disk has kept what it likes of what was not durable.
    fn over_crashes(&self) {
        let Self { old, new, few, many, mounts, ahead } = self;
        let pair = Pair::new(new, old);
        let bytes = self.archive(pair.master.path(), pair.worker.path());
        crash_at_each(|disk, luck, context| {
            let context = format!("few {few}, many {many}, mounts {mounts:?}, ahead {ahead}, {context}");
            let worker = self.worker();
            disk.faults.watch(worker.path());
            self.apply(worker.path(), &bytes, disk);
            disk.faults.cut_power(luck);
            assert_old_or_new(worker.path(), old, new, true, mounts, &context);
            recover(worker.path(), &Items::standard(), &self.disk());
            self.assert_parts_whole(&only_files(worker.path()), &context);
            self.assert_mended(pair.master.path(), worker.path(), &context);
        });
    }

    /// The next start leaves nothing over, each part of the update is whole if that was promised, and the next update does
    /// the rest.
    fn assert_mended(&self, master: &Path, worker: &Path, context: &str) {
        let Self { old, new, .. } = self;
        let items = Items::standard();
        let was_committed = worker.join(journal::PATH).exists();
        let first = recover(worker, &items, &self.disk());
        assert_old_or_new(worker, old, new, false, &[], context);
        assert!(!worker.join(journal::PATH).exists(), "{context}");
        if was_committed {
            assert!(!first.dropped, "{context}: {first:?}");
        }
        assert_eq!(recover(worker, &items, &self.disk()), Recovery::default(), "{context}: {first:?}");
        assert_eq!(self.apply(worker, &self.archive(master, worker), &self.disk()).failures, [], "{context}");
        let mut now = only_files(worker);
        now.retain(|path, _| !OWN.contains(&&**path) && path != LEFT);
        assert_eq!(&now, new, "{context}: not repaired by the next update");
    }

    /// After a crash and a start, each part of the update is there or not.
    fn assert_parts_whole(&self, now: &Files, context: &str) {
        const KEYS: &str = crate::files::items::KEYS;
        assert!([self.old.get(KEYS), self.new.get(KEYS)].contains(&now.get(KEYS)), "{context}");
        let mut done = self.new.clone();
        done.extend(OWN.map(|path| (path.to_owned(), self.old[path].clone())));
        let mut with_left = done.clone();
        with_left.insert(LEFT.to_owned(), self.old[LEFT].clone());
        let others = |files: &Files| -> Files {
            files
                .iter()
                .filter(|(path, _)| *path != KEYS)
                .map(|(path, content)| (path.clone(), content.clone()))
                .collect()
        };
        let whole = [&self.old, &done, &with_left].iter().any(|files| others(files) == others(now));
        assert!(whole, "{context}: recovered halfway: {now:?}");
    }
}

/// What a disk can say to an operation besides [`ERRORS`]. It says it once, to each operation in turn.
const OTHERS: [Errno; 5] = [Errno::EDQUOT, Errno::EROFS, Errno::EACCES, Errno::EBUSY, Errno::ESTALE];

/// Promise 1, cases 3.1 and 3.3: whatever fails, what is named has failed, and all else is done.
#[test]
fn any_error_at_any_operation() {
    for fault in ERRORS.into_iter().chain(HARMLESS).chain(OTHERS.map(Fault::Once)) {
        Sweep::new(FEW, MANY).over(fault);
    }
    for fault in ERRORS.into_iter().chain(HARMLESS) {
        Sweep::new(0, MANY).over(fault);
    }
}

/// The same where the contents were staged while the archive arrived: what failed then is done in its turn.
#[test]
fn any_error_or_a_crash_at_any_operation_ahead() {
    for few in [0, FEW] {
        Sweep::new(few, MANY).ahead().over_crashes();
        Sweep::new(few, MANY).ahead().over(Fault::Full);
    }
    for fault in ERRORS {
        Sweep::new(FEW, MANY).ahead().over(fault);
    }
    Sweep::of_mounts(FEW).ahead().over(Fault::Once(Errno::EIO));
}

/// Promise 1: a kill or a power cut at any instant needs no repair by hand.
#[test]
fn a_crash_at_any_operation() {
    Sweep::new(FEW, MANY).over_crashes();
    Sweep::new(0, MANY).over_crashes();
}

#[test]
fn a_fault_at_any_operation_of_two_threads() {
    Sweep::new(0, 0).over_crashes();
    for fault in [Fault::Once(Errno::ENOSPC), Fault::Once(Errno::EIO), Fault::Full] {
        Sweep::new(0, 0).over(fault);
        Sweep::new(FEW, 0).over(fault);
    }
}

/// Case 3.2: a mount is written over, and a crash in the middle of that is mended by the next start.
#[test]
fn any_error_or_a_crash_while_mounts_are_written_over() {
    for few in [0, FEW] {
        Sweep::of_mounts(few).over_crashes();
    }
    for fault in ERRORS.into_iter().chain(HARMLESS).chain([Errno::EROFS, Errno::EBUSY].map(Fault::Once)) {
        Sweep::of_mounts(FEW).over(fault);
    }
}

/// Case 3.2: what is a mount cannot be deleted, and is no reason to do nothing else.
#[test]
fn a_mount_that_is_to_be_deleted_is_named() {
    let pair = Pair::new(&files(&[("etc/rules/b", "new")]), &files(&[("etc/rules/a", "mount"), ("etc/rules/c", "c")]));
    let disk = Disk::new();
    disk.faults.set_mounts(&["a"]);
    let outcome = pair.sync(&disk);
    let failure =
        Failure { path: "etc/rules/a".to_owned(), what: What::Delete, reason: "Device or resource busy".to_owned() };
    assert_eq!((outcome.created, outcome.deleted, outcome.failures), (1, 1, vec![failure]));
}

/// Case 3.2: a mount whose disk has no room for the new content keeps the old one.
#[test]
fn a_mount_without_room_stays_as_it_is() {
    let (old, new) = (files(&[("etc/client.keys", "old")]), files(&[("etc/client.keys", "new and longer")]));
    let mut refused = 0;
    for at in 0.. {
        let pair = Pair::new(&new, &old);
        let disk = Disk::failing(at, Fault::Once(Errno::ENOSPC));
        disk.faults.set_mounts(&["client.keys"]);
        let outcome = pair.sync(&disk);
        let done = outcome.failures.iter().all(|failure| failure.what == What::Sync);
        let mut files = only_files(pair.worker.path());
        files.retain(|path, _| path == "etc/client.keys");
        assert_eq!(&files, if done { &new } else { &old }, "{at}: {outcome:?}");
        refused += usize::from(files == old);
        if disk.faults.done() <= at {
            break;
        }
    }
    assert!(refused > 5, "{refused}");
}

/// Without a journal, what is one change of its directory is made all the same.
#[test]
fn a_journal_that_cannot_be_written_holds_up_what_needs_one() {
    let (old, new) = old_and_new();
    let pair = Pair::new(&new, &old);
    put(pair.worker.path(), &files(&[("queue/cluster", "a file where the directory of the journal is to be")]));
    let outcome = pair.sync(&Disk::new());
    assert_named(pair.worker.path(), &outcome, &old, &new, "no journal");
    let failed: BTreeSet<&str> = outcome.failures.iter().map(|failure| &*failure.path).collect();
    let several =
        ["etc/lists/one", "etc/lists/three", "etc/lists/two", "etc/rules/local_rules.xml", "etc/rules/surplus.xml"];
    assert_eq!(failed, BTreeSet::from(several), "{outcome:?}");
}

/// More files than both threads take at a time, most in one directory, and a fault somewhere.
#[test]
fn a_fault_among_many_files_leaves_old_or_new() {
    let tree = |content: &str, range: std::ops::Range<usize>| -> Files {
        let path = |n: usize| format!("etc/shared/{}/{n:03}", if n.is_multiple_of(8) { "few" } else { "most" });
        range.map(|n| (path(n), format!("{content} {n}").into_bytes())).collect()
    };
    let (old, new) = (tree("old", 0..300), tree("new", 100..400));
    let operations = {
        let (pair, disk) = (Pair::new(&new, &old), Disk::new());
        let outcome = pair.sync(&disk);
        assert_eq!((outcome.created, outcome.updated, outcome.deleted), (100, 200, 100));
        assert_eq!((outcome.failures, only_files(pair.worker.path())), (vec![], new.clone()));
        disk.faults.done()
    };
    for round in 0..12 {
        let at = operations * round / 12 + round;
        for fault in [Fault::Crash, Fault::Once(Errno::ENOSPC), Fault::Once(Errno::EACCES)] {
            let context = format!("{fault:?} at {at}");
            let pair = Pair::new(&new, &old);
            let disk = Disk::failing(at, fault);
            disk.faults.watch(pair.worker.path());
            let outcome = pair.sync(&disk);
            disk.faults.cut_power(if fault == Fault::Crash { Luck::Some(round as u64 + 1) } else { Luck::All });
            assert_old_or_new(pair.worker.path(), &old, &new, fault == Fault::Crash, &[], &context);
            if fault != Fault::Crash {
                assert_named(pair.worker.path(), &outcome, &old, &new, &context);
            }
            recover(pair.worker.path(), &Items::standard(), &Disk::new());
            let now = only_files(pair.worker.path());
            assert_old_or_new(pair.worker.path(), &old, &new, false, &[], &context);
            if fault == Fault::Crash {
                assert!(now == old || now == new, "{context}: recovered halfway");
            }
            pair.sync(&Disk::new());
            assert_eq!(only_files(pair.worker.path()), new, "{context}");
        }
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let (old, new) = old_and_new();
    let operations = {
        let disk = Disk::new();
        Pair::new(&new, &old).sync(&disk);
        disk.faults.done()
    };
    let crashed_at = |at| {
        let pair = Pair::new(&new, &old);
        pair.sync(&Disk::failing(at, Fault::Crash));
        pair
    };
    // Shortly after the commit of the last part.
    let last = (0..operations).rev().skip_while(|at| !crashed_at(*at).path(journal::PATH).exists()).nth(12).unwrap();
    crash_at_each(|disk, luck, context| {
        let pair = crashed_at(last);
        assert!(pair.path(journal::PATH).exists(), "the crash was to be after the commit");
        disk.faults.watch(pair.worker.path());
        recover(pair.worker.path(), &Items::standard(), disk);
        disk.faults.cut_power(luck);
        assert_old_or_new(pair.worker.path(), &old, &new, true, &[], context);
        recover(pair.worker.path(), &Items::standard(), &Disk::new());
        for (path, content) in &new {
            assert_eq!(&fs::read(pair.path(path)).unwrap(), content, "{path}, {context}");
        }
    });
}

/// A journal that cannot be read now is no reason to forget what it promises.
#[test]
fn an_error_during_recovery_leaves_the_promise_to_the_next_start() {
    let (old, new) = old_and_new();
    let is_committed = |at: &usize| {
        let pair = Pair::new(&new, &old);
        pair.sync(&Disk::failing(*at, Fault::Crash));
        let journal = fs::read_to_string(pair.path(journal::PATH)).unwrap_or_default();
        journal.contains("etc/lists")
    };
    let committed = (0..).find(is_committed).unwrap();
    for fault in ERRORS.into_iter().chain(HARMLESS) {
        at_each(fault, |disk, context| {
            let pair = Pair::new(&new, &old);
            pair.sync(&Disk::failing(committed, Fault::Crash));
            let recovery = recover(pair.worker.path(), &Items::standard(), disk);
            assert!(!HARMLESS.contains(&fault) || recovery.problems.is_empty(), "{context}: {recovery:?}");
            assert_old_or_new(pair.worker.path(), &old, &new, !recovery.problems.is_empty(), &[], context);
            recover(pair.worker.path(), &Items::standard(), &Disk::new());
            assert_old_or_new(pair.worker.path(), &old, &new, false, &[], context);
            if recovery.problems.iter().any(|problem| problem.contains("journal")) || HARMLESS.contains(&fault) {
                for (path, content) in &new {
                    assert_eq!(&fs::read(pair.path(path)).unwrap(), content, "{path}, {context}: {recovery:?}");
                }
            }
        });
    }
}

#[test]
fn an_invalid_journal_is_dropped_with_its_leftovers() {
    let home = tempfile::tempdir().unwrap();
    put(
        home.path(),
        &files(&[
            (journal::PATH, "{\"apply_journal\":1"),
            ("etc/shared/x/.cluster-01234567-3.tmp", "staged"),
            ("etc/shared/x/.cluster-other.tmp", "not ours"),
            ("etc/sub/.cluster-01234567-3.tmp", "outside of every item"),
        ]),
    );
    let recovery = recover(home.path(), &Items::standard(), &Disk::new());
    assert_eq!((recovery.finished, recovery.dropped, recovery.leftovers), (0, true, 1));
    assert_eq!(only_files(home.path()).len(), 2);
    assert_eq!(recover(home.path(), &Items::standard(), &Disk::new()), Recovery::default());
}
