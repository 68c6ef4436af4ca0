//! What a file system may have lost when the power goes out.
//!
//! It keeps what was made durable, and may or may not keep the rest:
//!
//! - Of a file whose content was changed and not synced since: the old content, the new one, or one of which the first half
//!   is new.
//! - Of the names that were given, changed or taken away in a directory since it was synced: any, in any order, but what
//!   was done to a name only with all that was done to it before. A rename and an exchange are kept whole, or not at all.
//!
//! So nothing is taken for granted that a file system does beyond its promises: neither that names are kept in their order,
//! nor that a file is there with its content, nor that a file that was synced has a name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::AtFlags,
    sys::stat::{FileStat, fstat, fstatat},
};

use super::What;

/// What is kept of that which is not durable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Luck {
    /// All of it: only the process was killed.
    All,
    /// Nothing.
    Nothing,
    /// The names, and not the contents: what comes of delayed allocation.
    Names,
    /// The contents, and not the names.
    Contents,
    /// Any of it, by this seed.
    Some(u64),
}

impl Luck {
    /// All kinds, the last by some seeds: as many as `CLUSTERD_TEST_LUCK` says.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let seeds = std::env::var("CLUSTERD_TEST_LUCK").map_or(1, |count| count.parse().unwrap());
        let kinds = [Self::All, Self::Nothing, Self::Names, Self::Contents];
        kinds.into_iter().chain((1..=seeds).map(|seed: u64| Self::Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }

    fn keeps_name(&mut self) -> bool {
        match self {
            Self::All | Self::Names => true,
            Self::Nothing | Self::Contents => false,
            Self::Some(seed) => next(seed) & 1 == 1,
        }
    }

    fn content(&mut self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let kept = match self {
            Self::All | Self::Contents => 2,
            Self::Nothing | Self::Names => 0,
            Self::Some(seed) => next(seed) % 3,
        };
        match kept {
            0 => old.to_vec(),
            1 => new[..new.len() / 2].iter().chain(old.iter().skip(new.len() / 2)).copied().collect(),
            _ => new.to_vec(),
        }
    }
}

/// The next of the numbers that follow a seed (xorshift).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed >> 32
}

/// A file or a directory, whatever its name is.
type Id = usize;
type Names = BTreeMap<String, Id>;

/// What was done to names of one directory at once: each is this from then on, or nothing.
type Change = Vec<(String, Option<Id>)>;

enum Node {
    File { durable: Vec<u8>, now: Vec<u8> },
    Directory { durable: Names, now: Names, pending: Vec<Change> },
    Other,
}

/// A directory with all that is below it, as it is and as it is sure to be after a power cut.
pub(super) struct Model {
    root: PathBuf,
    nodes: Vec<Node>,
    /// By device and inode, which one gets that is made when another is gone.
    ids: HashMap<(u64, u64), Id>,
}

impl Model {
    pub(super) fn of(root: &Path) -> Self {
        let mut model = Self { root: root.to_owned(), nodes: Vec::new(), ids: HashMap::new() };
        model.read(root);
        model
    }

    /// Takes what stands at `path` for durable.
    fn read(&mut self, path: &Path) -> Id {
        let about = path.symlink_metadata().unwrap();
        let id = self.add((about.dev(), about.ino()), Node::Other);
        self.nodes[id] = if about.is_dir() {
            let entries = path.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let names: Names = entries.map(|name| (name.clone(), self.read(&path.join(name)))).collect();
            Node::Directory { durable: names.clone(), now: names, pending: Vec::new() }
        } else if about.is_file() {
            let content = fs::read(path).unwrap();
            Node::File { durable: content.clone(), now: content }
        } else {
            Node::Other
        };
        id
    }

