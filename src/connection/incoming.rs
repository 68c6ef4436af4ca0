//! Files that a peer sends (`spec/protocol.md` 8.1, 8.2).
//!
//! The path that the peer gives only identifies the transfer: the content goes to a file without a name, so a transfer
//! can neither overwrite anything nor leave anything behind, however it ends.

use std::{
    collections::HashMap,
    fs::File,
    io::{Seek, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};

use super::arriving::{Arrival, Arriving};
use crate::wire::ErrorObject;

/// What a peer may send.
#[derive(Clone, Copy, Debug)]
pub struct FileLimits {
    /// The longest file, in bytes.
    pub size: u64,
    /// Files that may be open at a time.
    pub open: usize,
}

/// Receives the files of one connection.
pub struct IncomingFiles {
    /// Where the content is kept: on the same disk as everything that is received.
    directory: PathBuf,
    /// What the path of a transfer must begin with, without a leading slash.
    prefix: String,
    limits: FileLimits,
    open: HashMap<Vec<u8>, Incoming>,
    complete: HashMap<Vec<u8>, ReceivedFile>,
}

struct Incoming {
    file: File,
    length: u64,
    /// For [`Proof::Checksum`].
    sum: Option<Sha256>,
    arrival: Arrival,
}

/// What shows that a file has come as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The checksum at its end.
    Checksum,
    /// The frames of a session, each of which is verified, in their order. The checksum is not looked at.
    Frames,
}

/// A file that came whole.
#[derive(Debug)]
pub struct ReceivedFile {
    /// The content, positioned at its beginning; its space is freed when it is closed.
    pub file: File,
    /// Of the content; with [`Proof::Frames`] what the peer says of it.
    pub sha256: [u8; 32],
}

/// Why a part of a transfer was refused.
#[derive(Debug, thiserror::Error)]
pub enum FileRefused {
    /// The path leaves the directory for files of this peer. The peer is at fault.
    #[error("Write path not allowed")]
    Path,
    /// No transfer of this path is open. The peer is at fault.
    #[error("no file of this name is open")]
    NotOpen,
    /// The peer has too many files open.
    #[error("too many files are open at a time")]
    TooMany,
    /// The file is longer than allowed.
    #[error("the file is longer than the allowed {0} bytes")]
    TooLong(u64),
    /// The content was changed on the way.
    #[error("File wasn't correctly received. Checksums aren't equal.")]
    Checksum,
    /// This node cannot store it.
    #[error("the file cannot be stored in {directory}: {error}")]
    Storage {
        /// Where.
        directory: String,
        /// Why.
        error: std::io::Error,
    },
}

impl FileRefused {
    /// What the peer is told: texts where the stock daemon has texts, an error object otherwise.
    pub fn payload(&self) -> String {
        match self {
            Self::Path | Self::Checksum => self.to_string(),
            _ => ErrorObject::unexpected(self.to_string()).to_json(),
        }
    }
}

impl IncomingFiles {
    /// Receives files whose paths are in `prefix` (`queue/cluster/<node>/`) and keeps them in `directory`.
    pub fn new(directory: PathBuf, prefix: String, limits: FileLimits) -> Self {
        Self { directory, prefix, limits, open: HashMap::new(), complete: HashMap::new() }
    }

    /// `new_file`: opens a transfer, or begins an open one again.
    ///
    /// # Errors
    /// When the path is outside the prefix, too many are open, or there is no place for it.
    pub fn begin(&mut self, path: &[u8], proof: Proof) -> Result<(), FileRefused> {
        self.check(path)?;
        self.complete.remove(path);
        if !self.open.contains_key(path) && self.open.len() + self.complete.len() >= self.limits.open {
            return Err(FileRefused::TooMany);
        }
        let file = tempfile::tempfile_in(&self.directory).map_err(|error| self.storage(error))?;
        self.open.insert(
            path.to_vec(),
            Incoming {
                file,
                length: 0,
                sum: (proof == Proof::Checksum).then(Sha256::new),
                arrival: Arrival::default(),
            },
        );
        Ok(())
    }

    /// The open transfer of this path, for one who reads it while it arrives; none if there is none.
    pub fn follow(&self, path: &[u8]) -> Option<Arriving> {
        let incoming = self.open.get(path)?;
        incoming.file.try_clone().ok().map(|file| incoming.arrival.follow(file))
    }

    /// `file_upd`: appends to an open transfer. One that fails is closed.
    ///
    /// # Errors
    /// When it is not open, becomes too long, or the disk is full.
    pub fn append(&mut self, path: &[u8], data: &[u8]) -> Result<(), FileRefused> {
        let limit = self.limits.size;
        let incoming = self.open.get_mut(path).ok_or(FileRefused::NotOpen)?;
        incoming.length += data.len() as u64;
        let result = if incoming.length > limit {
            Err(FileRefused::TooLong(limit))
        } else {
            if let Some(sum) = &mut incoming.sum {
                sum.update(data);
            }
            let written = incoming.file.write_all(data).map(|()| incoming.arrival.has(incoming.length));
            written.map_err(|error| self.storage(error))
        };
        if result.is_err() {
            self.open.remove(path);
        }
        result
    }

