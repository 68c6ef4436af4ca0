use std::collections::BTreeMap;
use std::fs;
use std::io::BufWriter;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use proptest::strategy::Strategy as _;
use tempfile::TempDir;

use super::*;
use crate::files::archive::{ArchiveWriter, LEVEL, MAX_INFLATED};
use crate::files::checksum::md5_of;
use crate::files::compare::compare;
use crate::files::items::is_staged;
use crate::files::remote::RemoteManifest;
use crate::files::scan::{Scanner, open_file};
use crate::system::disk::Space;
use crate::system::disk::faults::Fault;

type Files = BTreeMap<String, Vec<u8>>;

fn files(list: &[(&str, &str)]) -> Files {
    list.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect()
}

fn put(home: &Path, files: &Files) {
    for (path, content) in files {
        let path = home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Every file below a directory but those of `queue`; directories end with a slash and have no content.
fn list(home: &Path) -> Files {
    fn walk(base: &Path, directory: &Path, found: &mut Files) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
            if path.is_symlink() {
                found.insert(name, b"link".to_vec());
            } else if path.is_dir() {
                found.insert(format!("{name}/"), vec![]);
                walk(base, &path, found);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = Files::new();
    walk(home, home, &mut found);
    found.retain(|name, _| !name.starts_with("queue/"));
    found
}

fn only_files(home: &Path) -> Files {
    list(home).into_iter().filter(|(name, _)| !name.ends_with('/')).collect()
}

/// An archive that makes `worker` equal to `master`, as the master would make it.
fn archive(master: &Path, worker: &Path, kind: ChecksumKind) -> File {
    let items = Arc::new(Items::standard());
    let scan = |home: &Path| Scanner::new(home, Arc::clone(&items)).scan(true).manifest;
    let (ours, theirs) = (scan(master), scan(worker));
    let mut json = Vec::new();
    theirs.to_json(kind, &mut json).unwrap();
    let theirs = RemoteManifest::parse(&json, kind).unwrap();
    let difference = compare(&ours, &theirs, kind).unwrap();
    let mut writer = ArchiveWriter::new(BufWriter::new(tempfile::tempfile().unwrap()), LEVEL, MAX_INFLATED);
    for entry in difference.missing.iter().chain(&difference.shared) {
        let mut file = open_file(master, &entry.path).unwrap().unwrap();
        writer.add_file(&entry.path, &mut file, Some(&entry.md5), None).unwrap();
    }
    let mut metadata = Vec::new();
    difference.write_json(|_| false, &mut metadata).unwrap();
    writer.finish(&metadata).unwrap().into_inner().unwrap()
}

fn open(file: File) -> Update {
    Update::open(file, &Arc::new(Items::standard()), ChecksumKind::Md5, MAX_INFLATED).unwrap()
}

fn apply(home: &Path, file: File, disk: &Disk) -> Result<Outcome, ApplyError> {
    open(file).apply(&Target { home, owner: None, disk })
}

/// A directory in memory where there is one (or in `CLUSTERD_TEST_DIRECTORY`): on a disk the many syncs of these tests
/// take half a minute.
fn home() -> TempDir {
    let place = std::env::var("CLUSTERD_TEST_DIRECTORY");
    TempDir::new_in(place.as_deref().unwrap_or("/dev/shm")).or_else(|_| tempfile::tempdir()).unwrap()
}

struct Pair {
    master: TempDir,
    worker: TempDir,
}

impl Pair {
    fn new(master: &Files, worker: &Files) -> Pair {
        let pair = Pair { master: home(), worker: home() };
        // A master whose directory is missing has nothing deleted.
        for (_, item) in Items::standard().iter() {
            fs::create_dir_all(pair.master.path().join(&item.key)).unwrap();
        }
        put(pair.master.path(), master);
        put(pair.worker.path(), worker);
        pair
    }

    fn sync(&self, disk: &Disk) -> Result<Outcome, ApplyError> {
        let file = archive(self.master.path(), self.worker.path(), ChecksumKind::Md5);
        apply(self.worker.path(), file, disk)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.worker.path().join(path)
    }
}

fn old_and_new() -> (Files, Files) {
    let new = files(&[
        ("etc/client.keys", "001 a any key\n"),
        ("etc/rules/local_rules.xml", "<new/>"),
        ("etc/lists/same", "same"),
        ("etc/shared/default/agent.conf", "new conf"),
        ("etc/shared/fresh/deep/agent.conf", "fresh"),
        ("var/multigroups/ab/merged.mg", "mg"),
    ]);
    let old = files(&[
        ("etc/ossec.conf", "own"),
        ("etc/rules/local_rules.xml", "<old/>"),
        ("etc/rules/surplus.xml", "surplus"),
        ("etc/rules/sub/surplus.xml", "surplus"),
        ("etc/lists/same", "same"),
        ("etc/shared/default/agent.conf", "old conf"),
        ("etc/shared/gone/agent.conf", "gone"),
        ("etc/shared/gone/ar.conf", "left over"),
        ("etc/shared/kept/agent.conf", "gone"),
        ("etc/shared/kept/own.tmp", "kept"),
        ("etc/shared/agent.conf", "gone, but not its directory"),
    ]);
    (old, new)
}

#[test]
fn an_update_makes_the_worker_equal() {
    let (old, new) = old_and_new();
    for few in [0, FEW] {
        let pair = Pair::new(&new, &old);
        let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Blake2b);
        let items = Arc::new(Items::standard());
        let update = Update::open(file, &items, ChecksumKind::Blake2b, MAX_INFLATED).unwrap();
        assert_eq!((update.missing_count(), update.shared_count(), update.extra_count()), (3, 2, 5));
        let disk = Disk::new();
        let owner = nix::unistd::geteuid().is_root().then_some((1, 2));
        let target = Target { home: pair.worker.path(), owner, disk: &disk };
        let outcome = update.apply_with(&target, few).unwrap();
        let bytes = (14 + 6 + 8 + 5 + 2) as u64;
        assert_eq!(outcome, Outcome { created: 3, updated: 2, deleted: 5, failures: vec![], bytes });
        let mut wanted = new.clone();
        for kept in ["etc/ossec.conf", "etc/shared/kept/own.tmp"] {
            wanted.insert(kept.to_owned(), old[kept].clone());
        }
        assert_eq!(only_files(pair.worker.path()), wanted);
        assert!(!pair.path("etc/shared/gone").exists(), "emptied but for ar.conf");
        assert!(pair.path("etc/rules/sub").exists(), "this item keeps its directories");
        assert!(!pair.path(journal::PATH).exists());
        if owner.is_some() {
            let about = fs::metadata(pair.path("etc/shared/fresh/deep/agent.conf")).unwrap();
            assert_eq!((about.mode() & 0o7777, about.uid(), about.gid()), (0o660, 1, 2));
            let about = fs::metadata(pair.path("etc/shared/fresh/deep")).unwrap();
            assert_eq!((about.mode() & 0o7777, about.uid(), about.gid()), (0o770, 1, 2));
        }
        assert_eq!(fs::metadata(pair.path("etc/client.keys")).unwrap().permissions().mode() & 0o7777, 0o640);
    }
}

#[test]
fn the_items_own_directory_stays_and_emptied_ones_inside_each_other_go() {
    let old = files(&[("etc/shared/a/b/x", "1"), ("etc/shared/a/y", "1"), ("etc/shared/z", "1")]);
    let pair = Pair::new(&Files::new(), &old);
    assert_eq!(pair.sync(&Disk::new()).unwrap().deleted, 3);
    assert!(pair.path("etc/shared").exists() && !pair.path("etc/shared/a").exists());
}

#[test]
fn an_empty_directory_makes_room_for_a_file() {
    let pair =
        Pair::new(&files(&[("etc/rules/a", "1"), ("etc/rules/b", "1")]), &files(&[("etc/rules/b/own.tmp", "1")]));
    fs::create_dir_all(pair.path("etc/rules/a")).unwrap();
    let outcome = pair.sync(&Disk::new()).unwrap();
    assert_eq!((outcome.created, outcome.failures.len()), (1, 1));
    assert!(pair.path("etc/rules/a").is_file() && pair.path("etc/rules/b/own.tmp").is_file());
}

#[test]
fn only_one_level_of_emptied_directories_goes() {
    let pair = Pair::new(&Files::new(), &files(&[("etc/shared/a/b/x", "1")]));
    pair.sync(&Disk::new()).unwrap();
    assert!(pair.path("etc/shared/a").exists() && !pair.path("etc/shared/a/b").exists());
}

/// An archive with this metadata and these contents, whatever they are.
fn raw(metadata: &str, contents: &[(&str, &str)]) -> File {
    let mut writer = ArchiveWriter::new(tempfile::tempfile().unwrap(), LEVEL, MAX_INFLATED);
    for (name, content) in contents {
        writer.add(name, content.as_bytes()).unwrap();
    }
    writer.finish(metadata.as_bytes()).unwrap()
}

fn object(path: &str, key: &str, content: &str) -> String {
    let sum = crate::files::checksum::Checksum::Md5(md5_of(content.as_bytes()));
    format!(r#""{path}": {{"mod_time": 1.5, "cluster_item_key": "{key}", "merged": false, "hash": "{sum}"}}"#)
}

#[test]
fn hostile_entries_fail_by_name_and_the_others_go_on() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "outside").unwrap();
    let old = files(&[
        ("etc/ossec.conf", "own"),
        ("etc/rules/dir/x", "x"),
        ("etc/shared/twice", "old"),
        ("etc/rules/file", "f"),
    ]);
    let pair = Pair::new(&Files::new(), &old);
    symlink(outside.path(), pair.path("etc/shared/link")).unwrap();
    symlink(outside.path().join("f"), pair.path("etc/shared/flink")).unwrap();
    let missing = [
        object("../etc/passwd", "etc/", "x"),
        object("/etc/passwd", "etc/", "x"),
        object("etc/shared/../ossec.conf", "etc/shared/", "x"),
        object("etc/ossec.conf", "etc/", "x"),
        object("bin/x", "bin/", "x"),
        object("etc/rules/x", "etc/shared/", "x"),
        object("etc/rules/dir", "etc/rules/", "x"),
        object("etc/rules/file/below", "etc/rules/", "x"),
        object("etc/rules/absent", "etc/rules/", "x"),
        object("etc/rules/wrong", "etc/rules/", "other"),
        object("etc/shared/link/f", "etc/shared/", "x"),
        object("etc/shared/link/sub/f", "etc/shared/", "x"),
        object("etc/shared/flink", "etc/shared/", "x"),
        object("etc/shared/twice", "etc/shared/", "x"),
        object("etc/shared/new/good", "etc/shared/", "x"),
    ];
    let extra = [
        object("etc/ossec.conf", "etc/", ""),
        object("etc/rules/dir", "etc/rules/", ""),
        object("etc/shared/link/f", "etc/shared/", ""),
        object("etc/shared/twice", "etc/shared/", ""),
        object("etc/shared/never", "etc/shared/", ""),
        object("../x", "etc/shared/", ""),
    ];
    let metadata =
        format!(r#"{{"missing": {{{}}}, "shared": {{}}, "extra": {{{}}}}}"#, missing.join(", "), extra.join(", "));
    let names = [
        "etc/ossec.conf",
        "bin/x",
        "etc/rules/x",
        "etc/rules/dir",
        "etc/rules/file/below",
        "etc/rules/wrong",
        "etc/shared/link/f",
        "etc/shared/link/sub/f",
        "etc/shared/flink",
        "etc/shared/twice",
        "etc/shared/new/good",
    ];
    let contents: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x")).collect();
    let outcome = apply(pair.worker.path(), raw(&metadata, &contents), &Disk::new()).unwrap();
    assert_eq!((outcome.created, outcome.deleted), (3, 0), "{outcome:?}");
    let mut failed: Vec<(&str, What)> = outcome.failures.iter().map(|f| (f.path.as_str(), f.what)).collect();
    failed.sort_by_key(|(path, what)| (*path, *what as u8));
    assert_eq!(
        failed,
        [
            ("../etc/passwd", What::Create),
            ("../x", What::Delete),
            ("/etc/passwd", What::Create),
            ("bin/x", What::Create),
            ("etc/ossec.conf", What::Create),
            ("etc/ossec.conf", What::Delete),
            ("etc/rules/absent", What::Create),
            ("etc/rules/dir", What::Create),
            ("etc/rules/dir", What::Delete),
            ("etc/rules/file/below", What::Create),
            ("etc/rules/wrong", What::Create),
            ("etc/rules/x", What::Create),
            ("etc/shared/../ossec.conf", What::Create),
            ("etc/shared/link/f", What::Create),
            ("etc/shared/link/f", What::Delete),
            ("etc/shared/link/sub/f", What::Create),
            ("etc/shared/twice", What::Delete),
        ]
    );
    assert_eq!(only_files(outside.path()), files(&[("f", "outside")]));
    let mut wanted = old;
    for (path, content) in [("twice", "x"), ("flink", "x"), ("new/good", "x"), ("link", "link")] {
        wanted.insert(format!("etc/shared/{path}"), content.into());
    }
    assert_eq!(only_files(pair.worker.path()), wanted);
}

#[test]
fn an_items_directory_may_be_reached_over_a_link() {
    let elsewhere = tempfile::tempdir().unwrap();
    let pair = Pair::new(&files(&[("etc/rules/a/b", "x")]), &Files::new());
    fs::create_dir(pair.path("etc")).unwrap();
    symlink(elsewhere.path(), pair.path("etc/rules")).unwrap();
    assert_eq!(pair.sync(&Disk::new()).unwrap().created, 1);
    assert_eq!(fs::read(elsewhere.path().join("a/b")).unwrap(), b"x");
}

#[test]
fn a_directory_without_permission_fails_by_name() {
    if nix::unistd::geteuid().is_root() {
        return; // root may do everything
    }
    let new = files(&[("etc/rules/closed/a", "new"), ("etc/rules/open", "new")]);
    let pair = Pair::new(&new, &files(&[("etc/rules/closed/a", "old")]));
    let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5);
    let mode = |mode| fs::set_permissions(pair.path("etc/rules/closed"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    let outcome = apply(pair.worker.path(), file, &Disk::new()).unwrap();
    assert_eq!((outcome.created, outcome.updated), (1, 0));
    assert_eq!(outcome.failures[0].reason, "Permission denied");
    mode(0o700);
    assert_eq!(fs::read(pair.path("etc/rules/closed/a")).unwrap(), b"old");
    assert_eq!(recover(pair.worker.path(), &Items::standard(), &Disk::new()), Recovery::default());
}

#[test]
fn too_little_room_refuses_the_whole_update() {
    let (old, new) = old_and_new();
    for (space, text) in [
        (Space { bytes: 4096 * 4, files: None, block: 4096 }, "20480 bytes needed, 16384 free"),
        (Space { bytes: u64::MAX, files: Some(4), block: 1 }, "5 new files needed, 4 possible"),
    ] {
        let pair = Pair::new(&new, &old);
        let before = list(pair.worker.path());
        let mut disk = Disk::new();
        disk.faults.space = Some(space);
        let error = pair.sync(&disk).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(list(pair.worker.path()), before);
        assert_eq!(disk.faults.done(), 0);
    }
}

#[test]
fn an_archive_that_changes_after_its_survey_changes_nothing() {
    use std::os::unix::fs::FileExt;
    let (old, new) = old_and_new();
    let pair = Pair::new(&new, &old);
    let before = only_files(pair.worker.path());
    let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5);
    let update = open(file.try_clone().unwrap());
    let length = file.metadata().unwrap().len();
    for at in (30..length - 30).step_by(7) {
        file.write_all_at(b"!", at).unwrap();
    }
    let disk = Disk::new();
    let error = update.apply(&Target { home: pair.worker.path(), owner: None, disk: &disk }).unwrap_err();
    assert!(matches!(error, ApplyError::Archive(_)));
    assert_eq!(only_files(pair.worker.path()), before);
}

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

fn sweep_faults(few: usize, fault: Fault) {
    let (old, new) = old_and_new();
    let operations = {
        let pair = Pair::new(&new, &old);
        let disk = Disk::new();
        let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5);
        let target = Target { home: pair.worker.path(), owner: None, disk: &disk };
        open(file).apply_with(&target, few).unwrap();
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
        let context = format!("few {few}, {fault:?} at {at}");
        let worker = home();
        put(worker.path(), &old);
        let before = list(worker.path());
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let mut disk = Disk::new();
        disk.faults.plan = Some((at, fault));
        let target = Target { home: worker.path(), owner: None, disk: &disk };
        let outcome = open(file).apply_with(&target, few);
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
    sweep_faults(FEW, Fault::Once(Errno::ENOSPC));
    sweep_faults(0, Fault::Once(Errno::ENOSPC));
}

#[test]
fn a_broken_disk_at_any_operation() {
    sweep_faults(FEW, Fault::Once(Errno::EIO));
    sweep_faults(0, Fault::Once(Errno::EIO));
}

#[test]
fn a_forbidden_operation_anywhere() {
    sweep_faults(FEW, Fault::Once(Errno::EACCES));
}

#[test]
fn a_crash_at_any_operation() {
    sweep_faults(FEW, Fault::Crash);
    sweep_faults(0, Fault::Crash);
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

/// Times of the phases with ten thousand files: `cargo test --release --lib ten_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn ten_thousand_files() {
    let mut new = Files::new();
    for n in 0..10_000u32 {
        let mut content = format!("<rule id=\"{n}\">").into_bytes();
        let mut state = n.wrapping_mul(2_654_435_761) | 1;
        while content.len() < 1024 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            content.extend_from_slice(format!("{:04x} level ", state >> 16).as_bytes());
        }
        new.insert(format!("etc/shared/group{:02}/file{n:05}.conf", n % 50), content);
    }
    let pair = Pair::new(&new, &Files::new());
    drop(new);
    fs::create_dir_all(pair.path("etc/shared")).unwrap();
    let mut last = std::time::Instant::now();
    let mut lap = |what: &str| {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let resident = pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4;
        println!("{what}: {:.1} ms, resident {resident} KiB", last.elapsed().as_secs_f64() * 1e3);
        last = std::time::Instant::now();
    };
    let items = Arc::new(Items::standard());
    let mut scanner = Scanner::new(pair.master.path(), Arc::clone(&items));
    let later = SystemTime::now() + Duration::from_secs(10);
    lap("-");
    scanner.scan_at(false, later);
    lap("scan, cold, MD5");
    scanner.scan_at(false, later);
    lap("scan, warm");
    let manifest = scanner.scan_at(true, later).manifest;
    lap("scan, MD5 and BLAKE2b");
    let mut json = Vec::new();
    manifest.to_json(ChecksumKind::Md5, &mut json).unwrap();
    lap("manifest to JSON");
    let remote = RemoteManifest::parse(&json, ChecksumKind::Md5).unwrap();
    lap("parse");
    let difference = compare(&manifest, &remote, ChecksumKind::Md5).unwrap();
    assert!(difference.is_empty());
    lap("compare");
    let empty = RemoteManifest::parse(b"{}", ChecksumKind::Md5).unwrap();
    let difference = compare(&manifest, &empty, ChecksumKind::Md5).unwrap();
    let mut writer = ArchiveWriter::new(BufWriter::new(tempfile::tempfile().unwrap()), LEVEL, MAX_INFLATED);
    for entry in &difference.missing {
        let mut file = open_file(pair.master.path(), &entry.path).unwrap().unwrap();
        writer.add_file(&entry.path, &mut file, Some(&entry.md5), None).unwrap();
    }
    let mut metadata = Vec::new();
    difference.write_json(|_| false, &mut metadata).unwrap();
    let file = writer.finish(&metadata).unwrap().into_inner().unwrap();
    lap("archive");
    let update = open(file);
    lap("survey and plan");
    let disk = Disk::new();
    let target = Target { home: pair.worker.path(), owner: Some((0, 0)), disk: &disk };
    let outcome = update.apply(&target).unwrap();
    lap("apply");
    println!("operations per file: {:.2}", disk.faults.done() as f64 / 10_000.0);
    assert_eq!(outcome.created, 10_000);
    recover(pair.worker.path(), &items, &disk);
    lap("recover, nothing to do");
}

fn trees() -> impl proptest::strategy::Strategy<Value = Files> {
    let path = "etc/(shared/[ab]|shared/[ab]/[ab]|rules/[abc]|client\\.keys)";
    let content = proptest::collection::vec(proptest::prelude::any::<u8>(), 0..3);
    proptest::collection::btree_map(path, content, 0..8).prop_map(|mut files| {
        // A name is either a file or a directory.
        let directories: Vec<String> = files.keys().map(|path| crate::files::path::split(path).0.to_owned()).collect();
        files.retain(|path, _| !directories.contains(&format!("{path}/")));
        files
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 150, failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
    })]
    #[test]
    fn any_two_trees_become_equal_whatever_happens_on_the_way(
        old in trees(), new in trees(), at in 0usize..60, few in 0usize..2, what in 0usize..3,
    ) {
        let pair = Pair::new(&new, &old);
        let mut disk = Disk::new();
        disk.faults.plan = Some((at, [Fault::Crash, Fault::Once(Errno::ENOSPC), Fault::Once(Errno::EACCES)][what]));
        let target = Target { home: pair.worker.path(), owner: None, disk: &disk };
        let update = open(archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5));
        update.apply_with(&target, few * FEW).ok();
        recover(pair.worker.path(), &Items::standard(), &Disk::new());
        for (path, content) in only_files(pair.worker.path()) {
            proptest::prop_assert!(old.get(&path) == Some(&content) || new.get(&path) == Some(&content), "{}", path);
        }
        // Where a file becomes a directory or the reverse, one takes the place of the other a cycle later.
        for _ in 0..2 {
            pair.sync(&Disk::new()).unwrap();
        }
        proptest::prop_assert_eq!(only_files(pair.worker.path()), new);
    }
}
