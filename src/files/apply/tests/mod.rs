use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufWriter,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::errno::Errno;
use tempfile::TempDir;

use super::{
    share::{FEW, MANY},
    *,
};
use crate::{
    files::{
        archive::{ArchiveWriter, LEVEL, MOST_INFLATED},
        checksum::{ChecksumKind, sum_of},
        compare::{Counts, compare},
        delta::Made,
        digest::Buckets,
        items::{Items, is_staged},
        remote::RemoteManifest,
        scan::{Scanner, open_file},
    },
    system::disk::{
        Disk, Luck, Space,
        faults::{ERRORS, Fault, HARMLESS, at_each, crash_at_each},
    },
};

mod ahead;
mod deltas;
mod faults;
mod newer;
mod refusals;
mod trees;

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
    let scan = |home: &Path| Scanner::new(home, items.clone()).scan(true).manifest;
    let (ours, theirs) = (scan(master), scan(worker));
    let mut json = Vec::new();
    theirs.to_json(&theirs.within(Buckets::ALL), kind, &mut json).unwrap();
    let theirs = RemoteManifest::parse(&json, kind).unwrap();
    let difference = compare(&ours, &theirs, kind, Buckets::ALL).unwrap();
    let mut writer = ArchiveWriter::new(BufWriter::new(tempfile::tempfile().unwrap()), LEVEL, MOST_INFLATED);
    for entry in difference.create.iter().chain(&difference.update) {
        let mut file = open_file(master, &entry.path).unwrap().unwrap();
        writer.add_file(&entry.path, &mut file, &entry.sum, false, None).unwrap();
    }
    let mut metadata = Vec::new();
    difference.write_json(|_| false, &Made::default(), &mut metadata).unwrap();
    writer.finish(&metadata).unwrap().into_inner().unwrap()
}

fn open(file: File) -> Update<'static> {
    Update::open(file, &Arc::new(Items::standard()), ChecksumKind::Md5Blake2b, Contents::AsScanned, MOST_INFLATED)
        .unwrap()
}

fn apply(home: &Path, file: File, disk: &Disk) -> Outcome {
    open(file).apply(&Target { home, owner: None, disk, outlines: None })
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
    fn new(master: &Files, worker: &Files) -> Self {
        let pair = Self { master: home(), worker: home() };
        // A master whose directory is missing has nothing deleted.
        for (_, item) in Items::standard().iter() {
            fs::create_dir_all(pair.master.path().join(&item.key)).unwrap();
        }
        put(pair.master.path(), master);
        put(pair.worker.path(), worker);
        pair
    }

    fn sync(&self, disk: &Disk) -> Outcome {
        let file = archive(self.master.path(), self.worker.path(), ChecksumKind::Md5Blake2b);
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
        ("etc/lists/one", "1 new"),
        ("etc/lists/same", "same"),
        ("etc/lists/two", "2 new"),
        ("etc/shared/default/agent.conf", "new conf"),
        ("etc/shared/fresh/deep/agent.conf", "fresh"),
        ("var/multigroups/ab/merged.mg", "mg"),
    ]);
    let old = files(&[
        ("etc/ossec.conf", "own"),
        ("etc/rules/local_rules.xml", "<old/>"),
        ("etc/rules/surplus.xml", "surplus"),
        ("etc/rules/sub/surplus.xml", "surplus"),
        ("etc/lists/one", "1 old"),
        ("etc/lists/same", "same"),
        ("etc/lists/three", "3 old"),
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
    for (few, many) in [(0, MANY), (FEW, MANY), (0, 0)] {
        let pair = Pair::new(&new, &old);
        let file = archive(pair.master.path(), pair.worker.path(), ChecksumKind::Blake2b);
        let items = Arc::new(Items::standard());
        let update = Update::open(file, &items, ChecksumKind::Blake2b, Contents::AsScanned, MOST_INFLATED).unwrap();
        assert_eq!(update.counts(), Counts { create: 4, update: 3, delete: 6 });
        let disk = Disk::new();
        let owner = nix::unistd::geteuid().is_root().then_some((1, 2));
        let target = Target { home: pair.worker.path(), owner, disk: &disk, outlines: None };
        let outcome = update.apply_with(&target, few, many);
        let bytes = (14 + 6 + 5 + 5 + 8 + 5 + 2) as u64;
        assert_eq!(
            outcome,
            Outcome { created: 4, updated: 3, deleted: 6, failures: vec![], bytes, ..Outcome::default() }
        );
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
    assert_eq!(pair.sync(&Disk::new()).deleted, 3);
    assert!(pair.path("etc/shared").exists() && !pair.path("etc/shared/a").exists());
}

#[test]
fn an_empty_directory_makes_room_for_a_file() {
    let pair =
        Pair::new(&files(&[("etc/rules/a", "1"), ("etc/rules/b", "1")]), &files(&[("etc/rules/b/own.tmp", "1")]));
    fs::create_dir_all(pair.path("etc/rules/a")).unwrap();
    let outcome = pair.sync(&Disk::new());
    assert_eq!((outcome.created, outcome.failures.len()), (1, 1));
    assert!(pair.path("etc/rules/a").is_file() && pair.path("etc/rules/b/own.tmp").is_file());
}

#[test]
fn only_one_level_of_emptied_directories_goes() {
    let pair = Pair::new(&Files::new(), &files(&[("etc/shared/a/b/x", "1")]));
    pair.sync(&Disk::new());
    assert!(pair.path("etc/shared/a").exists() && !pair.path("etc/shared/a/b").exists());
}
