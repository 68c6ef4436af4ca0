//! The journal: what has been staged and must be carried out, even after a crash.
//!
//! Lines of JSON: a head with the token of the staged names, one line per step, and an end with the number of steps
//! and the MD5 of all before it. All paths are relative to the home. A journal that is not complete does not count.
//! It is believed no more than a peer: every path is checked again when it is read, because others may write into
//! `queue/cluster` too.

use std::{borrow::Cow, fs::File, io::Read, os::fd::OwnedFd};

use md5::{Digest, Md5};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::stat::fstatat,
};
use serde::{Deserialize, Serialize};

use super::{plan::Part, step::Step, tree::Tree};
use crate::files::{
    checksum::Checksum,
    items::{ItemId, Items},
};

/// Where the journal stands, relative to the home.
pub(super) const PATH: &str = "queue/cluster/apply.journal";
const DIRECTORIES: [&str; 2] = ["queue", "cluster"];
/// Its name. Whoever could write it would have files renamed at the next start.
pub const NAME: &str = "apply.journal";
/// Under this name it is written.
const UNFINISHED: &str = "apply.journal.tmp";
/// A journal of a million steps with long paths is below this.
const LONGEST: u64 = 1 << 29;

/// Bytes of a line besides its path.
const LINE: u64 = 64;

#[derive(Serialize, Deserialize)]
struct Head {
    apply_journal: u32,
    token: u32,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    staged: Option<usize>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct End<'a> {
    steps: usize,
    #[serde(borrow)]
    md5: Cow<'a, str>,
}

const VERSION: u32 = 1;

/// A journal that was read back.
pub(super) struct Journal {
    pub(super) token: u32,
    pub(super) steps: Vec<Promise>,
}

/// A [`Step`] that owns its path.
pub(super) struct Promise {
    item: ItemId,
    path: String,
    staged: Option<usize>,
}

impl Promise {
    pub(super) fn step(&self) -> Step<'_> {
        Step { item: self.item, path: &self.path, staged: self.staged }
    }
}

/// Whether there is a journal, valid or not, as far as can be seen.
pub(super) fn exists(tree: &Tree<'_>) -> bool {
    let is_there = |directory| fstatat(&directory, NAME, AtFlags::AT_SYMLINK_NOFOLLOW).map(drop);
    !matches!(directory(tree, false).and_then(is_there), Err(Errno::ENOENT | Errno::ENOTDIR))
}

/// Writes the journal durably. After success the update counts; after an error it may be there or not.
pub(super) fn commit(tree: &Tree<'_>, token: u32, steps: &[Step<'_>]) -> Result<(), Errno> {
    let directory = directory(tree, true)?;
    let disk = tree.disk;
    match disk.remove_file(&directory, UNFINISHED) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&directory, UNFINISHED)?;
    let mut writer = Writer { tree, file: &file, buffer: Vec::new(), md5: Md5::new() };
    writer.line(&Head { apply_journal: VERSION, token })?;
    for step in steps {
        let key = Cow::Borrowed(tree.items.item(step.item).key.as_str());
        writer.line(&Line { staged: step.staged, key, path: Cow::Borrowed(step.path) })?;
    }
    let md5 = Checksum::Md5(writer.md5.clone().finalize().into()).to_string();
    writer.line(&End { steps: steps.len(), md5: Cow::Owned(md5) })?;
    writer.flush()?;
    disk.sync(&file)?;
    disk.rename(&directory, UNFINISHED, NAME)?;
    disk.sync(&directory)
}

/// The directory of the journal and its device, if it is there.
pub(super) fn place(tree: &Tree<'_>) -> Option<(u64, OwnedFd)> {
    let directory = directory(tree, false).ok()?;
    Some((Tree::device(&directory).ok()?, directory))
}

/// About the bytes of a journal for all of this.
pub(super) fn size(Part { writes, removals }: &Part) -> u64 {
    let paths = writes.iter().map(|write| &write.path).chain(removals.iter().map(|removal| &removal.path));
    paths.map(|path| path.len() as u64 + LINE).sum::<u64>() + 4096
}

/// Removes the journal durably, and one that was not finished.
pub(super) fn remove(tree: &Tree<'_>) -> Result<(), Errno> {
    let directory = match directory(tree, false) {
        Ok(directory) => directory,
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut removed = false;
    for name in [NAME, UNFINISHED] {
        match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            _ => {
                tree.disk.remove_file(&directory, name)?;
                removed = true;
            }
        }
    }
    // Without this the journal could come back with the next power cut and delete what is there by then.
    if removed { tree.disk.sync(&directory) } else { Ok(()) }
}

/// Why a journal promises nothing that can be done.
pub(super) enum Unread {
    /// It was never complete, or is none; with the reason.
    Invalid(String),
    /// It cannot be read now. What it promises is unknown.
    Disk(Errno),
}

