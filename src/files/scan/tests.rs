use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::*;
use crate::{
    files::{
        checksum::{ChecksumKind, md5_of, one_md5, sum_of},
        items::{DEEPEST, Items},
    },
    system::{clock::FakeClock, stamp::fake},
};

const SECOND: Duration = Duration::from_secs(1);

struct Home {
    directory: TempDir,
    scanner: Scanner,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["etc/shared/default", "etc/rules", "var/multigroups/x"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let scanner = Scanner::new(directory.path(), Arc::new(Items::standard()));
        Self { directory, scanner }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(path), content).unwrap();
    }

    /// A scan when all stamps are settled.
    fn later(&mut self) -> Scan {
        self.after(20, false)
    }

    /// A scan so many seconds from now.
    fn after(&mut self, seconds: u32, want_blake2b: bool) -> Scan {
        fake::on(Rc::new(fake::Later(seconds)), || self.scanner.scan(want_blake2b))
    }
}

fn paths(scan: &Scan) -> Vec<&str> {
    scan.manifest.entries().iter().map(|entry| &*entry.path).collect()
}

#[test]
fn it_finds_what_belongs_to_the_items_and_nothing_else() {
    let mut home = Home::new();
    for (path, content) in [
        ("etc/client.keys", "keys"),
        ("etc/ossec.conf", "no"),
        ("etc/other", "no"),
        ("etc/shared/ar.conf", "no"),
        ("etc/shared/default/agent.conf", "conf"),
        ("etc/shared/default-", "order"),
        ("etc/shared/default/x.merged", "an ordinary file"),
        ("etc/shared/default/x.tmp", "no"),
        ("etc/shared/default/x~", "no"),
        ("etc/shared/.cluster-0123abcd-1.tmp", "no"),
        ("var/multigroups/x/merged.mg", "mg"),
        ("var/multigroups/x/other", "no"),
    ] {
        home.write(path, content);
    }
    home.write("outside", "linked");
    symlink(home.path("outside"), home.path("etc/rules/link")).unwrap();
    symlink(home.path("etc/shared"), home.path("etc/rules/directory")).unwrap();
    nix::unistd::mkfifo(&home.path("etc/rules/pipe"), Mode::S_IRWXU).unwrap();
    let scan = home.scanner.scan(true);
    assert_eq!(
        paths(&scan),
        [
            "etc/client.keys",
            "etc/rules/link",
            "etc/shared/default-",
            "etc/shared/default/agent.conf",
            "etc/shared/default/x.merged",
            "var/multigroups/x/merged.mg"
        ]
    );
    assert!(scan.unreadable.is_empty(), "{:?}", scan.unreadable);
    assert!(scan.changed);
    assert!(scan.manifest.has(ChecksumKind::Blake2b));
    assert_eq!(scan.manifest.find("etc/rules/link").unwrap().sum, sum_of(b"linked"));
    assert_eq!(scan.manifest.key_of(&scan.manifest.entries()[0]), "etc/");
}

#[test]
fn nothing_changed_is_the_same_manifest_and_no_reading() {
    let mut home = Home::new();
    home.write("etc/rules/a", "a");
    let first = home.later();
    let second = home.later();
    assert!(Arc::ptr_eq(&first.manifest, &second.manifest));
    assert_eq!((first.hashed, second.hashed, second.changed), (1, 0, false));
}

#[test]
fn a_recently_changed_file_is_read_again() {
    let mut home = Home::new();
    home.write("etc/rules/a", "a");
    let [first, second, third] = [0, 5, 6].map(|seconds| home.after(seconds, false));
    assert_eq!((first.hashed, second.hashed, third.hashed), (1, 1, 0));
    assert!(Arc::ptr_eq(&first.manifest, &second.manifest));
}

#[test]
fn everything_is_read_again_after_its_time() {
    let mut home = Home::new();
    home.write("etc/rules/a", "a");
    let first = home.later();
    let [second, third] = [0, 1].map(|seconds| home.after(3640 + seconds, false));
    assert_eq!((second.hashed, third.hashed), (1, 0));
    assert!(Arc::ptr_eq(&first.manifest, &third.manifest));
}

