//! A UNIX socket that local programs find at a path.

use std::{
    fs::{Permissions, remove_file, set_permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
};

use super::listening::stopper;

/// Mode of the file: the user and the group of the installation may connect.
const MODE: u32 = 0o660;

/// The longest path that a socket can have, in bytes; the system ends it with a zero.
const LONGEST: usize = 107;

/// A bound socket. Its file goes with it: programs are to see at once that nobody serves it.
pub struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

impl Bound {
    /// Binds `path`, mode 0660. What an earlier daemon left there is replaced; what a living one serves is not.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when another process serves it; else when the path is too long or the directory may not
    /// be written.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        let length = path.as_os_str().as_bytes().len();
        if length > LONGEST {
            let text =
                format!("its path has {length} bytes, and that of a socket at most {LONGEST}; use a shorter home");
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
        }
        if path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket()) {
            if is_served(&path)? {
                let text = "another daemon serves it; stop that one first";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            remove_file(&path)?;
        }
        let bound = Self { listener: UnixListener::bind(&path)?, path };
        set_permissions(&bound.path, Permissions::from_mode(MODE))?;
        Ok(bound)
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a program.
    ///
    /// # Errors
    /// When the system has no room for another connection, or the socket was shut.
    pub fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// Makes a blocked [`Bound::accept`] return.
    ///
    /// # Errors
    /// When the socket cannot be cloned.
    pub fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        stopper(&self.listener)
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // The next start replaces what is left.
        let _ = remove_file(&self.path);
    }
}

/// Whether somebody accepts at `path`, or at least has not closed it: one that hangs with a full queue is alive.
fn is_served(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let outcome = connect(socket.as_raw_fd(), &UnixAddr::new(path)?);
    Ok(matches!(outcome, Ok(()) | Err(Errno::EAGAIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_served_socket_is_left_alone_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let bound = Bound::new(path.clone()).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(Bound::new(path.clone()).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Bound::new(path.clone()).unwrap());
        std::fs::write(&path, "no socket").unwrap();
        assert!(Bound::new(path.clone()).is_err());
        assert!(path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_told_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let length = folder.path().as_os_str().len() + 1;
        let path = |bytes: usize| folder.path().join("s".repeat(bytes - length));
        assert!(Bound::new(path(LONGEST)).is_ok());
        let told = Bound::new(path(LONGEST + 1)).err().unwrap().to_string();
        assert_eq!(told, "its path has 108 bytes, and that of a socket at most 107; use a shorter home");
    }
}
