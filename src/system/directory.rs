//! Directories of the daemon's own.

use std::{
    fs::{DirBuilder, File, Permissions, set_permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

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