#[test]
fn another_inode_with_equal_size_and_time_is_noticed() {
    let mut home = Home::new();
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let put = |home: &Home, content: &str| {
        home.write("etc/new", content);
        let file = fs::File::options().write(true).open(home.path("etc/new")).unwrap();
        file.set_modified(time).unwrap();
        fs::rename(home.path("etc/new"), home.path("etc/rules/a")).unwrap();
    };
    put(&home, "one");
    home.later();
    put(&home, "two");
    let scan = home.later();
    assert!(scan.changed);
    assert_eq!(scan.manifest.entries()[0].sum, sum_of(b"two"));
}

#[test]
fn a_new_time_alone_is_no_change_but_a_new_manifest() {
    let mut home = Home::new();
    home.write("etc/rules/a", "a");
    let first = home.later();
    let file = fs::File::options().write(true).open(home.path("etc/rules/a")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_millis(1_500)).unwrap();
    let second = home.later();
    assert!(!second.changed);
    assert!(!Arc::ptr_eq(&first.manifest, &second.manifest));
    assert!((second.manifest.entries()[0].mod_time - 1.5).abs() < 1e-9);
}

#[test]
fn additions_and_removals_keep_the_order_and_the_cache() {
    let mut home = Home::new();
    for name in ["b", "d", "f"] {
        home.write(&format!("etc/rules/{name}"), name);
    }
    home.later();
    for name in ["a", "c", "g"] {
        home.write(&format!("etc/rules/{name}"), name);
    }
    fs::remove_file(home.path("etc/rules/d")).unwrap();
    home.write("etc/rules/f", "F!");
    let scan = home.later();
    assert_eq!(scan.hashed, 4);
    assert_eq!(paths(&scan), ["a", "b", "c", "f", "g"].map(|name| format!("etc/rules/{name}")));
    assert_eq!(scan.manifest.find("etc/rules/f").unwrap().sum, sum_of(b"F!"));
    assert_eq!(home.later().hashed, 0);
    fs::remove_dir_all(home.path("etc/rules")).unwrap();
    let scan = home.later();
    assert!(scan.changed && scan.manifest.entries().is_empty());
    assert!(scan.manifest.protected().covers("etc/rules/b"), "a directory that is missing is no order to delete");
    assert_eq!(scan.unreadable[0].path, "etc/rules/");
}

#[test]
fn a_file_is_gone_when_it_has_been_missing_for_a_while() {
    let mut home = Home::new();
    let (clock, hand) = FakeClock::new();
    home.scanner = Scanner::new(home.directory.path(), Arc::new(Items::standard())).with_grace(clock, SECOND * 8);
    home.write("etc/rules/a", "a");
    home.write("etc/rules/b", "b");
    home.write("etc/rules/c", "c");
    home.later();
    for gone in ["a", "c"] {
        fs::remove_file(home.path(&format!("etc/rules/{gone}"))).unwrap();
    }
    let protects = |scan: &Scan| ["a", "c"].map(|name| scan.manifest.protected().covers(&format!("etc/rules/{name}")));
    let first = home.later();
    assert_eq!((paths(&first), protects(&first)), (vec!["etc/rules/b"], [true; 2]));
    hand.advance(SECOND * 7);
    let early = home.later();
    assert_eq!((protects(&early), early.changed), ([true; 2], false), "more scans make it gone no sooner");
    home.write("etc/rules/c", "c");
    assert_eq!(protects(&home.later()), [true, false], "back");
    hand.advance(SECOND);
    fs::remove_file(home.path("etc/rules/c")).unwrap();
    let last = home.later();
    assert_eq!((protects(&last), last.changed), ([false, true], true), "each has its own time");
    assert_eq!(home.scanner.due(), Some(SECOND * 8));
    hand.advance(SECOND * 8);
    assert_eq!(home.scanner.due(), Some(Duration::ZERO));
    assert_eq!(protects(&home.later()), [false; 2]);
    assert_eq!(home.scanner.due(), None);
}

#[test]
fn blake2b_is_added_when_wanted_and_kept_while_the_content_stays() {
    let mut home = Home::new();
    home.write("etc/rules/a", "a");
    assert!(!home.later().manifest.has(ChecksumKind::Blake2b));
    let with = home.after(20, true);
    assert_eq!((with.hashed, with.changed), (1, false));
    assert!(with.manifest.has(ChecksumKind::Blake2b));
    let without = home.after(3640, false);
    assert_eq!(without.hashed, 1);
    assert!(without.manifest.has(ChecksumKind::Blake2b));
}