    fn add(&mut self, inode: (u64, u64), node: Node) -> Id {
        self.nodes.push(node);
        self.ids.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Of an open file; none if it has had no name here.
    fn id(&self, file: BorrowedFd<'_>) -> Option<Id> {
        self.ids.get(&inode(&fstat(file).unwrap())).copied()
    }

    fn names(&mut self, directory: BorrowedFd<'_>) -> (&mut Names, &mut Vec<Change>) {
        let id = self.id(directory).expect("a directory that was not made past the door");
        match &mut self.nodes[id] {
            Node::Directory { now, pending, .. } => (now, pending),
            _ => panic!("it is no directory"),
        }
    }

    fn now(&mut self, directory: BorrowedFd<'_>, name: &str) -> Id {
        let id = self.names(directory).0.get(name).copied();
        id.unwrap_or_else(|| panic!("'{name}' was made past the door"))
    }

    fn change(&mut self, directory: BorrowedFd<'_>, change: Change) {
        let (now, pending) = self.names(directory);
        apply(now, &change);
        pending.push(change);
    }

    /// This was done.
    pub(super) fn remember(&mut self, what: What<'_>) {
        match what {
            What::Open | What::Attribute => {}
            What::Create(directory, name) => {
                if !self.names(directory).0.contains_key(name) {
                    self.made(directory, name, Node::File { durable: Vec::new(), now: Vec::new() });
                }
            }
            What::MakeDirectory(directory, name) => {
                let (durable, now, pending) = Default::default();
                self.made(directory, name, Node::Directory { durable, now, pending });
            }
            What::Write(file) | What::Lengthen(file) | What::SetLength(file) => {
                let id = self.id(file);
                if let Some(Node::File { now, .. }) = id.map(|id| &mut self.nodes[id]) {
                    *now = fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
                }
            }
            What::Sync(file) => {
                if let Some(id) = self.id(file) {
                    self.nodes[id].sync();
                }
            }
            What::SyncAll => self.nodes.iter_mut().for_each(Node::sync),
            What::Rename(directory, from, to) => {
                let id = self.now(directory, from);
                self.change(directory, vec![(from.to_owned(), None), (to.to_owned(), Some(id))]);
            }
            What::Exchange(directory, one, other) => {
                let ids = [one, other].map(|name| self.now(directory, name));
                self.change(directory, vec![(one.to_owned(), Some(ids[1])), (other.to_owned(), Some(ids[0]))]);
            }
            What::Remove(directory, name) => {
                self.now(directory, name);
                self.change(directory, vec![(name.to_owned(), None)]);
            }
        }
    }

    fn made(&mut self, directory: BorrowedFd<'_>, name: &str, node: Node) {
        let about = fstatat(directory.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW).unwrap();
        let id = self.add(inode(&about), node);
        self.change(directory, vec![(name.to_owned(), Some(id))]);
    }

    /// Makes the directory what it may be after a power cut.
    pub(super) fn cut_power(mut self, mut luck: Luck) {
        let kept: Vec<Option<Names>> = self.nodes.iter().map(|node| node.kept_names(&mut luck)).collect();
        for node in &mut self.nodes {
            // From here on `durable` is what is kept.
            if let Node::File { durable, now } = node
                && durable != now
            {
                *durable = luck.content(durable, now);
            }
        }
        for (node, names) in self.nodes.iter_mut().zip(kept) {
            if let (Node::Directory { durable, .. }, Some(names)) = (node, names) {
                *durable = names;
            }
        }
        self.settle(&self.root, Some(0), Some(0));
    }

    /// Makes `path`, which is `now`, what is kept of `then`.
    fn settle(&self, path: &Path, now: Option<Id>, then: Option<Id>) {
        match (now.map(|id| &self.nodes[id]), then.map(|id| &self.nodes[id])) {
            (Some(Node::Directory { now: names, .. }), Some(Node::Directory { durable, .. })) if now == then => {
                for name in names.keys().chain(durable.keys()).collect::<BTreeSet<_>>() {
                    self.settle(&path.join(name), names.get(name).copied(), durable.get(name).copied());
                }
            }
            (Some(Node::File { now: content, .. }), Some(Node::File { durable, .. })) if now == then => {
                if content != durable {
                    fs::write(path, durable).unwrap();
                }
            }
            (Some(_), Some(_)) if now == then => {}
            (Some(node), _) => {
                if matches!(node, Node::Directory { .. }) {
                    fs::remove_dir_all(path).unwrap();
                } else {
                    fs::remove_file(path).unwrap();
                }
                self.settle(path, None, then);
            }
            (None, Some(Node::Directory { durable, .. })) => {
                fs::create_dir(path).unwrap();
                durable.iter().for_each(|(name, id)| self.settle(&path.join(name), None, Some(*id)));
            }
            (None, Some(Node::File { durable, .. })) => fs::write(path, durable).unwrap(),
            (None, Some(Node::Other)) => panic!("{} cannot come back", path.display()),
            (None, None) => {}
        }
    }
}

impl Node {
    fn sync(&mut self) {
        match self {
            Self::File { durable, now } => durable.clone_from(now),
            Self::Directory { durable, now, pending } => {
                durable.clone_from(now);
                pending.clear();
            }
            Self::Other => {}
        }
    }

