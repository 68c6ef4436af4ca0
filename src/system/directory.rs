//! Directories of the daemon's own.

use std::{
    fs::{DirBuilder, File, Permissions, set_permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use nix::{
    fcntl::{Flock, FlockArg, OFlag, open, openat},
    sys::stat::Mode,
};

/// Creates `path` with this mode, whatever the umask; one that exists stays as it is.
///
/// # Errors
/// When the parent is missing or may not be written.
pub fn create(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens the regular file `relative` below `root` for reading, over no link. The caller has checked that no component of
/// the path is `..`.
///
/// # Errors
/// Those of the system; also when it is no regular file.
pub fn open_beneath(root: &Path, relative: &str) -> io::Result<File> {
    let no_link = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut current = open(root, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for name in relative.split('/') {
        current = openat(&current, name, no_link, Mode::empty())?;
    }
    let file = File::from(current);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Keeps other processes that ask for the same from using a directory; dropping it, or the end of the process, lets
/// them. It leaves nothing on the disk and survives going to the background.
pub struct Lock(#[expect(dead_code, reason = "held only to be dropped")] Flock<File>);

/// Locks `path` for this process.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when another process has locked it.
pub fn lock(path: &Path) -> io::Result<Lock> {
    let locked = Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock);
    locked.map(Lock).map_err(|(_, error)| error.into())
}

/// Removes everything in the directory `path` for which `keep` is false, whole folders too.
///
/// # Errors
/// When the directory cannot be read, or something in it cannot be removed.
pub fn empty(path: &Path, keep: impl Fn(&std::ffi::OsStr) -> bool) -> io::Result<()> {
    for entry in path.read_dir()? {
        let entry = entry?;
        if keep(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_opened_below_the_root_and_over_no_link() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        std::fs::write(root.path().join("a/file"), "x").unwrap();
        symlink("/etc", root.path().join("etc")).unwrap();
        symlink("a/file", root.path().join("link")).unwrap();
        assert!(open_beneath(root.path(), "a/file").is_ok());
        for bad in ["a", "a/none", "etc/passwd", "link", "a/file/x"] {
            assert!(open_beneath(root.path(), bad).is_err(), "{bad}");
        }
    }
}