#[test]
fn what_cannot_be_read_is_reported_and_protected() {
    let mut home = Home::new();
    home.write("etc/rules/a", "a");
    assert!(home.later().unreadable.is_empty());
    symlink("/proc/self/mem", home.path("etc/rules/io")).unwrap();
    let endless = fs::File::create(home.path("etc/rules/endless")).unwrap();
    endless.set_len(LONGEST_FILE.unsigned_abs() + 1).unwrap();
    symlink("loop", home.path("etc/rules/loop")).unwrap();
    symlink("nothing", home.path("etc/rules/dangling")).unwrap();
    fs::write(home.path("etc/lists"), "no directory").unwrap();
    let deep = format!("etc/rules{}", "/d".repeat(DEEPEST + 1));
    fs::create_dir_all(home.path(&deep)).unwrap();
    home.write(&format!("{deep}/x"), "too deep");
    let scan = home.later();
    assert!(scan.changed);
    assert_eq!(paths(&scan), ["etc/rules/a"]);
    assert_eq!(scan.unreadable.len(), 6, "{:?}", scan.unreadable);
    for path in [
        "etc/rules/io",
        "etc/rules/loop",
        "etc/rules/dangling",
        "etc/rules/endless",
        "etc/lists/x",
        &format!("{deep}/x"),
    ] {
        assert!(scan.manifest.protected().covers(path), "{path}");
    }
    assert!(!scan.manifest.protected().covers("etc/rules/b"));
    let again = home.later();
    assert!(!again.changed && Arc::ptr_eq(&again.manifest, &scan.manifest));
    assert_eq!(again.unreadable.len(), 6);
}

#[test]
fn what_must_not_be_read_is_protected() {
    use std::os::unix::fs::PermissionsExt;
    if nix::unistd::geteuid().is_root() {
        return; // root may read everything
    }
    let mut home = Home::new();
    home.write("etc/rules/closed", "x");
    fs::create_dir(home.path("etc/rules/directory")).unwrap();
    home.write("etc/rules/directory/a", "x");
    assert_eq!(home.later().manifest.entries().len(), 2);
    let base = home.directory.path().to_owned();
    let modes = |mode| {
        for path in ["etc/rules/closed", "etc/rules/directory", "var/multigroups"] {
            fs::set_permissions(base.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    modes(0);
    let scan = home.after(3640, false);
    modes(0o700);
    assert!(scan.manifest.entries().is_empty() && scan.changed);
    for path in ["etc/rules/closed", "etc/rules/directory/a", "var/multigroups/x/merged.mg"] {
        assert!(scan.manifest.protected().covers(path), "{path}");
    }
}

#[test]
fn a_name_that_is_not_utf8_is_reported() {
    use std::os::unix::ffi::OsStrExt;
    let mut home = Home::new();
    fs::write(home.path("etc/rules").join(std::ffi::OsStr::from_bytes(b"a\xff")), "x").unwrap();
    let scan = home.later();
    assert!(scan.manifest.entries().is_empty());
    assert_eq!(scan.unreadable[0].reason, "its name is not UTF-8");
}

#[test]
fn an_item_within_a_recursive_item_is_walked_once() {
    let mut items: Vec<_> = Items::standard().iter().map(|(_, item)| item.clone()).collect();
    items[0].recursive = true;
    items[0].names = crate::files::items::Names::All;
    let mut home = Home::new();
    home.scanner = Scanner::new(home.directory.path(), Arc::new(Items::new(items, vec![], vec![]).unwrap()));
    home.write("etc/x", "x");
    home.write("etc/zzz", "z");
    home.write("etc/shared/a", "a");
    let scan = home.later();
    assert_eq!(paths(&scan), ["etc/shared/a", "etc/x", "etc/zzz"]);
    assert_eq!(scan.manifest.key_of(&scan.manifest.entries()[0]), "etc/shared/");
}

/// Case 6.8: a content with the MD5 of the one before is another one, also in what was kept of that.
#[test]
fn another_content_with_the_same_md5_is_a_change() {
    let [old, new] = one_md5();
    let mut home = Home::new();
    home.write("etc/rules/a", &old);
    let first = home.after(20, true);
    home.write("etc/rules/a", &new);
    let second = home.after(20, false);
    let [was, is] = [&first, &second].map(|scan| &scan.manifest.entries()[0]);
    assert_eq!([was.md5(), is.md5()], [md5_of(&old); 2]);
    assert!(second.changed && was.blake2b.is_some() && is.blake2b.is_none());
    assert_ne!(first.manifest.digests(), second.manifest.digests());
    assert!(!home.after(20, true).changed);
}
