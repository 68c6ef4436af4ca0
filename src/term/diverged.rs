//! `queue/diverged/<term>`: what a former master had alone, before the present one's files take its place.
//!
//! ```text
//! queue/diverged/0/list                       2026-11-30 01:17:12 UTC  48 bytes  etc/rules/local_rules.xml
//! queue/diverged/0/etc/rules/local_rules.xml  as it was
//! ```
//! `<term>` is the one in which this node was the master. Nothing here is ever applied or removed by this daemon.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
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

/// Copies those of `paths`, beneath the home, that are there, and that were not copied before; durable when it returns. Gives
/// the paths of those that were copied.
///
/// # Errors
/// Those of the disk; what was copied stays, and the next attempt goes on there.
pub fn set_aside<'p>(
    home: &Home,
    disk: &Disk,
    term: u64,
    paths: impl Iterator<Item = &'p str>,
) -> io::Result<Vec<&'p str>> {
    let root = home.diverged().join(term.to_string());
    let (mut copied, mut lines) = (Vec::new(), String::new());
    for path in paths {
        let from = match open_beneath(home.path(), path) {
            Ok(file) => file,
            // What the new master has and this node has not.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = make(disk, home.path(), &format!("queue/diverged/{term}/{folder}"))?;
        if disk.open(&folder, name).is_ok() {
            continue;
        }
        let metadata = from.metadata()?;
        copy(disk, from, &folder, name)?;
        lines.push_str(&format!("{}  {} bytes  {path}\n", utc(metadata.modified()?), metadata.len()));
        copied.push(path);
    }
    if !copied.is_empty() {
        let list = root.join(LIST);
        let before = fs::read(&list).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })?;
        disk.sync_file_system(disk.directory(&root)?)?;
        Replacement::new(disk, &list, true, [&*before, lines.as_bytes()].into_iter())?.commit()?;
    }
    Ok(copied)
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
        fs::write(folder.path().join("etc/client.keys"), "001 a any key\n").unwrap();
        Home::new(folder.path())
    }

    const PATHS: [&str; 3] = ["etc/client.keys", "etc/rules/a.xml", "etc/rules/new.xml"];

    #[test]
    fn what_was_there_is_kept_once_with_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder);
        assert_eq!(kept(&home), []);
        let disk = Disk::new();
        assert_eq!(set_aside(&home, &disk, 3, PATHS.into_iter()).unwrap(), PATHS[..2]);
        // The next attempt finds another content, which is not this node's any more.
        fs::write(folder.path().join("etc/rules/a.xml"), "of the new master").unwrap();
        assert_eq!(set_aside(&home, &disk, 3, PATHS.into_iter()).unwrap(), [""; 0]);
        let kept_file = folder.path().join("queue/diverged/3/etc/rules/a.xml");
        assert_eq!(fs::read_to_string(&kept_file).unwrap(), "of the former master");
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("queue/diverged/3/etc/client.keys"), mode("queue/diverged/3/etc/rules")), (0o640, 0o750));
        let list = fs::read_to_string(folder.path().join("queue/diverged/3/list")).unwrap();
        assert!(list.lines().nth(1).unwrap().ends_with(" UTC  20 bytes  etc/rules/a.xml"), "{list}");
        assert_eq!((kept(&home)[0].term, kept(&home)[0].files), (3, 2));
    }

    #[test]
    fn whatever_fails_the_next_attempt_completes_it() {
        for fault in ERRORS {
            at_each(fault, |disk, context| {
                let folder = tempfile::tempdir().unwrap();
                let home = home(&folder);
                if set_aside(&home, disk, 0, PATHS.into_iter()).is_err() {
                    set_aside(&home, &Disk::new(), 0, PATHS.into_iter()).unwrap();
                }
                let kept = folder.path().join("queue/diverged/0/etc/rules/a.xml");
                assert_eq!(fs::read_to_string(kept).unwrap(), "of the former master", "{context}");
            });
        }
    }
}
