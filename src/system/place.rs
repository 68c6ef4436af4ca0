//! Directories and files that this process is to write to: they are made, or tried without writing to them.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::{Mode, fchmod, fstat, mkdirat},
    unistd::{AccessFlags, Gid, Uid, access, fchown},
};

use super::user::{self, Owner};

/// The mode of directories that are made on the way to another.
const ON_THE_WAY: u32 = 0o750;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// What is to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory in which files are made, replaced and removed.
    Directory,
    /// A file that is appended to, or made.
    File,
}

/// Why something cannot be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is wrong, with the path.
    pub problem: String,
    /// What a person can do, as a sentence without its full stop: often a command.
    pub remedy: String,
    /// Whether nothing is wrong but that it is not there.
    pub is_missing: bool,
}

/// Makes the directory `relative` below `root`, and those on the way to it, if they are missing. With `owner`, for a
/// process of root, what is made is given to that user, and so is a directory on the way that nobody has touched: one of
/// root:root without content of its own, such as a fresh volume. No link is followed: what is behind it is the administrator's.
///
/// # Errors
/// Those of the system, but for links and for what is no directory: [`obstacle`] tells of these.
pub fn make(root: &Path, relative: &str, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    let mut current = open(root, DIRECTORY.difference(OFlag::O_NOFOLLOW), Mode::empty())?;
    let mut names = relative.split_terminator('/').peekable();
    while let Some(name) = names.next() {
        let mode = user::lasting_mode(if names.peek().is_some() { ON_THE_WAY } else { mode });
        let (next, is_fresh) = match openat(&current, name, DIRECTORY, Mode::empty()) {
            Ok(next) => {
                let is_fresh = owner.is_some() && is_untouched(&next)?;
                (next, is_fresh)
            }
            Err(Errno::ENOENT) => {
                match mkdirat(&current, name, Mode::from_bits_truncate(mode)) {
                    // Another process was faster.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                (openat(&current, name, DIRECTORY, Mode::empty())?, true)
            }
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if is_fresh {
            if let Some(Owner { uid, gid }) = owner {
                fchown(&next, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            // The umask may have taken bits away.
            fchmod(&next, Mode::from_bits_truncate(mode))?;
        }
        current = next;
    }
    Ok(())
}

/// What may be in a directory that nobody has touched: what a new file system has, and configuration that was mounted there.
const AT_FIRST: [&str; 3] = ["lost+found", "ossec.conf", "cluster.json"];

/// Whether a directory is root's, its group root's, and has no content but [`AT_FIRST`].
fn is_untouched(directory: &OwnedFd) -> io::Result<bool> {
    let about = fstat(directory)?;
    if (about.st_uid, about.st_gid) != (0, 0) {
        return Ok(false);
    }
    let again = openat(directory.as_fd(), ".", DIRECTORY, Mode::empty())?;
    let mut entries = nix::dir::Dir::from_fd(again)?;
    let mut is_empty = true;
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        is_empty &= matches!(name, b"." | b"..") || AT_FIRST.iter().any(|first| first.as_bytes() == name);
    }
    Ok(is_empty)
}

/// What keeps this process from writing to `relative` below `root`, if anything does. `mode` is for the remedy, where it
/// is to be made.
pub fn obstacle(root: &Path, relative: &str, kind: Kind, mode: u32) -> Option<Obstacle> {
    let target = root.join(relative.trim_end_matches('/'));
    let mut path = root.to_owned();
    let mut names = relative.split_terminator('/').peekable();
    let enter = AccessFlags::X_OK;
    if let Err(error) = access(&path, enter) {
        return Some(refused(&path, enter, error));
    }
    while let Some(name) = names.next() {
        let above = path.clone();
        path.push(name);
        let wanted = match (names.peek(), kind) {
            (Some(_), _) => enter,
            (None, Kind::Directory) => AccessFlags::R_OK | AccessFlags::W_OK | enter,
            (None, Kind::File) => AccessFlags::R_OK | AccessFlags::W_OK,
        };
        let is_file = names.peek().is_none() && kind == Kind::File;
        match fs::metadata(&path) {
            Ok(about) if about.is_dir() == is_file => return Some(other_kind(&path, is_file)),
            Ok(_) => {
                if let Err(error) = access(&path, wanted) {
                    return Some(refused(&path, wanted, error));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let make = AccessFlags::W_OK | enter;
                return access(&above, make).err().map(|error| missing(&target, kind, mode, error));
            }
            Err(error) => {
                let problem = format!("{} cannot be looked at: {error}", path.display());
                return Some(Obstacle { problem, remedy: "See to its file system".to_owned(), is_missing: false });
            }
        }
    }
    None
}

fn other_kind(path: &Path, is_file: bool) -> Obstacle {
    let wanted = if is_file { "file" } else { "directory" };
    let problem = format!("{} is not a {wanted}", path.display());
    Obstacle { problem, remedy: "Move it away".to_owned(), is_missing: false }
}

fn missing(target: &Path, kind: Kind, mode: u32, error: Errno) -> Obstacle {
    let (shown, user, group) = (target.display(), user::own_name(), user::own_group_name());
    let problem = format!("{shown} does not exist, and user {user} cannot make it: {}", error.desc());
    let remedy = match (error, kind) {
        (Errno::EROFS, _) => volume(target),
        (_, Kind::Directory) => format!("Run: install -d -m {mode:o} -o {user} -g {group} {shown}"),
        (_, Kind::File) => format!("Run: install -m {mode:o} -o {user} -g {group} /dev/null {shown}"),
    };
    Obstacle { problem, remedy, is_missing: true }
}

fn refused(path: &Path, wanted: AccessFlags, error: Errno) -> Obstacle {
    let (shown, user) = (path.display(), user::own_name());
    let what = if wanted.contains(AccessFlags::W_OK) { "write to" } else { "enter" };
    let problem = format!("user {user} cannot {what} {shown}: {}", error.desc());
    let remedy = match error {
        Errno::EROFS => volume(path),
        Errno::EACCES | Errno::EPERM => format!("Run: {}", permit(path, wanted)),
        _ => "See to its file system".to_owned(),
    };
    Obstacle { problem, remedy, is_missing: false }
}

fn volume(path: &Path) -> String {
    format!(
        "Mount a volume there that may be written to or, under systemd, name it in ReadWritePaths= of the unit: {}",
        path.display()
    )
}

/// The command that gives this process the rights that are wanted, and takes none from anybody.
fn permit(path: &Path, wanted: AccessFlags) -> String {
    let mut bits = String::new();
    for (flag, bit) in [(AccessFlags::R_OK, 'r'), (AccessFlags::W_OK, 'w'), (AccessFlags::X_OK, 'x')] {
        bits.extend(wanted.contains(flag).then_some(bit));
    }
    let shown = path.display();
    match fs::metadata(path) {
        Ok(about) if about.uid() == user::number() => format!("chmod u+{bits} {shown}"),
        Ok(about) if about.gid() == user::group() => format!("chmod g+{bits} {shown}"),
        _ => format!("chgrp {} {shown}; chmod g+{bits} {shown}", user::own_group_name()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{PermissionsExt, symlink},
        path::PathBuf,
    };

    use super::*;

    fn mode_of(path: PathBuf) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        make(root.path(), "queue/db", 0o770, None).unwrap();
        assert_eq!((mode_of(path("queue")), mode_of(path("queue/db"))), (0o750, 0o770));
        fs::set_permissions(path("queue/db"), fs::Permissions::from_mode(0o700)).unwrap();
        make(root.path(), "queue/db/", 0o770, None).unwrap();
        assert_eq!(mode_of(path("queue/db")), 0o700);
        // Behind a link nothing is made, and a file is not replaced.
        fs::create_dir(path("elsewhere")).unwrap();
        symlink("elsewhere", path("link")).unwrap();
        fs::write(path("file"), "x").unwrap();
        make(root.path(), "link/run", 0o770, None).unwrap();
        make(root.path(), "file/run", 0o770, None).unwrap();
        assert!(!path("elsewhere/run").exists() && path("file").is_file());
        assert!(make(&path("none"), "run", 0o770, None).is_err());
    }

    /// A volume that nobody has used belongs to root, and its directory hides the one of the installation.
    #[test]
    fn root_gives_away_what_it_makes_and_what_nobody_has_touched() {
        if !user::is_root() {
            return println!("SKIPPED: only root can give directories away");
        }
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let owner = Owner { uid: 4_242, gid: 4_243 };
        let about = |name: &str| {
            let about = fs::metadata(path(name)).unwrap();
            (about.uid(), about.gid(), about.mode() & 0o7777)
        };
        for name in ["fresh/lost+found", "etc/ossec.conf", "used/file", "others"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        std::os::unix::fs::chown(path("others"), Some(0), Some(7)).unwrap();
        symlink("used", path("link")).unwrap();
        for name in ["fresh/run", "etc", "new/run", "used/run", "others", "link"] {
            make(root.path(), name, 0o770, Some(owner)).unwrap();
        }
        for (name, expected) in [
            ("fresh", (4_242, 4_243, 0o750)),
            ("fresh/run", (4_242, 4_243, 0o770)),
            ("etc", (4_242, 4_243, 0o770)),
            ("new", (4_242, 4_243, 0o750)),
            ("new/run", (4_242, 4_243, 0o770)),
            ("used/run", (4_242, 4_243, 0o770)),
        ] {
            assert_eq!(about(name), expected, "{name}");
        }
        assert_eq!((about("used").0, about("others").1), (0, 7));
    }

    #[test]
    fn what_can_be_written_or_made_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let found = |relative: &str, kind| obstacle(root.path(), relative, kind, 0o770).map(|found| found.problem);
        assert_eq!(found("file", Kind::File), None);
        assert_eq!(found("new/directory", Kind::Directory), None);
        assert_eq!(found("new", Kind::File), None);
        let file = root.path().join("file");
        for (relative, kind) in [("file", Kind::Directory), ("file/run", Kind::Directory), ("file/x", Kind::File)] {
            let problem = found(relative, kind).unwrap();
            assert!(problem.starts_with(&format!("{} is not a ", file.display())), "{problem}");
        }
        assert!(found("", Kind::Directory).is_none());
    }
}