/// Reads the journal; none if there is none.
pub(super) fn read(tree: &Tree<'_>) -> Result<Option<Journal>, Unread> {
    let opened = directory(tree, false).and_then(|directory| {
        tree.disk.look(&directory, NAME, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)
    });
    let file = match opened {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(Unread::Disk(error)),
    };
    match file.metadata() {
        Ok(about) if about.is_file() && about.len() <= LONGEST => {}
        _ => return Err(Unread::Invalid("its size is not plausible".to_owned())),
    }
    let mut bytes = Vec::new();
    let errno = |error: std::io::Error| Unread::Disk(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
    file.take(LONGEST).read_to_end(&mut bytes).map_err(errno)?;
    parse(&bytes, tree.items).map(Some).map_err(Unread::Invalid)
}

fn parse(bytes: &[u8], items: &Items) -> Result<Journal, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let incomplete = || "it is not complete".to_owned();
    let body = text.strip_suffix('\n').ok_or_else(incomplete)?;
    let end_at = body.rfind('\n').ok_or_else(incomplete)? + 1;
    let end: End<'_> = serde_json::from_str(&body[end_at..]).map_err(|_| incomplete())?;
    if Checksum::Md5(Md5::digest(&bytes[..end_at]).into()).to_string() != end.md5 {
        return Err("its checksum is wrong".to_owned());
    }
    let mut lines = body[..end_at].lines();
    let head: Head = serde_json::from_str(lines.next().unwrap_or("")).map_err(|error| error.to_string())?;
    if head.apply_journal != VERSION {
        return Err(format!("its version is {}", head.apply_journal));
    }
    let mut steps = Vec::new();
    for line in lines {
        let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let item = items.permits_key(&line.key, &line.path).map_err(|refusal| refusal.to_string())?;
        steps.push(Promise { item, path: line.path.into_owned(), staged: line.staged });
    }
    if steps.len() != end.steps {
        return Err(incomplete());
    }
    steps.sort_unstable_by(|a, b| a.step().cmp(&b.step()));
    Ok(Journal { token: head.token, steps })
}

fn directory(tree: &Tree<'_>, make: bool) -> Result<OwnedFd, Errno> {
    let mut current = tree.home.try_clone().map_err(|_| Errno::last())?;
    for name in DIRECTORIES {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        current = match tree.disk.look(&current, name, flags) {
            Err(Errno::ENOENT) if make => {
                tree.disk.make_directory(&current, name)?;
                let next = tree.disk.look(&current, name, flags)?;
                if let Some(owner) = tree.owner {
                    tree.disk.set_owner(&next, owner)?;
                }
                // What is durable in it is lost with its name.
                tree.disk.sync(&current)?;
                next
            }
            other => other?,
        };
    }
    Ok(current)
}

struct Writer<'a, 'b> {
    tree: &'a Tree<'b>,
    file: &'a File,
    buffer: Vec<u8>,
    md5: Md5,
}

impl Writer<'_, '_> {
    fn line(&mut self, line: &impl Serialize) -> Result<(), Errno> {
        let start = self.buffer.len();
        serde_json::to_writer(&mut self.buffer, line).map_err(|_| Errno::EINVAL)?;
        self.buffer.push(b'\n');
        self.md5.update(&self.buffer[start..]);
        if self.buffer.len() >= 64 * 1024 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.tree.disk.write(self.file, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::disk::Disk;

    #[test]
    fn it_is_read_back_only_if_whole_and_permitted() {
        let home = tempfile::tempdir().unwrap();
        let (items, disk) = (Items::standard(), Disk::new());
        let tree = Tree::open(home.path(), &items, None, &disk).unwrap();
        assert!(matches!(read(&tree), Ok(None)) && !exists(&tree));
        let [shared, rules] = ["etc/shared/", "etc/rules/"].map(|key| items.id_of_key(key).unwrap());
        let steps = [
            Step { item: rules, path: "etc/rules/b", staged: None },
            Step { item: shared, path: "etc/shared/ü\n", staged: Some(7) },
        ];
        commit(&tree, 0xdead_beef, &steps).unwrap();
        assert!(exists(&tree));
        let journal = read(&tree).ok().flatten().unwrap();
        assert_eq!(journal.token, 0xdead_beef);
        assert_eq!(journal.steps.iter().map(Promise::step).collect::<Vec<_>>(), steps);

        let whole = std::fs::read(home.path().join(PATH)).unwrap();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length], &items).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 1;
            assert!(parse(&bent, &items).is_err(), "{at}");
        }
        remove(&tree).unwrap();
        assert!(!exists(&tree));

        commit(&tree, 1, &[Step { item: shared, path: "etc/shared/../ossec.conf", staged: None }]).unwrap();
        assert!(matches!(read(&tree), Err(Unread::Invalid(reason)) if reason.contains("not permitted")));
    }
}
