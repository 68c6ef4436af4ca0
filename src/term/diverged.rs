//! `queue/diverged/<term>`: what a former master had alone, before the present one's files take its place.
//!
//! ```text
//! queue/diverged/0/list                       2026-11-30 01:17:12 UTC  48 bytes  etc/rules/local_rules.xml
//! queue/diverged/0/etc/rules/local_rules.xml  as it was
//! ```
//! `<term>` is the one in which this node was the master. Nothing here is ever applied or removed by this daemon.

use std::{
    collections::HashSet,
    fs::{self, File, FileTimes},
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::{
    config::Home,
    system::{clock::utc, directory::open_beneath, disk::Disk, replacement::Replacement},
};

const LIST: &str = "list";

/// Nobody but the user of the manager reads keys there.
const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// Bytes that are copied at a time.
const PIECE: usize = 64 * 1024;

/// The longest list that is counted.
const LONGEST_LIST: u64 = 64 * 1024 * 1024;

/// What was set aside in one term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The term in which this node was the master.
    pub term: u64,
    /// How many files there are.
    pub files: usize,
    /// The folder.
    pub path: String,
}

/// What this node had alone as the master of one term.
pub struct Diverged<'a> {
    home: &'a Home,
    disk: &'a Disk,
    term: u64,
}

impl<'a> Diverged<'a> {
    /// What it had in `term`.
    pub fn of(home: &'a Home, disk: &'a Disk, term: u64) -> Self {
        Self { home, disk, term }
    }

    /// Copies those of `paths`, beneath the home, that are there, and that were not copied before; durable when it returns.
    /// Lists all but `doubtful`, of which only its content tells whether it is a loss: that one waits for
    /// [`list`](Self::list) or [`discard`](Self::discard). Gives the paths that are new in the list.
    ///
    /// # Errors
    /// Those of the disk; what was copied stays, and the next attempt goes on there.
    pub fn set_aside<'p>(&self, paths: impl Iterator<Item = &'p str>, doubtful: &str) -> io::Result<Vec<&'p str>> {
        let mut there = Vec::new();
        for path in paths {
            let from = match open_beneath(self.home.path(), path) {
                Ok(file) => file,
                // What the new master has and this node has not.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let directory = make(self.disk, self.home.path(), &format!("queue/diverged/{}/{parent}", self.term))?;
            if self.disk.open(&directory, name).is_err() {
                copy(self.disk, from, &directory, name)?;
            }
            there.push(path);
        }
        if there.is_empty() {
            return Ok(there);
        }
        self.disk.sync_file_system(self.disk.directory(&self.root())?)?;
        there.retain(|path| *path != doubtful);
        self.add(there)
    }

    /// The copy of `path`, if it was set aside and is not listed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn unlisted(&self, path: &str) -> io::Result<Option<File>> {
        let file = match open_beneath(&self.root(), path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        Ok((!lists(&self.listed()?, path)).then_some(file))
    }

    /// The copy of `path` is a loss.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list(&self, path: &str) -> io::Result<()> {
        self.add(vec![path]).map(drop)
    }

    /// The copy of `path` is no loss: removes it, and the directories that have nothing else.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn discard(&self, path: &str) -> io::Result<()> {
        let copy = self.root().join(path);
        let (directory, name) = self.disk.place(&copy)?;
        self.disk.remove_file(directory, name)?;
        let relative = format!("diverged/{}/{path}", self.term);
        for emptied in Path::new(&relative).ancestors().skip(1).filter(|path| path.file_name().is_some()) {
            let emptied = self.home.path().join("queue").join(emptied);
            let (parent, name) = self.disk.place(&emptied)?;
            match self.disk.remove_directory(parent, name) {
                Ok(()) => {}
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn root(&self) -> PathBuf {
        self.home.diverged().join(self.term.to_string())
    }

    fn listed(&self) -> io::Result<Vec<u8>> {
        fs::read(self.root().join(LIST)).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })
    }

    /// Adds lines for those that have none, and gives their paths.
    fn add<'p>(&self, mut paths: Vec<&'p str>) -> io::Result<Vec<&'p str>> {
        let mut text = self.listed()?;
        let known: HashSet<&[u8]> = text.split(|byte| *byte == b'\n').filter_map(listed_path).collect();
        paths.retain(|path| !known.contains(path.as_bytes()));
        for path in &paths {
            let metadata = open_beneath(&self.root(), path)?.metadata()?;
            text.extend(format!("{}  {} bytes  {path}\n", utc(metadata.modified()?), metadata.len()).bytes());
        }
        if !paths.is_empty() {
            Replacement::new(self.disk, &self.root().join(LIST), true, [&*text].into_iter())?.commit()?;
        }
        Ok(paths)
    }
}

/// The path in a line of the list: all behind the second pair of blanks.
fn listed_path(line: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(line).ok()?;
    text.splitn(3, "  ").nth(2).map(str::as_bytes)
}

fn lists(list: &[u8], path: &str) -> bool {
    list.split(|byte| *byte == b'\n').any(|line| listed_path(line) == Some(path.as_bytes()))
}

