//! What a UNIX and a TCP socket have in common.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use crate::system::unix_socket::Bound;

/// A connected socket on which a wait may have an end.
pub trait Stream: Send + Sync + 'static {
    /// Reads; waits for ever without a limit.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::WouldBlock`] when the limit has passed.
    fn read_within(&self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize>;

    /// Writes; waits for ever without a limit.
    ///
    /// # Errors
    /// As [`Stream::read_within`].
    fn write_within(&self, bytes: &[u8], limit: Option<Duration>) -> io::Result<usize>;

    /// Ends one direction, or both.
    ///
    /// # Errors
    /// When the other end has gone already.
    fn end(&self, how: Shutdown) -> io::Result<()>;

    /// Nothing is done for the program: a request is waited for.
    fn is_idle(&self) {}

    /// A request has begun to come. From now on it is waited for the rest.
    fn asks(&self) {}

    /// From now on a request of the program is worked on.
    fn is_busy(&self) {}
}

/// A socket of the system: both kinds have the same methods, and no trait of the standard library for them.
macro_rules! system_stream {
    ($socket:ty) => {
        impl Stream for $socket {
            fn read_within(&self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
                let mut stream = self;
                self.set_read_timeout(limit).and_then(|()| stream.read(buffer))
            }

            fn write_within(&self, bytes: &[u8], limit: Option<Duration>) -> io::Result<usize> {
                let mut stream = self;
                self.set_write_timeout(limit).and_then(|()| stream.write(bytes))
            }

            fn end(&self, how: Shutdown) -> io::Result<()> {
                self.shutdown(how)
            }
        }
    };
}

system_stream!(UnixStream);
system_stream!(TcpStream);

/// A bound socket.
pub trait Accept: AsFd + Send + 'static {
    /// What it gives.
    type Stream: Stream;

    /// Waits for a program.
    ///
    /// # Errors
    /// When the system has no room for another connection, or the socket was shut.
    fn accept(&self) -> io::Result<Self::Stream>;

    /// Where programs find it.
    fn place(&self) -> String;
}

impl Accept for Bound {
    type Stream = UnixStream;

    fn accept(&self) -> io::Result<UnixStream> {
        Self::accept(self)
    }

    fn place(&self) -> String {
        self.path().display().to_string()
    }
}

/// A bound TCP socket.
pub struct Port(TcpListener, SocketAddr);

impl Port {
    /// Binds `address`.
    ///
    /// # Errors
    /// When it is not one of this machine, or taken.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(address)?, address))
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Accept for Port {
    type Stream = TcpStream;

    fn accept(&self) -> io::Result<TcpStream> {
        self.0.accept().map(|(stream, _)| stream)
    }

    fn place(&self) -> String {
        format!("http://{}/", self.1)
    }
}
