//! Files that come as their difference from what is there.

use std::num::NonZeroU64;

use super::*;
use crate::files::{
    archive::{ArchiveError, MemberCache},
    delta,
    outline::{
        Outlines,
        tests::{course, keys},
    },
};
use crate::system::stamp::Stamp;

const KEYS: &str = "etc/client.keys";
const LIST: &str = "etc/lists/large";

/// A delta, what it is said to make, and what is said to have come of it.
struct Sent<'a> {
    path: &'a str,
    delta: &'a [u8],
    size: u64,
    content: &'a [u8],
}

/// An archive of deltas.
fn archive_of(sent: &[Sent<'_>]) -> File {
    let mut writer = ArchiveWriter::new(BufWriter::new(tempfile::tempfile().unwrap()), LEVEL, MOST_INFLATED);
    let (cache, mut lists) = (MemberCache::new(0), serde_json::Map::new());
    for Sent { path, delta, size, content } in sent {
        let key = if *path == KEYS { "etc/" } else { "etc/lists/" };
        let hash = crate::system::hex::hex(&sum_of(content));
        let entry = serde_json::json!({"mod_time": 1.0, "cluster_item_key": key, "hash": hash, "delta": size});
        lists.insert((*path).to_owned(), entry);
        writer.add_made(path, NonZeroU64::MIN, (&[0; 32], &cache), Some(delta)).unwrap();
    }
    let metadata = serde_json::json!({"missing": {}, "extra": {}, "shared": lists}).to_string();
    writer.finish(metadata.as_bytes()).unwrap().into_inner().unwrap()
}

fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), target).unwrap();
    let (base, target) = (course(base, None), course(target, None));
    delta::make(base.outline(), target.outline(), file.as_file()).unwrap().unwrap()
}

/// Applies deltas to a worker that has `old` as keys and as a list.
fn apply_to(old: &[u8], outlines: Option<&Outlines>, sent: &[Sent<'_>]) -> (TempDir, Outcome) {
    let home = home();
    for path in [KEYS, LIST] {
        put(home.path(), &[(path.to_owned(), old.to_vec())].into());
    }
    let outcome =
        open(archive_of(sent)).apply(&Target { home: home.path(), owner: None, disk: &Disk::new(), outlines });
    (home, outcome)
}

#[test]
fn what_is_there_becomes_what_was_meant() {
    let (old, new) = (keys(0..5_000), keys((1..4_000).chain(4_001..5_002)));
    let delta = delta(&old, &new);
    let sent = [KEYS, LIST].map(|path| Sent { path, delta: &delta, size: new.len() as u64, content: &new });
    let outlines = Outlines::new(1);
    let (home, outcome) = apply_to(&old, Some(&outlines), &sent);
    let bytes = 2 * new.len() as u64;
    assert_eq!(outcome, Outcome { updated: 2, bytes, ..Outcome::default() });
    assert_eq!(only_files(home.path()), [KEYS, LIST].map(|path| (path.to_owned(), new.clone())).into());
    assert_eq!(fs::metadata(home.path().join(KEYS)).unwrap().permissions().mode() & 0o7777, 0o640);
    let stamp = Stamp::of(&home.path().join(LIST)).unwrap();
    let written = outlines.take_written(LIST, &stamp).unwrap();
    assert_eq!(written.outline().sum, sum_of(&new), "it need not be read for that");
}

/// Whatever is wrong, the file stays, the others do not, and nobody is alarmed: the whole follows.
#[test]
fn what_cannot_be_made_is_named_and_stays() {
    let (old, new) = (keys(0..5_000), keys(0..5_001));
    let (good, size) = (delta(&old, &new), new.len() as u64);
    let other = keys(1..5_001);
    for (what, there, delta, size, content) in [
        ("another file is there", &other[..], &good[..], size, &new[..]),
        ("a shorter one", &old[..300_000], &good, size, &new),
        ("a longer content is meant", &old, &good, size + 1, &new),
        ("a shorter one", &old, &good, size - 1, &new),
        ("another one", &old, &good, size, &old),
        ("the end is missing", &old, &good[..good.len() - 1], size, &new),
        ("no delta", &old, b"\x02", size, &new),
        ("an empty one", &old, b"", size, &new),
    ] {
        let outlines = Outlines::new(1);
        let list = Sent { path: LIST, delta, size, content };
        let (home, outcome) = apply_to(there, Some(&outlines), &[list]);
        assert_eq!(outcome, Outcome { other_base: vec![LIST.to_owned()], ..Outcome::default() }, "{what}");
        assert_eq!(
            only_files(home.path()),
            [KEYS, LIST].map(|path| (path.to_owned(), there.to_vec())).into(),
            "{what}"
        );
    }
    let list = || [Sent { path: LIST, delta: &good, size, content: &new }];
    assert_eq!(apply_to(&old, None, &list()).1.other_base, [LIST], "it was not agreed on");
    let others = [list(), [Sent { path: KEYS, delta: b"", size, content: &new }]];
    let outcome = apply_to(&old, Some(&Outlines::new(1)), others.as_flattened()).1;
    assert_eq!((outcome.updated, &*outcome.other_base), (1, &[KEYS.to_owned()][..]));
}

#[test]
fn nothing_is_made_from_what_is_no_file_of_its_own() {
    let (old, new) = (keys(0..5_000), keys(0..5_001));
    let delta = delta(&old, &new);
    let file = || archive_of(&[Sent { path: LIST, delta: &delta, size: new.len() as u64, content: &new }]);
    for what in ["link", "pipe", "directory", "nothing"] {
        let home = home();
        put(home.path(), &[("etc/old".to_owned(), old.clone()), ("etc/lists/one".to_owned(), vec![])].into());
        let path = home.path().join(LIST);
        match what {
            "link" => symlink(home.path().join("etc/old"), &path).unwrap(),
            "pipe" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "directory" => fs::create_dir(&path).unwrap(),
            _ => {}
        }
        let target = Target { home: home.path(), owner: None, disk: &Disk::new(), outlines: Some(&Outlines::new(1)) };
        assert_eq!(open(file()).apply(&target).other_base, [LIST], "{what}");
    }
}

#[test]
fn more_than_is_permitted_is_refused_before_anything_is_made() {
    let items = Arc::new(Items::standard());
    let open = |size, limit| {
        let file = archive_of(&[Sent { path: LIST, delta: b"delta", size, content: b"" }]);
        Update::open(file, &items, ChecksumKind::Md5Blake2b, Contents::AsScanned, limit)
    };
    assert!(open(1 << 20, 2 << 20).is_ok());
    for size in [2 << 20, u64::MAX] {
        assert!(matches!(open(size, 2 << 20), Err(ArchiveError::TooLarge { .. })), "{size}");
    }
    let long = vec![0; usize::try_from(delta::LONGEST).unwrap() + 1];
    let (_, outcome) =
        apply_to(b"", Some(&Outlines::new(1)), &[Sent { path: LIST, delta: &long, size: 9, content: b"" }]);
    assert!(outcome.failures[0].reason.contains("longer than any that is sent"), "{outcome:?}");
}

/// A worker's keys, what they are to become, and that as a delta.
fn change() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (old, new) = (keys(0..800), keys(0..801));
    let delta = delta(&old, &new);
    (old, new, delta)
}

