//! A small file by which a node knows something again after its restart: whole or not at all, bounded, and set aside if it
//! is damaged.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::{disk::Disk, replacement::Replacement};

/// Bytes that are written at a time.
const PIECE: usize = 64 * 1024;

/// The file.
pub struct StateFile {
    path: PathBuf,
    longest: u64,
    disk: Disk,
}

impl StateFile {
    /// That at `path`; nothing is opened yet. A longer one than `longest` bytes is none of this daemon's.
    pub fn new(path: PathBuf, longest: u64) -> Self {
        Self::on(Disk::new(), path, longest)
    }

    /// The same through this door to the disk.
    pub fn on(disk: Disk, path: PathBuf, longest: u64) -> Self {
        Self { path, longest, disk }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; none if it is not there.
    ///
    /// # Errors
    /// Those of the disk, and that it is too long.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match self.disk.file(&self.path) {
            Err(Errno::ENOENT) => return Ok(None),
            opened => opened?.take(self.longest + 1).read_to_end(&mut bytes)?,
        };
        if bytes.len() as u64 > self.longest {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long"));
        }
        Ok(Some(bytes))
    }

    /// Puts one that cannot be read out of the way; tells what was done, a sentence without its end.
    pub fn set_aside(&self) -> String {
        let aside = self.path.with_extension("json.damaged");
        let named = aside.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let moved = self.disk.place(&self.path).and_then(|(folder, name)| self.disk.rename(folder, name, named));
        match moved.map_err(io::Error::from) {
            Ok(()) => format!("It was set aside as {}", aside.display()),
            Err(error) => format!("It could not be set aside either ({error}), and is replaced"),
        }
    }

    /// Makes it say `content`, on the disk.
    ///
    /// # Errors
    /// Those of the disk; it says what it said before.
    pub fn write(&self, content: &[u8]) -> io::Result<()> {
        Replacement::new(&self.disk, &self.path, true, content.chunks(PIECE)).and_then(Replacement::commit).map(drop)
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove(&self) -> io::Result<()> {
        match self.disk.remove_file_at(&self.path) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::disk::faults::{ERRORS, HARMLESS, at_each, crash_at_each};

    /// A file that says `old`, on this disk.
    fn old(disk: &Disk) -> (tempfile::TempDir, StateFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "old").unwrap();
        (folder, StateFile { path, longest: 100, disk: disk.clone() })
    }

    /// What the next start reads.
    fn read(file: &StateFile) -> String {
        let read = StateFile::new(file.path.clone(), 100).read().unwrap().unwrap();
        String::from_utf8(read).unwrap()
    }

    #[test]
    fn whatever_fails_it_says_what_it_said_before_or_what_it_is_to_say() {
        for fault in ERRORS.into_iter().chain(HARMLESS) {
            at_each(fault, |disk, context| {
                let (_folder, file) = old(disk);
                let (done, said) = (file.write(b"new").is_ok(), read(&file));
                assert!(done || !HARMLESS.contains(&fault), "{context}");
                assert!(said == "new" || said == "old" && !done, "{context}: {said}");
                StateFile::new(file.path.clone(), 100).write(b"newer").unwrap();
                assert_eq!(read(&file), "newer", "{context}");
            });
        }
    }

    #[test]
    fn after_a_crash_it_says_what_it_said_before_or_what_it_is_to_say() {
        crash_at_each(|disk, luck, context| {
            let (folder, file) = old(disk);
            disk.faults.watch(folder.path());
            let done = file.write(b"new").is_ok();
            disk.faults.cut_power(luck);
            let said = read(&file);
            assert!(said == "new" || said == "old" && !done, "{context}: {said}");
        });
    }
}
