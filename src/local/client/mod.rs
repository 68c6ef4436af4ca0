//! A blocking client of the control socket.
//!
//! ```text
//! master   client ── get_nodes ──► daemon        client ◄── ok <result> ── daemon
//! worker   client ── get_nodes ──► daemon        client ◄── ok "Sent request to master node" ── daemon
//!                                                client ◄── control_res <result> ── daemon   (a request of its own)
//!                                                client ── ok "Response received" ──► daemon
//! ```
//! A connection serves one request, as with the stock daemon's clients. So whatever arrives belongs to that request, and a
//! late answer cannot be taken for the answer to another.

mod error;
mod exchange;
#[cfg(test)]
pub(crate) mod fake;

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::wire::{Command, CommandField};
pub use error::AskError;
use exchange::Exchange;

/// How long a request may take, from connecting to its result, unless told otherwise.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A message that passed the socket, for whoever wants to look on.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    /// The request that this message is a part of.
    pub asked: Command,
    /// Sent by this side, or received.
    pub sent: bool,
    /// The name on the message.
    pub command: CommandField,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Asks the daemon of this machine.
pub struct LocalClient {
    socket: PathBuf,
    limit: Duration,
    watch: Option<fn(Passed<'_>)>,
}

impl LocalClient {
    /// A client of the daemon that listens at `socket`. Nothing is opened before the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), limit: TIME_LIMIT, watch: None }
    }

    /// Replaces [`TIME_LIMIT`].
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Shows every message to `watch`, on the calling thread. The answer to `get_config` holds the key of the cluster.
    pub fn with_watch(mut self, watch: fn(Passed<'_>)) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Sends a request and waits for its result, also when a worker passes it to the master.
    ///
    /// # Errors
    /// [`AskError`]: the daemon is not there, refuses, breaks off or lets the time pass.
    pub fn ask(&self, command: Command, payload: &[u8]) -> Result<Vec<u8>, AskError> {
        let deadline = Instant::now() + self.limit;
        let stream = self.connect(command)?;
        Exchange::new(self, command, stream, deadline).result(payload)
    }

    /// A stream whose `connect` has a time limit: a daemon that hangs lets its queue of new connections fill, and then
    /// `connect` would wait without end.
    fn connect(&self, command: Command) -> Result<UnixStream, AskError> {
        let open = || -> io::Result<UnixStream> {
            let address = UnixAddr::new(&self.socket)?;
            let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            let stream = UnixStream::from(fd);
            stream.set_write_timeout(Some(self.limit))?;
            connect(stream.as_raw_fd(), &address)?;
            Ok(stream)
        };
        open().map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::WouldBlock => AskError::Timeout { command, limit: self.limit, forwarded: false },
                io::ErrorKind::PermissionDenied => AskError::NotPermitted { socket, source },
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                    AskError::NotRunning { socket, source }
                }
                _ => AskError::Broken { command, source },
            }
        })
    }
}

#[cfg(test)]
mod tests;