    /// The names that are kept of a directory.
    fn kept_names(&self, luck: &mut Luck) -> Option<Names> {
        let Self::Directory { durable, pending, .. } = self else { return None };
        let (mut names, mut lost) = (durable.clone(), BTreeSet::new());
        for change in pending {
            let stands_alone = !change.iter().any(|(name, _)| lost.contains(name));
            if stands_alone && luck.keeps_name() {
                apply(&mut names, change);
            } else {
                lost.extend(change.iter().map(|(name, _)| name));
            }
        }
        Some(names)
    }
}

fn apply(names: &mut Names, change: &Change) {
    for (name, id) in change {
        match id {
            Some(id) => _ = names.insert(name.clone(), *id),
            None => _ = names.remove(name),
        }
    }
}

fn inode(about: &FileStat) -> (u64, u64) {
    (about.st_dev, about.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::disk::Disk;

    /// What is below a directory after this was done and the power went out.
    fn after(luck: Luck, work: impl Fn(&Disk, BorrowedFd<'_>)) -> BTreeMap<String, String> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/old"), "old").unwrap();
        let disk = Disk::new();
        disk.faults.watch(root.path());
        work(&disk, disk.directory(&root.path().join("d")).unwrap().as_fd());
        disk.faults.cut_power(luck);
        let read = |entry: fs::DirEntry| {
            let content = fs::read_to_string(entry.path()).unwrap_or_else(|_| "a directory".into());
            (entry.file_name().into_string().unwrap(), content)
        };
        root.path().join("d").read_dir().unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, content)| ((*name).into(), (*content).into())).collect()
    }

    #[test]
    fn what_is_not_synced_is_kept_or_lost_and_what_is_synced_is_there() {
        let replace = |synced: bool| {
            move |disk: &Disk, d: BorrowedFd<'_>| {
                let file = disk.create(d, "new").unwrap();
                disk.write(&file, b"new").unwrap();
                if synced {
                    disk.sync(&file).unwrap();
                }
                disk.rename(d, "new", "old").unwrap();
                disk.make_directory(d, "made").unwrap();
            }
        };
        let made = ("made", "a directory");
        assert_eq!(after(Luck::All, replace(false)), files(&[("old", "new"), made]));
        assert_eq!(after(Luck::Nothing, replace(true)), files(&[("old", "old")]));
        assert_eq!(after(Luck::Names, replace(false)), files(&[("old", ""), made]), "as of delayed allocation");
        assert_eq!(after(Luck::Names, replace(true)), files(&[("old", "new"), made]));
        let all = |disk: &Disk, d: BorrowedFd<'_>| {
            replace(true)(disk, d);
            disk.sync(d).unwrap();
        };
        assert_eq!(after(Luck::Nothing, all), files(&[("old", "new"), made]));
    }

    #[test]
    fn a_name_is_kept_only_with_what_was_done_to_it_before() {
        let work = |disk: &Disk, d: BorrowedFd<'_>| {
            disk.create(d, "a").unwrap();
            disk.exchange(d, "a", "old").unwrap();
            disk.remove_file(d, "a").unwrap();
            disk.create(d, "other").unwrap();
        };
        let mut seen = BTreeSet::new();
        for seed in 1..200 {
            let mut found = after(Luck::Some(seed), work);
            found.remove("other");
            seen.insert(found);
        }
        let states = [
            files(&[("old", "old")]),
            files(&[("a", ""), ("old", "old")]),
            files(&[("a", "old"), ("old", "")]),
            files(&[("old", "")]),
        ];
        assert_eq!(seen, BTreeSet::from(states));
    }

    #[test]
    fn what_is_written_in_place_may_be_torn() {
        let work = |disk: &Disk, d: BorrowedFd<'_>| disk.write(&disk.open(d, "old").unwrap(), b"new").unwrap();
        let seen: BTreeSet<String> = (1..50).map(|seed| after(Luck::Some(seed), work)["old"].clone()).collect();
        assert_eq!(seen, BTreeSet::from(["old", "nld", "new"].map(str::to_owned)));
    }
}
