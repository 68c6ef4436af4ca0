//! `queue/cluster-state/highest-id`: the largest id that was ever given, once it stands in client.keys no more.
//!
//! The counter of ids is the largest id in client.keys. A line that is purged, or taken out by a person, would let it fall
//! back with the next start, and another agent would get the id, and with it the groups and the history of the one that
//! had it. So before such a line goes, its number is written here, in digits and a line end.

use std::{io, path::PathBuf};

use super::table::Table;
use crate::system::{disk::Disk, state_file::StateFile};

/// A longer file is none of this daemon's.
const LONGEST: u64 = 64;

/// The file.
pub(super) struct Highest {
    file: StateFile,
    /// What it says; none until it was read.
    written: Option<u32>,
}

impl Highest {
    /// That at `path`; nothing is opened yet.
    pub(super) fn new(path: PathBuf, disk: Disk) -> Self {
        Self { file: StateFile::on(disk, path, LONGEST), written: None }
    }

    /// The largest id that it knows of; 0 if there is no file.
    ///
    /// # Errors
    /// When it cannot be read, or is not a number: no id is certain to be new then.
    pub(super) fn read(&mut self) -> io::Result<u32> {
        let known = match self.written {
            Some(known) => known,
            None => self.parse().map_err(|error| self.named(&error))?,
        };
        self.written = Some(known);
        Ok(known)
    }

    /// To be called before `table` becomes client.keys: if its largest id stands in it no more, it is kept here.
    ///
    /// # Errors
    /// As [`Highest::keep`].
    pub(super) fn keep_for(&mut self, table: &Table) -> io::Result<()> {
        if table.has_highest() { Ok(()) } else { self.keep(table.counter()) }
    }

    /// Lets no id up to `id` be given again, whatever client.keys says. Durable when it returns.
    ///
    /// # Errors
    /// Those of the disk, and of [`Highest::read`].
    fn keep(&mut self, id: u32) -> io::Result<()> {
        if self.read()? >= id {
            return Ok(());
        }
        self.file.write(format!("{id}\n").as_bytes()).map_err(|error| self.named(&error))?;
        self.written = Some(id);
        Ok(())
    }

    fn parse(&self) -> io::Result<u32> {
        let text = match self.file.read() {
            Ok(None) => return Ok(0),
            Err(error) if error.kind() != io::ErrorKind::FileTooLarge => return Err(error),
            read => read.ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok()),
        };
        text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
            io::Error::other("it is not the largest agent id that was ever given. Write that number into it")
        })
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.file.path().display()))
    }

    #[cfg(test)]
    pub(super) fn on_disk(&self) -> Option<String> {
        std::fs::read_to_string(self.file.path()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_only_grows_and_outlasts_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("highest-id");
        let mut highest = Highest::new(path.clone(), Disk::new());
        assert_eq!(highest.read().unwrap(), 0);
        highest.keep(7).unwrap();
        highest.keep(3).unwrap();
        assert_eq!(highest.on_disk().as_deref(), Some("7\n"));
        let mut next = Highest::new(path, Disk::new());
        next.keep(5).unwrap();
        assert_eq!(next.read().unwrap(), 7);
    }

    #[test]
    fn what_is_no_number_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("highest-id");
        for text in ["", "seven", "-1", "99999999999", &"7".repeat(1000)] {
            fs::write(&path, text).unwrap();
            let error = Highest::new(path.clone(), Disk::new()).keep(8).unwrap_err().to_string();
            assert!(error.contains("highest-id: it is not the largest agent id"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
