//! Reading a configuration file into memory.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

/// Reads the regular file `path`, which may hold up to `limit` bytes. The bytes are wiped when dropped: they may hold
/// the key.
///
/// # Errors
/// Those of the file system; `InvalidInput` if it is not a regular file (a pipe would block the start for ever);
/// `FileTooLarge`; `Interrupted` if it grows meanwhile.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if about.len() > limit {
        return Err(too_large(limit));
    }
    // Never more than there is room for: a vector that grows leaves its old content in memory.
    let most = about.len() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most as usize));
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == most {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "it was changed while it was read"));
    }
    Ok(bytes)
}

fn too_large(limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", limit >> 20))
}

/// What a person can do about `error`.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create it, or name the right one",
        io::ErrorKind::PermissionDenied => "start as root, or let the user of the daemon read it",
        io::ErrorKind::FileTooLarge => "make it smaller; a configuration of this size is a mistake",
        io::ErrorKind::Interrupted => "try again",
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => "put a regular file there",
        _ => "check the file and its file system",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_kind_are_bounded() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        fs::write(&path, [b'x'; 100]).expect("written");
        assert_eq!(read(&path, 100).expect("read").len(), 100);
        assert_eq!(read(&path, 99).expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(directory.path(), 99).expect_err("a directory").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(read(&directory.path().join("none"), 99).expect_err("none").kind(), io::ErrorKind::NotFound);
    }
}
