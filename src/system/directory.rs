//! Directories of the daemon's own.

use std::{
    fs::{DirBuilder, Permissions, set_permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
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
