//! Archives, homes and disks with which something cannot be done.

use super::*;

/// An archive with this metadata and these contents, whatever they are.
fn raw(metadata: &str, contents: &[(&str, &str)]) -> File {
    let mut writer = ArchiveWriter::new(tempfile::tempfile().unwrap(), LEVEL, MOST_INFLATED);
    for (name, content) in contents {
        writer.add(name, content.as_bytes()).unwrap();
    }
    writer.finish(metadata.as_bytes()).unwrap()
}

fn object(path: &str, key: &str, content: &str) -> String {
    let sum = crate::files::checksum::Checksum::Md5Blake2b(sum_of(content.as_bytes()));
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
    let outcome = apply(pair.worker.path(), raw(&metadata, &contents), &Disk::new());
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

/// Case 5.7: what is too deep for a scan would never be removed, so it is not made.
#[test]
fn no_directory_is_made_deeper_than_a_scan_looks() {
    use crate::files::items::DEEPEST;
    let pair = Pair::new(&Files::new(), &Files::new());
    let path = |depth| format!("etc/rules/{}x", "d/".repeat(depth));
    let [deep, deeper, deepest] = [path(DEEPEST), path(DEEPEST + 1), path(2000)];
    let objects = [&deep, &deeper, &deepest].map(|path| object(path, "etc/rules/", "x")).join(", ");
    let metadata = format!(r#"{{"missing": {{{objects}}}, "shared": {{}}, "extra": {{}}}}"#);
    let file = raw(&metadata, &[(&deep, "x"), (&deeper, "x"), (&deepest, "x")]);
    let outcome = apply(pair.worker.path(), file, &Disk::new());
    assert_eq!((outcome.created, outcome.failures.len()), (1, 2));
    assert!(outcome.failures.iter().all(|failure| failure.reason == "it is more than 64 directories deep"));
    assert_eq!(only_files(pair.worker.path()), files(&[(&deep, "x")]));
    assert!(!pair.path(&format!("etc/rules/{}", "d/".repeat(DEEPEST + 1))).exists());
    assert_eq!(pair.sync(&Disk::new()).deleted, 1, "a scan finds what is there");
}

#[test]
fn an_items_directory_may_be_reached_over_a_link() {
    let elsewhere = tempfile::tempdir().unwrap();
    let pair = Pair::new(&files(&[("etc/rules/a/b", "x")]), &Files::new());
    fs::create_dir(pair.path("etc")).unwrap();
    symlink(elsewhere.path(), pair.path("etc/rules")).unwrap();
    assert_eq!(pair.sync(&Disk::new()).created, 1);
    assert_eq!(fs::read(elsewhere.path().join("a/b")).unwrap(), b"x");
}

#[test]
fn a_directory_without_permission_fails_by_name() {
    if nix::unistd::geteuid().is_root() {
        return; // root may do everything
    }
    let new = files(&[("etc/rules/closed/a", "new"), ("etc/rules/open", "new")]);
    let pair = Pair::new(&new, &files(&[("etc/rules/closed/a", "old")]));
    let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5Blake2b);
    let mode = |mode| fs::set_permissions(pair.path("etc/rules/closed"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    let outcome = apply(pair.worker.path(), file, &Disk::new());
    assert_eq!((outcome.created, outcome.updated), (1, 0));
    assert_eq!(outcome.failures[0].reason, "Permission denied");
    mode(0o700);
    assert_eq!(fs::read(pair.path("etc/rules/closed/a")).unwrap(), b"old");
    assert_eq!(recover(pair.worker.path(), &Items::standard(), &Disk::new()), Recovery::default());
}

/// Case 3.3: keys first, then what fits.
#[test]
fn a_directory_that_does_not_fit_stays_as_it_is_and_the_others_go_on() {
    let (old, new) = old_and_new();
    let lists = ["etc/lists/one", "etc/lists/three", "etc/lists/two"];
    let block = |bytes, files| Space { bytes, files, block: 4096 };
    for (space, refused, text) in [
        (block(4096 * 5 + 8191, None), &lists[..0], ""),
        (block(8191, Some(9)), &lists, "8192 bytes needed, 8191 free"),
        (block(u64::MAX, Some(1)), &lists, "2 new files needed, 1 possible"),
        (block(4096 * 5 + 4095, None), &["var/multigroups/ab/merged.mg"], "4096 bytes needed, 4095 free"),
    ] {
        let pair = Pair::new(&new, &old);
        let disk = Disk::new();
        disk.faults.set_space(space);
        let outcome = pair.sync(&disk);
        let mut failed: Vec<&str> = outcome.failures.iter().map(|failure| &*failure.path).collect();
        failed.sort_unstable();
        assert!(refused.iter().all(|path| failed.contains(path)), "{outcome:?}");
        assert!(outcome.failures.iter().any(|failure| failure.reason.contains(text)) || text.is_empty(), "{outcome:?}");
        let now = only_files(pair.worker.path());
        assert_eq!(now["etc/client.keys"], new["etc/client.keys"]);
        for path in old.keys().chain(new.keys()) {
            let stays = failed.contains(&&**path) || OTHERS.contains(&&**path);
            assert_eq!(now.get(path), if stays { &old } else { &new }.get(path), "{path}");
        }
    }
}

/// What the update of [`old_and_new`] does not touch.
const OTHERS: [&str; 2] = ["etc/ossec.conf", "etc/shared/kept/own.tmp"];

#[test]
fn what_changes_in_an_archive_after_its_survey_is_not_applied() {
    use std::os::unix::fs::FileExt;
    let (old, new) = old_and_new();
    let pair = Pair::new(&new, &old);
    let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5Blake2b);
    let update = open(file.try_clone().unwrap());
    let length = file.metadata().unwrap().len();
    for at in (30..length - 30).step_by(7) {
        file.write_all_at(b"!", at).unwrap();
    }
    let disk = Disk::new();
    let outcome = update.apply(&Target { home: pair.worker.path(), owner: None, disk: &disk, outlines: None });
    assert!(outcome.failures.iter().any(|failure| failure.reason.contains("the archive was changed")), "{outcome:?}");
    // Each content is judged by its own checksum.
    let now = only_files(pair.worker.path());
    for path in new.keys() {
        let failed = outcome.failures.iter().any(|failure| failure.path == *path);
        assert_eq!(now.get(path), if failed { &old } else { &new }.get(path), "{path}");
    }
}
