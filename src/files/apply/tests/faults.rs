//! A fault or a crash at any operation of the disk: every file keeps its old content or has its new one.

use super::*;

/// Every file that differs must have its old or its new content, and nothing else may be there but staged files.
fn assert_old_or_new(home: &Path, old: &Files, new: &Files, staged_too: bool, context: &str) {
    let now = only_files(home);
    for (path, content) in &now {
        let name = path.rsplit('/').next().unwrap();
        if is_staged(name) {
            assert!(staged_too, "{context}: {path} is left over");
            continue;
        }
        let is = |files: &Files| files.get(path) == Some(content);
        assert!(is(old) || is(new), "{context}: {path} is {:?}", String::from_utf8_lossy(content));
    }
    for (path, content) in old {
        let kept = !(path.starts_with("etc/rules/") || path.starts_with("etc/shared/"));
        if new.get(path) == Some(content) || kept {
            assert_eq!(now.get(path), Some(content), "{context}: {path}");
        } else if new.contains_key(path) {
            assert!(now.contains_key(path), "{context}: {path} is lost");
        }
    }
}

/// From `many` files on two threads work: then an operation has another number in every run, and what is swept over is
/// a random interleaving each time.
fn sweep_faults(few: usize, many: usize, fault: Fault) {
    let (old, new) = old_and_new();
    let operations = {
        let pair = Pair::new(&new, &old);
        let disk = Disk::new();
        let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5);
        let target = Target { home: pair.worker.path(), owner: None, disk: &disk };
        open(file).apply_with(&target, few, many).unwrap();
        disk.faults.done()
    };
    assert!(operations > 30);
    let master = Pair::new(&new, &old);
    let bytes = {
        use std::io::Read;
        use std::io::Seek;
        let mut file = archive(master.master.path(), master.worker.path(), ChecksumKind::Md5);
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let mut refused = 0;
    for at in 0..operations {
        let context = format!("few {few}, many {many}, {fault:?} at {at}");
        let worker = home();
        put(worker.path(), &old);
        let before = list(worker.path());
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let mut disk = Disk::new();
        disk.faults.plan = Some((at, fault));
        let target = Target { home: worker.path(), owner: None, disk: &disk };
        let outcome = open(file).apply_with(&target, few, many);
        let crash = fault == Fault::Crash;
        assert_old_or_new(worker.path(), &old, &new, crash, &context);
        if outcome.is_err() && !crash {
            refused += 1;
            assert!(!worker.path().join(journal::PATH).exists(), "{context}: refused, but it is still promised");
            let mut now = list(worker.path());
            // The own directory of an item stays once it is made.
            now.retain(|path, _| !["var/", "var/multigroups/"].contains(&&**path));
            assert_eq!(now, before, "{context}: refused, but something was changed");
        }
        let items = Items::standard();
        let first = recover(worker.path(), &items, &Disk::new());
        assert_old_or_new(worker.path(), &old, &new, false, &context);
        assert!(!worker.path().join(journal::PATH).exists(), "{context}");
        let all_or_nothing = only_files(worker.path());
        if crash {
            let mut done = new.clone();
            for kept in ["etc/ossec.conf", "etc/shared/kept/own.tmp"] {
                done.insert(kept.to_owned(), old[kept].clone());
            }
            let left = ["etc/shared/gone/ar.conf"];
            let mut with_left = done.clone();
            for path in left {
                with_left.insert(path.to_owned(), old[path].clone());
            }
            let whole = all_or_nothing == old || all_or_nothing == done || all_or_nothing == with_left;
            assert!(whole, "{context}: recovered halfway: {all_or_nothing:?} {first:?}");
        }
        assert_eq!(recover(worker.path(), &items, &Disk::new()), Recovery::default(), "{context}: {first:?}");
        apply(worker.path(), archive(master.master.path(), worker.path(), ChecksumKind::Md5), &Disk::new()).unwrap();
        let mut now = only_files(worker.path());
        now.retain(|path, _| {
            !["etc/ossec.conf", "etc/shared/kept/own.tmp", "etc/shared/gone/ar.conf"].contains(&&**path)
        });
        assert_eq!(now, new, "{context}: not repaired by the next update");
    }
    if fault != Fault::Crash {
        assert!(refused > 10 && refused < operations);
    }
}

