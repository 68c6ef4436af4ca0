//! Files that somebody on the master sends to this node with `send_file` (`spec/protocol.md` 13.10).
//!
//! They have their place in `queue/cluster`, under the name that they were sent by, and are removed at the next start. A
//! file appears whole, or not at all.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use nix::errno::Errno;

use crate::{
    connection::{FileLimits, FileRefused, IncomingFiles, Proof, ReceivedFile, Reply},
    files::JOURNAL,
    logging::{Scope, info},
    node::Node,
    system::disk::Disk,
    wire::{Chunk, Command, FileEnd, Transfer},
};

/// Where a path begins, without its leading slash.
const PREFIX: &str = "queue/cluster/";

/// Entries that the directory may have; a master cannot fill it for ever.
const ENTRIES: usize = 64;

/// The same for bytes; the last file may exceed it.
const BYTES: u64 = 1024 * 1024 * 1024;

/// Under this name a file comes to the directory; there is one at a time.
const STAGED: &str = ".parcel.tmp";

/// Bytes that are copied at a time.
const PIECE: usize = 64 * 1024;

/// The files that are on their way on one connection.
pub struct Parcels {
    files: IncomingFiles,
    directory: PathBuf,
}

impl Parcels {
    /// None yet.
    pub fn new(node: &Node) -> Self {
        let directory = node.home.cluster_dir();
        let limits = FileLimits { size: node.settings.communication.max_zip_size, open: 1 };
        Self { files: IncomingFiles::new(directory.clone(), PREFIX.into(), limits), directory }
    }

    /// Whether a request belongs to such a file, that is if its path names one in the directory itself.
    pub fn is_for(request: &Transfer<'_>) -> bool {
        match request {
            Transfer::NewFile(path)
            | Transfer::FileUpdate(Chunk { path, .. })
            | Transfer::FileEnd(FileEnd { path, .. }) => name(path).is_some(),
            Transfer::NewString(_) | Transfer::StringUpdate(_) | Transfer::StringFailed(_) => false,
        }
    }

    /// Answers a request for which [`Parcels::is_for`] holds.
    pub fn request(&mut self, reply: Reply, request: Transfer<'_>, scope: &Scope) {
        let (result, command, text) = match request {
            Transfer::NewFile(path) => (self.begin(path), Command::OkFile, "Ready to receive new file"),
            Transfer::FileUpdate(Chunk { path, data }) => (self.files.append(path, data), Command::Ok, "File updated"),
            Transfer::FileEnd(FileEnd { path, sha256 }) => {
                (self.end(path, sha256, scope), Command::Ok, "File received correctly")
            }
            Transfer::NewString(_) | Transfer::StringUpdate(_) | Transfer::StringFailed(_) => return reply.unknown(),
        };
        match result {
            Ok(()) => reply.answer(command, text),
            Err(refused) => reply.answer(Command::Err, refused.payload()),
        }
    }

    fn begin(&mut self, path: &[u8]) -> Result<(), FileRefused> {
        let (mut entries, mut bytes) = (0, 0);
        for entry in std::fs::read_dir(&self.directory).map_err(|error| self.storage(error))? {
            entries += 1;
            // What cannot be looked at has just gone.
            bytes += entry.and_then(|entry| entry.metadata()).map_or(0, |metadata| metadata.len());
        }
        if entries >= ENTRIES || bytes >= BYTES {
            return Err(FileRefused::TooMany);
        }
        // What was given up before is not wanted any more.
        self.files.clear();
        self.files.begin(path, Proof::Checksum)
    }

    fn end(&mut self, path: &[u8], sha256: &[u8; 32], scope: &Scope) -> Result<(), FileRefused> {
        self.files.end(path, sha256)?;
        let (Some(name), Some(file)) = (name(path), self.files.take(path)) else { return Err(FileRefused::NotOpen) };
        self.keep(name, file).map_err(|error| self.storage(error))?;
        info!(scope, "The master has sent the file '{}'.", self.directory.join(name).display());
        Ok(())
    }

    fn keep(&self, name: &str, mut received: ReceivedFile) -> io::Result<()> {
        let disk = Disk::new();
        let directory = disk.directory(&self.directory)?;
        match disk.remove_file(&directory, STAGED) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let file = disk.create(&directory, STAGED)?;
        let mut write = || {
            let mut piece = vec![0; PIECE];
            loop {
                match received.file.read(&mut piece) {
                    Ok(0) => break,
                    Ok(count) => disk.write(&file, &piece[..count])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            disk.sync(&file)?;
            Ok(disk.rename(&directory, STAGED, name)?)
        };
        write().inspect_err(|_| _ = disk.remove_file(&directory, STAGED))
    }

    fn storage(&self, error: io::Error) -> FileRefused {
        FileRefused::Storage { directory: self.directory.display().to_string(), error }
    }
}

/// The name of the file if it is to lie in the directory itself, and is not one of the daemon's own.
fn name(path: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(path).ok()?.trim_start_matches('/').strip_prefix(PREFIX)?;
    let own = name.is_empty() || name.starts_with('.') || name.starts_with(JOURNAL) || name.ends_with(".sock");
    (!own && !name.contains(['/', '\0']) && name.len() <= 255).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_names_in_the_directory_itself_are_taken() {
        assert_eq!(name(b"/queue/cluster/report.bin"), Some("report.bin"));
        for bad in ["/queue/cluster/w1/a.zip", "/queue/cluster/", "/queue/cluster/c-internal.sock", "/etc/passwd"] {
            assert_eq!(name(bad.as_bytes()), None, "{bad}");
        }
        for bad in ["/queue/cluster/..", "/queue/cluster/apply.journal", "/queue/cluster/../x", "/queue/cluster/\0"] {
            assert_eq!(name(bad.as_bytes()), None, "{bad}");
        }
    }
}
