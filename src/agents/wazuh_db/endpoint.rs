//! A socket of the database: connecting to it, and the sentences for what can go wrong there.

use std::{
    io,
    os::{
        fd::AsRawFd,
        unix::{fs::FileTypeExt, net::UnixStream},
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::{
    agents::{
        Error,
        timed::{is_again, turn},
    },
    system::shutdown::Shutdown,
};

pub(super) struct Endpoint {
    path: PathBuf,
    pub(super) shutdown: Shutdown,
}

impl Endpoint {
    pub(super) fn new(path: PathBuf, shutdown: Shutdown) -> Self {
        Self { path, shutdown }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.metadata().is_ok_and(|metadata| metadata.file_type().is_socket())
    }

    /// A new connection. A database that hangs lets its queue of new connections fill, and then `connect` waits, too.
    pub(super) fn connect(&self, deadline: Instant) -> io::Result<UnixStream> {
        let address = UnixAddr::new(&self.path)?;
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let stream = UnixStream::from(fd);
        loop {
            stream.set_write_timeout(turn(Some(deadline), Some(&self.shutdown))?)?;
            match connect(stream.as_raw_fd(), &address).map_err(io::Error::from) {
                Ok(()) => return Ok(stream),
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What `error` means to whoever reads it.
    pub(super) fn unavailable(&self, error: &io::Error, limit: Duration) -> Error {
        use io::ErrorKind as Kind;
        let path = self.path.display();
        Error::Unavailable(match error.kind() {
            Kind::NotFound | Kind::NotADirectory => format!("{path} does not exist. Is wazuh-db running?"),
            Kind::ConnectionRefused => format!("nobody serves {path}. Is wazuh-db running?"),
            Kind::PermissionDenied => {
                format!("{path} may not be used by this process. Does it run as the user of the manager?")
            }
            Kind::TimedOut => {
                let seconds = limit.as_secs_f64();
                format!("wazuh-db did not answer at {path} within {seconds} s. Is it busy, or does it hang?")
            }
            Kind::ConnectionAborted => error.to_string(),
            Kind::BrokenPipe | Kind::ConnectionReset | Kind::UnexpectedEof => {
                format!("wazuh-db closed the connection at {path} before it had answered. Is it stopping?")
            }
            Kind::InvalidData => {
                format!("what serves {path} gave an answer that makes no sense ({error}). Is it wazuh-db?")
            }
            _ => format!("{path}: {error}. Is wazuh-db running?"),
        })
    }
}
