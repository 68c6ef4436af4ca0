//! A new content for a file: whole or not at all, and durable when it is done if that matters.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::{
    errno::Errno,
    unistd::{getegid, geteuid},
};

use super::{disk::Disk, stamp::Stamp};

/// The mode of a file that was not there.
const MODE: u32 = 0o640;

/// Bytes that are written at a time, if they come in pieces that are not longer.
const PIECE: usize = 64 * 1024;

/// The new content, under another name beside the file; dropping it removes it.
pub struct Replacement<'a> {
    disk: &'a Disk,
    directory: File,
    file: File,
    staged: String,
    name: String,
    durable: bool,
    done: bool,
}

impl<'a> Replacement<'a> {
    /// Writes `pieces` beside `path`, with the mode of what stands there and, as far as this process may, its owner; for a
    /// new file that of the directory. A symbolic link stays, and the file that it leads to is replaced. With `durable` it
    /// waits for the disk; otherwise a power cut may lose the content, old and new.
    ///
    /// # Errors
    /// Those of the disk; nothing is left then.
    pub fn new<'p>(
        disk: &'a Disk,
        path: &Path,
        durable: bool,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let before = path.metadata().ok();
        let (directory, staged) = (File::open(parent)?, format!(".{name}.tmp"));
        // Another attempt may have left it when its process ended.
        match disk.remove_file(&directory, &staged) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let file = disk.create(&directory, &staged)?;
        let replacement = Self { disk, directory, file, staged, name: name.to_owned(), durable, done: false };
        replacement.write(pieces)?;
        disk.set_mode(&replacement.file, before.as_ref().map_or(MODE, |before| before.mode() & 0o7777))?;
        let like = before.map_or_else(|| replacement.directory.metadata(), Ok)?;
        let owner = (like.uid(), like.gid());
        if owner != (geteuid().as_raw(), getegid().as_raw()) {
            match disk.set_owner(&replacement.file, owner) {
                Ok(()) | Err(Errno::EPERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if durable {
            disk.sync(&replacement.file)?;
        }
        Ok(replacement)
    }

    fn write<'p>(&self, pieces: impl Iterator<Item = &'p [u8]>) -> Result<(), Errno> {
        let mut buffer = Vec::with_capacity(PIECE);
        for piece in pieces {
            if buffer.len() + piece.len() > PIECE {
                self.disk.write(&self.file, &buffer)?;
                buffer.clear();
            }
            if piece.len() > PIECE {
                self.disk.write(&self.file, piece)?;
            } else {
                buffer.extend_from_slice(piece);
            }
        }
        self.disk.write(&self.file, &buffer)
    }

    /// Puts it in the place of the file and gives what the file is then.
    ///
    /// # Errors
    /// Those of the disk. If only the directory could not be made durable, the new content is there all the same, and may
    /// be lost with the next power cut.
    pub fn commit(mut self) -> io::Result<Stamp> {
        self.disk.rename(&self.directory, &self.staged, &self.name)?;
        self.done = true;
        if self.durable {
            self.disk.sync(&self.directory)?;
        }
        Stamp::of_file(&self.file)
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.done {
            // The next attempt removes it.
            let _ = self.disk.remove_file(&self.directory, &self.staged);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::system::disk::faults::Fault;

    fn write(disk: &Disk, path: &Path, content: &str) -> io::Result<Stamp> {
        let pieces = content.as_bytes().chunks(100_000);
        Replacement::new(disk, path, true, pieces).and_then(Replacement::commit)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_link_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("keys"), folder.path().join("link"));
        let stamp = write(&Disk::new(), &path, "first").unwrap();
        assert_eq!(Stamp::of(&path).unwrap(), stamp);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let long = "x".repeat(1_000_000);
        write(&Disk::new(), &link, &long).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), long);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o604);
        assert!(link.is_symlink());
        assert_eq!(names(folder.path()), ["keys", "link"]);
        assert!(write(&Disk::new(), &folder.path().join("none/keys"), "").is_err());
    }

    #[test]
    fn whatever_fails_leaves_the_old_content_or_the_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let counted = Disk::new();
        write(&counted, &path, "old").unwrap();
        let steps = counted.faults.done();
        for (at, crash) in (0..steps).flat_map(|at| [(at, false), (at, true)]) {
            write(&Disk::new(), &path, "old").unwrap();
            let fault = if crash { Fault::Crash } else { Fault::Once(Errno::ENOSPC) };
            let mut disk = Disk::new();
            disk.faults.plan = Some((at, fault));
            let failed = write(&disk, &path, "the new content").is_err();
            let content = fs::read_to_string(&path).unwrap();
            // The last step makes the new name durable.
            assert!(failed && content == if at + 1 == steps { "the new content" } else { "old" }, "{at} {content}");
            // What a crash leaves is in nobody's way.
            assert!(crash || names(folder.path()) == ["keys"], "{at}");
            write(&Disk::new(), &path, "newer").unwrap();
            assert_eq!(
                (fs::read_to_string(&path).unwrap(), names(folder.path())),
                ("newer".into(), vec!["keys".into()])
            );
        }
    }
}
