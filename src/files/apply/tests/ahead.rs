//! Contents that are staged while their archive arrives.

use std::io::{Cursor, Read, Seek};

use super::*;
use crate::files::{apply::ahead::Ahead, archive::ArchiveError};

const KIND: ChecksumKind = ChecksumKind::Md5Blake2b;
/// So that every disk has room for it.
const MOST: u64 = 1 << 20;

fn read<'a>(file: &File, items: &'a Items, target: &Target<'a>) -> Result<Ahead<'a>, ArchiveError> {
    let mut source = file.try_clone().unwrap();
    Ahead::read_with((&mut source, file), items, KIND, MOST, target, 0)
}

/// Applies an archive of which everything was staged ahead.
pub(super) fn apply(file: File, target: &Target<'_>, few: usize, many: usize) -> Outcome {
    let items = Arc::new(Items::standard());
    let ahead = read(&file, &items, target).unwrap();
    assert!(ahead.is_of(&file, KIND));
    Update::open_read(file, &items, KIND, Contents::AsScanned, MOST, ahead).unwrap().apply_with(target, few, many)
}

fn staged(home: &Path) -> usize {
    only_files(home).keys().filter(|path| is_staged(path.rsplit('/').next().unwrap())).count()
}

#[test]
fn what_was_staged_ahead_is_taken_and_not_written_again() {
    let (old, new) = old_and_new();
    for (few, many) in [(0, MANY), (FEW, MANY), (0, 0)] {
        let pair = Pair::new(&new, &old);
        let file = archive(pair.master.path(), pair.worker.path(), KIND);
        let (items, disk) = (Arc::new(Items::standard()), Disk::new());
        let target = Target { home: pair.worker.path(), owner: None, disk: &disk, outlines: None };
        let ahead = read(&file, &items, &target).unwrap();
        assert_eq!(staged(pair.worker.path()), 7, "all that are sent");
        let before = |path: &str| only_files(pair.worker.path()).get(path).cloned();
        assert_eq!(before("etc/lists/one"), Some(b"1 old".to_vec()), "nothing is replaced");
        let update = Update::open_read(file, &items, KIND, Contents::AsScanned, MOST, ahead).unwrap();
        let names: Vec<_> = new.keys().filter(|path| before(path).as_ref() != new.get(*path)).cloned().collect();
        let number = |path: &str| fs::metadata(pair.path(path)).unwrap().ino();
        let all = only_files(pair.worker.path());
        let numbers: Vec<u64> =
            all.keys().filter(|path| path.contains("/.cluster-")).map(|path| number(path)).collect();
        let outcome = update.apply_with(&target, few, many);
        assert_eq!((outcome.created, outcome.updated, outcome.deleted, outcome.failures.len()), (4, 3, 6, 0));
        assert!(names.len() == 7 && names.iter().all(|path| numbers.contains(&number(path))), "the same files");
        assert_eq!(before("etc/lists/one"), Some(b"1 new".to_vec()));
        assert_eq!(staged(pair.worker.path()), 0);
        let about = fs::metadata(pair.path("etc/shared/fresh/deep/agent.conf")).unwrap();
        assert_eq!(about.mode() & 0o7777, 0o660);
    }
}

#[test]
fn an_archive_that_does_not_come_whole_leaves_nothing() {
    let (old, new) = old_and_new();
    let pair = Pair::new(&new, &old);
    // An item's own directory stays, once it is made.
    fs::create_dir_all(pair.path("var/multigroups")).unwrap();
    let mut bytes = Vec::new();
    let mut file = archive(pair.master.path(), pair.worker.path(), KIND);
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
    let (items, disk, before) = (Items::standard(), Disk::new(), list(pair.worker.path()));
    let target = Target { home: pair.worker.path(), owner: None, disk: &disk, outlines: None };
    for length in (0..bytes.len()).step_by(7) {
        let mut source = Cursor::new(&bytes[..length]);
        // A cut between two members is the end of an archive, whose metadata lacks.
        let _ = Ahead::read_with((&mut source, &file), &items, KIND, MOST, &target, 0);
        assert_eq!(list(pair.worker.path()), before, "{length} bytes of {}", bytes.len());
    }
}

#[test]
fn what_no_item_has_is_not_staged_and_of_two_the_last_counts() {
    let worker = home();
    let mut writer = ArchiveWriter::new(tempfile::tempfile().unwrap(), LEVEL, MOST_INFLATED);
    for (path, content) in [
        ("etc/ossec.conf", "a"),
        ("bin/x", "a"),
        ("etc/rules/a.tmp", "a"),
        ("etc/rules/twice", "first"),
        ("etc/rules/twice", "last"),
    ] {
        writer.add(path, content.as_bytes()).unwrap();
    }
    let file = writer.finish(b"{}").unwrap();
    let (items, disk) = (Items::standard(), Disk::new());
    let target = Target { home: worker.path(), owner: None, disk: &disk, outlines: None };
    let ahead = read(&file, &items, &target).unwrap();
    let found = only_files(worker.path());
    assert_eq!(found.into_values().collect::<Vec<_>>(), [b"last"]);
    drop(ahead);
    assert_eq!(only_files(worker.path()), Files::new());
}

#[test]
fn a_small_disk_is_left_to_the_archive() {
    let (old, new) = old_and_new();
    let pair = Pair::new(&new, &old);
    let file = archive(pair.master.path(), pair.worker.path(), KIND);
    let (items, disk) = (Items::standard(), Disk::new());
    disk.faults.set_space(Space { bytes: 2 * MOST - 1, files: None, block: 1 });
    let target = Target { home: pair.worker.path(), owner: None, disk: &disk, outlines: None };
    let ahead = read(&file, &items, &target).unwrap();
    assert!(ahead.staged.is_none() && staged(pair.worker.path()) == 0);
    assert_eq!(ahead.survey.members.len(), 7);
}