    /// `file_end`: completes a transfer if it has come as it was sent, and forgets it otherwise.
    ///
    /// # Errors
    /// When it is not open, or its content is another.
    pub fn end(&mut self, path: &[u8], sha256: &[u8; 32]) -> Result<(), FileRefused> {
        let mut incoming = self.open.remove(path).ok_or(FileRefused::NotOpen)?;
        if incoming.sum.is_some_and(|sum| sum.finalize().as_slice() != sha256) {
            return Err(FileRefused::Checksum);
        }
        incoming.file.rewind().map_err(|error| self.storage(error))?;
        incoming.arrival.is_whole();
        let received = ReceivedFile { file: incoming.file, sha256: *sha256 };
        self.complete.insert(path.to_vec(), received);
        Ok(())
    }

    /// Takes the complete file of this path, which may lack the leading slash that `new_file` had.
    pub fn take(&mut self, path: &[u8]) -> Option<ReceivedFile> {
        let name = bare(path);
        let key = self.complete.keys().find(|complete| bare(complete) == name)?.clone();
        self.complete.remove(&key)
    }

    /// Whether `path` may name a transfer.
    ///
    /// # Errors
    /// [`FileRefused::Path`].
    pub fn check(&self, path: &[u8]) -> Result<(), FileRefused> {
        let inside = bare(path).strip_prefix(self.prefix.as_bytes()).ok_or(FileRefused::Path)?;
        let bad = |part: &[u8]| part.is_empty() || part == b"." || part == b".." || part.contains(&0);
        if inside.len() > 1024 || inside.split(|byte| *byte == b'/').any(bad) {
            return Err(FileRefused::Path);
        }
        Ok(())
    }

    /// Forgets everything that was received.
    pub fn clear(&mut self) {
        self.open.clear();
        self.complete.clear();
    }

    fn storage(&self, error: std::io::Error) -> FileRefused {
        FileRefused::Storage { directory: self.directory.display().to_string(), error }
    }
}

fn bare(path: &[u8]) -> &[u8] {
    &path[path.iter().position(|byte| *byte != b'/').unwrap_or(path.len())..]
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn files(directory: &tempfile::TempDir) -> IncomingFiles {
        let limits = FileLimits { size: 100, open: 2 };
        IncomingFiles::new(directory.path().to_owned(), "queue/cluster/w1/".into(), limits)
    }

    #[test]
    fn a_file_comes_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = files(&directory);
        files.begin(b"/queue/cluster/w1/a.zip", Proof::Checksum).unwrap();
        files.append(b"/queue/cluster/w1/a.zip", b"Hello ").unwrap();
        files.append(b"/queue/cluster/w1/a.zip", b"world").unwrap();
        files.end(b"/queue/cluster/w1/a.zip", &Sha256::digest(b"Hello world").into()).unwrap();
        let mut content = String::new();
        files.take(b"queue/cluster/w1/a.zip").unwrap().file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "Hello world");
        assert!(files.take(b"queue/cluster/w1/a.zip").is_none());

        files.begin(b"/queue/cluster/w1/b.zip", Proof::Checksum).unwrap();
        assert!(matches!(files.end(b"/queue/cluster/w1/b.zip", &[0; 32]), Err(FileRefused::Checksum)));
        assert!(files.take(b"/queue/cluster/w1/b.zip").is_none());
        files.begin(b"/queue/cluster/w1/c.zip", Proof::Frames).unwrap();
        files.append(b"/queue/cluster/w1/c.zip", b"proved otherwise").unwrap();
        files.end(b"/queue/cluster/w1/c.zip", &[0; 32]).unwrap();
        assert!(files.take(b"/queue/cluster/w1/c.zip").is_some());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing has a name on the disk");
    }

    #[test]
    fn paths_outside_the_directory_of_the_peer_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = files(&directory);
        for path in [
            "/etc/passwd",
            "/queue/cluster/../../etc/x",
            "/queue/cluster/w1/../w2/x",
            "/queue/cluster/w2/x",
            "/queue/cluster/w1/",
            "/queue/cluster/w1//x",
            "/queue/cluster/w1/x\0y",
            "",
        ] {
            assert!(matches!(files.begin(path.as_bytes(), Proof::Checksum), Err(FileRefused::Path)), "{path}");
        }
    }

    #[test]
    fn limits_hold() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = files(&directory);
        files.begin(b"/queue/cluster/w1/a", Proof::Checksum).unwrap();
        files.begin(b"/queue/cluster/w1/b", Proof::Checksum).unwrap();
        assert!(matches!(files.begin(b"/queue/cluster/w1/c", Proof::Checksum), Err(FileRefused::TooMany)));
        assert!(matches!(files.append(b"/queue/cluster/w1/a", &[0; 101]), Err(FileRefused::TooLong(100))));
        assert!(matches!(files.append(b"/queue/cluster/w1/a", &[0; 1]), Err(FileRefused::NotOpen)));
    }
}