#[test]
fn a_full_disk_at_any_operation() {
    sweep_faults(FEW, MANY, Fault::Once(Errno::ENOSPC));
    sweep_faults(0, MANY, Fault::Once(Errno::ENOSPC));
}

#[test]
fn a_broken_disk_at_any_operation() {
    sweep_faults(FEW, MANY, Fault::Once(Errno::EIO));
    sweep_faults(0, MANY, Fault::Once(Errno::EIO));
}

#[test]
fn a_forbidden_operation_anywhere() {
    sweep_faults(FEW, MANY, Fault::Once(Errno::EACCES));
}

#[test]
fn a_crash_at_any_operation() {
    sweep_faults(FEW, MANY, Fault::Crash);
    sweep_faults(0, MANY, Fault::Crash);
}

#[test]
fn a_fault_at_any_operation_of_two_threads() {
    for few in [0, FEW] {
        for fault in [Fault::Crash, Fault::Once(Errno::ENOSPC), Fault::Once(Errno::EIO)] {
            sweep_faults(few, 0, fault);
        }
    }
    sweep_faults(FEW, 0, Fault::Once(Errno::EACCES));
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
        let outcome = pair.sync(&disk).unwrap();
        assert_eq!((outcome.created, outcome.updated, outcome.deleted), (100, 200, 100));
        assert_eq!((outcome.failures, only_files(pair.worker.path())), (vec![], new.clone()));
        disk.faults.done()
    };
    for round in 0..12 {
        let at = operations * round / 12 + round;
        for fault in [Fault::Crash, Fault::Once(Errno::ENOSPC), Fault::Once(Errno::EACCES)] {
            let context = format!("{fault:?} at {at}");
            let pair = Pair::new(&new, &old);
            let before = list(pair.worker.path());
            let mut disk = Disk::new();
            disk.faults.plan = Some((at, fault));
            let outcome = pair.sync(&disk);
            assert_old_or_new(pair.worker.path(), &old, &new, fault == Fault::Crash, &context);
            if outcome.is_err() && fault != Fault::Crash {
                assert_eq!(list(pair.worker.path()), before, "{context}: refused, but something was changed");
            }
            recover(pair.worker.path(), &Items::standard(), &Disk::new());
            let now = only_files(pair.worker.path());
            assert_old_or_new(pair.worker.path(), &old, &new, false, &context);
            if fault == Fault::Crash {
                assert!(now == old || now == new, "{context}: recovered halfway");
            }
            pair.sync(&Disk::new()).unwrap();
            assert_eq!(only_files(pair.worker.path()), new, "{context}");
        }
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let (old, new) = old_and_new();
    let pair = Pair::new(&new, &old);
    let operations = {
        let disk = Disk::new();
        let other = Pair::new(&new, &old);
        other.sync(&disk).unwrap();
        disk.faults.done()
    };
    let mut disk = Disk::new();
    // Shortly after the commit.
    disk.faults.plan = Some((operations - 14, Fault::Crash));
    pair.sync(&disk).ok();
    assert!(pair.path(journal::PATH).exists(), "the crash was to be after the commit");
    for at in 0..40 {
        let mut disk = Disk::new();
        disk.faults.plan = Some((at, Fault::Crash));
        recover(pair.worker.path(), &Items::standard(), &disk);
        assert_old_or_new(pair.worker.path(), &old, &new, true, "again");
    }
    recover(pair.worker.path(), &Items::standard(), &Disk::new());
    for (path, content) in &new {
        assert_eq!(&fs::read(pair.path(path)).unwrap(), content, "{path}");
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