#[test]
fn whatever_fails_leaves_the_old_content_or_the_new() {
    let (old, new, delta) = change();
    for fault in ERRORS.into_iter().chain(HARMLESS) {
        at_each(fault, |disk, context| {
            let home = home();
            put(home.path(), &[(KEYS.to_owned(), old.clone())].into());
            let file = archive_of(&[Sent { path: KEYS, delta: &delta, size: new.len() as u64, content: &new }]);
            let target = Target { home: home.path(), owner: None, disk, outlines: Some(&Outlines::new(1)) };
            let outcome = open(file).apply(&target);
            let content = fs::read(home.path().join(KEYS)).unwrap();
            let is_new = outcome.failures.iter().all(|failure| failure.what == What::Sync) && outcome.updated == 1;
            assert!(content == if is_new { &*new } else { &*old }, "{context}: {outcome:?}");
            let is_named = !outcome.failures.is_empty() || outcome.other_base == [KEYS];
            assert!(outcome.updated == 1 || is_named, "{context}: {outcome:?}");
            assert!(!HARMLESS.contains(&fault) || (outcome.updated == 1 && !is_named), "{context}: {outcome:?}");
        });
    }
}

#[test]
fn a_power_cut_leaves_the_old_content_or_the_new() {
    let (old, new, delta) = change();
    crash_at_each(|disk, luck, context| {
        let home = home();
        put(home.path(), &[(KEYS.to_owned(), old.clone())].into());
        disk.faults.watch(home.path());
        let file = archive_of(&[Sent { path: KEYS, delta: &delta, size: new.len() as u64, content: &new }]);
        open(file).apply(&Target { home: home.path(), owner: None, disk, outlines: Some(&Outlines::new(1)) });
        disk.faults.cut_power(luck);
        recover(home.path(), &Items::standard(), &Disk::new());
        let content = fs::read(home.path().join(KEYS)).unwrap();
        assert!(content == old || content == new, "{context}: {} bytes", content.len());
        assert!(list(home.path()).keys().all(|name| !is_staged(name)), "{context}");
    });
}
