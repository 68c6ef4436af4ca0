//! A small file by which a node knows something again after its restart: whole or not at all, bounded, and set aside if it
//! is damaged.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

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
        Self { path, longest, disk: Disk::new() }
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
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?.take(self.longest + 1).read_to_end(&mut bytes)?,
        };
        if bytes.len() as u64 > self.longest {
            return Err(io::Error::other("it is too long"));
        }
        Ok(Some(bytes))
    }

    /// Puts one that cannot be read out of the way; tells what was done, a sentence without its end.
    pub fn set_aside(&self) -> String {
        let aside = self.path.with_extension("json.damaged");
        match fs::rename(&self.path, &aside) {
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
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