/// What has been set aside, in every term.
pub fn kept(home: &Home) -> Vec<Kept> {
    let terms = fs::read_dir(home.diverged()).into_iter().flatten().flatten();
    let mut kept: Vec<Kept> = terms.filter_map(|entry| of(&entry.path())).collect();
    kept.sort_by_key(|kept| kept.term);
    kept
}

fn of(folder: &Path) -> Option<Kept> {
    let term = folder.file_name()?.to_str()?.parse().ok()?;
    let mut list = String::new();
    File::open(folder.join(LIST)).ok()?.take(LONGEST_LIST).read_to_string(&mut list).ok()?;
    Some(Kept { term, files: list.lines().count(), path: folder.display().to_string() })
}

/// Makes the folders of `relative` beneath `home` that are not there, and opens the last.
fn make(disk: &Disk, home: &Path, relative: &str) -> Result<OwnedFd, Errno> {
    let mut at = disk.directory(home)?;
    for name in relative.split('/').filter(|name| !name.is_empty()) {
        match disk.make_directory(&at, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
        let next = disk.look(&at, name, nix::fcntl::OFlag::O_DIRECTORY)?;
        at = next;
    }
    disk.set_mode(&at, DIRECTORY_MODE)?;
    Ok(at)
}

fn copy(disk: &Disk, mut from: File, folder: &OwnedFd, name: &str) -> io::Result<()> {
    let staged = format!(".{name}.tmp");
    match disk.remove_file(folder, &staged) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let to = disk.create(folder, &staged)?;
    disk.set_mode(&to, FILE_MODE)?;
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => break,
            read => disk.write(&to, &piece[..read])?,
        }
    }
    // The list says when it was changed last.
    to.set_times(FileTimes::new().set_modified(from.metadata()?.modified()?))?;
    Ok(disk.rename(folder, &staged, name)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::system::disk::faults::{ERRORS, at_each};

    fn home(folder: &tempfile::TempDir) -> Home {
        fs::create_dir_all(folder.path().join("queue")).unwrap();
        fs::create_dir_all(folder.path().join("etc/rules")).unwrap();
        fs::write(folder.path().join("etc/rules/a.xml"), "of the former master").unwrap();
        fs::write(folder.path().join(KEYS), "001 a any key\n").unwrap();
        Home::new(folder.path())
    }

    const KEYS: &str = "etc/client.keys";
    const PATHS: [&str; 3] = [KEYS, "etc/rules/a.xml", "etc/rules/new.xml"];

    #[test]
    fn what_was_there_is_kept_once_with_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder);
        assert_eq!(kept(&home), []);
        let disk = Disk::new();
        let diverged = Diverged::of(&home, &disk, 3);
        assert_eq!(diverged.set_aside(PATHS.into_iter(), "").unwrap(), PATHS[..2]);
        // The next attempt finds another content, which is not this node's any more.
        fs::write(folder.path().join("etc/rules/a.xml"), "of the new master").unwrap();
        assert_eq!(diverged.set_aside(PATHS.into_iter(), "").unwrap(), [""; 0]);
        let kept_file = folder.path().join("queue/diverged/3/etc/rules/a.xml");
        assert_eq!(fs::read_to_string(&kept_file).unwrap(), "of the former master");
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("queue/diverged/3/etc/client.keys"), mode("queue/diverged/3/etc/rules")), (0o640, 0o750));
        let list = fs::read_to_string(folder.path().join("queue/diverged/3/list")).unwrap();
        assert!(list.lines().nth(1).unwrap().ends_with(" UTC  20 bytes  etc/rules/a.xml"), "{list}");
        assert_eq!((kept(&home)[0].term, kept(&home)[0].files), (3, 2));
    }

    #[test]
    fn what_is_doubtful_is_listed_or_discarded_later() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder);
        let disk = Disk::new();
        let diverged = Diverged::of(&home, &disk, 3);
        assert!(diverged.unlisted(KEYS).unwrap().is_none());
        assert_eq!(diverged.set_aside(PATHS.into_iter(), KEYS).unwrap(), PATHS[1..2]);
        assert!(diverged.unlisted(KEYS).unwrap().is_some());
        diverged.list(KEYS).unwrap();
        assert!(diverged.unlisted(KEYS).unwrap().is_none());
        assert_eq!(kept(&home)[0].files, 2);

        let alone = Diverged::of(&home, &disk, 4);
        assert_eq!(alone.set_aside([KEYS].into_iter(), KEYS).unwrap(), [""; 0]);
        alone.discard(KEYS).unwrap();
        assert!(!folder.path().join("queue/diverged/4").exists());
        assert!(folder.path().join("queue/diverged/3").exists());
    }

    #[test]
    fn whatever_fails_the_next_attempt_completes_it() {
        for fault in ERRORS {
            at_each(fault, |disk, context| {
                let folder = tempfile::tempdir().unwrap();
                let home = home(&folder);
                if Diverged::of(&home, disk, 0).set_aside(PATHS.into_iter(), "").is_err() {
                    Diverged::of(&home, &Disk::new(), 0).set_aside(PATHS.into_iter(), "").unwrap();
                }
                let kept_file = folder.path().join("queue/diverged/0/etc/rules/a.xml");
                assert_eq!(fs::read_to_string(kept_file).unwrap(), "of the former master", "{context}");
                assert_eq!(kept(&home)[0].files, 2, "{context}");
            });
        }
    }
}
