//! Connections to the command socket that stay for the next request.

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    time::Instant,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use parking_lot::Mutex;

use crate::sockets::{Endpoint, Timed, frame};

/// Connections that are kept while nobody uses them. The stock daemon has few threads for all its clients.
const KEPT: usize = 4;

pub(super) struct Pool {
    pub(super) endpoint: Endpoint,
    idle: Mutex<Vec<UnixStream>>,
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, idle: Mutex::default() }
    }

    /// Sends a request and gives what `read` makes of the answer. A request on which the connection broke before anything
    /// of the answer had come is sent once more: most likely the database was started again meanwhile.
    ///
    /// # Errors
    /// Those of the connection; [`io::ErrorKind::InvalidData`] for what is no answer.
    pub(super) fn exchange<T>(
        &self,
        request: &[u8],
        deadline: Instant,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<T> {
        let connect = || self.endpoint.connect(deadline);
        let stream = self.take().map_or_else(connect, Ok)?;
        let (stream, answer) = match self.attempt(stream, request, deadline) {
            Err(Broken { error, answering: false }) if is_closed(&error) => {
                self.idle.lock().clear();
                self.attempt(connect()?, request, deadline)
            }
            outcome => outcome,
        }
        .map_err(|broken| broken.error)?;
        let Some(answer) = read(&answer) else {
            let near = String::from_utf8_lossy(&answer[..answer.len().min(32)]).into_owned();
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("near '{near}'")));
        };
        self.keep(stream);
        Ok(answer)
    }

    /// Gives the connection back only with a whole answer: what is late would be taken for the answer to the next request.
    fn attempt(&self, stream: UnixStream, request: &[u8], deadline: Instant) -> Result<(UnixStream, Vec<u8>), Broken> {
        let mut answering = false;
        let answer = {
            let mut timed = Timed::until_shutdown(&stream, deadline, &self.endpoint.shutdown);
            frame::write(&mut timed, request).and_then(|()| {
                frame::read(&mut timed, |_| answering = true)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            })
        };
        answer.map(|answer| (stream, answer)).map_err(|error| Broken { error, answering })
    }

    fn take(&self) -> Option<UnixStream> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).find(is_quiet)
    }

    fn keep(&self, stream: UnixStream) {
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(stream);
        }
    }
}

struct Broken {
    error: io::Error,
    /// Whether a part of the answer had come.
    answering: bool,
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::BrokenPipe | Kind::ConnectionReset | Kind::UnexpectedEof)
}

/// Whether the other side is there and has said nothing unasked.
fn is_quiet(stream: &UnixStream) -> bool {
    recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN)
}
