//! The socket of a program of the manager: connecting to it, and the sentences for what can go wrong there.

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::{
    Timed, frame,
    timed::{is_again, turn},
};
use crate::system::shutdown::Shutdown;

/// Where a program serves, and the order to stop, which ends every wait for it.
pub struct Endpoint {
    program: &'static str,
    path: PathBuf,
    /// The order to stop.
    pub shutdown: Shutdown,
}

/// Why a program gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unanswered {
    /// A sentence for whoever reads it.
    pub reason: String,
    /// Whether the program got the whole request: it may have done what was asked.
    pub sent: bool,
}

impl Endpoint {
    /// The socket `path` of `program`.
    pub fn new(program: &'static str, path: PathBuf, shutdown: Shutdown) -> Self {
        Self { program, path, shutdown }
    }

    /// Asks one thing on a connection of its own, within `limit`: a frame there, a frame back.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn ask(&self, request: &[u8], limit: Duration) -> Result<Vec<u8>, Unanswered> {
        let deadline = Instant::now() + limit;
        let failed = |sent: bool| move |error| Unanswered { reason: self.explain(&error, limit), sent };
        let stream = self.connect(deadline).map_err(failed(false))?;
        let mut timed = Timed::until_shutdown(&stream, deadline, &self.shutdown);
        frame::write(&mut timed, request).map_err(failed(false))?;
        frame::read(&mut timed, |_| ())
            .and_then(|answer| answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(failed(true))
    }

    /// A new connection. A program that hangs lets its queue of new connections fill, and then `connect` waits, too.
    ///
    /// # Errors
    /// Those of the connection, for [`Endpoint::explain`].
    pub fn connect(&self, deadline: Instant) -> io::Result<UnixStream> {
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

    /// What `error` means to whoever reads it; `limit` is the time that the program had.
    pub fn explain(&self, error: &io::Error, limit: Duration) -> String {
        use io::ErrorKind as Kind;
        let (program, path) = (self.program, self.path.display());
        match error.kind() {
            Kind::NotFound | Kind::NotADirectory => format!("{path} does not exist; start {program}"),
            Kind::ConnectionRefused => format!("no program listens at {path}; start {program}"),
            Kind::PermissionDenied => {
                format!("no permission to use {path}; run this daemon as the user of the manager")
            }
            Kind::TimedOut => {
                let seconds = limit.as_secs_f64();
                format!("{program} did not answer at {path} within {seconds} s; it is overloaded, or hangs")
            }
            Kind::ConnectionAborted => error.to_string(),
            Kind::BrokenPipe | Kind::ConnectionReset | Kind::UnexpectedEof => {
                format!("{program} closed the connection at {path} before it answered; it may be stopping")
            }
            Kind::InvalidData => {
                format!("the answer at {path} is malformed ({error}); another program than {program} may listen there")
            }
            _ => format!("{path}: {error}; start {program}"),
        }
    }
}
