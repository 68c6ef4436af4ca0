//! One connection to a member: bytes with a deadline, over TLS or not.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use rustls::ClientConnection;

use crate::{sockets::Timed, system::shutdown::Shutdown};

/// A connection. Everything on it ends at its deadline, and with the order to stop.
pub(super) struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// For what follows.
    pub(super) deadline: Instant,
    shutdown: Shutdown,
}

/// A connection that is read from.
pub(super) type Reader = BufReader<Link>;

impl Link {
    /// Connects to one of the addresses, which share the time that is left.
    pub(super) fn connect(
        addresses: &[SocketAddr],
        tls: Option<ClientConnection>,
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> io::Result<Self> {
        let mut outcome = Err(io::ErrorKind::NotFound.into());
        for (at, address) in addresses.iter().enumerate() {
            let others = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let limit = deadline.saturating_duration_since(Instant::now()) / others;
            // A limit of zero would be an error of another kind.
            outcome = TcpStream::connect_timeout(address, limit.max(Duration::from_millis(1)));
            if outcome.is_ok() {
                break;
            }
        }
        let socket = outcome?;
        // Requests are small and waited for.
        socket.set_nodelay(true)?;
        Ok(Self { socket, tls: tls.map(Box::new), deadline, shutdown: shutdown.clone() })
    }

    /// Whether the member is there and has said nothing unasked.
    pub(super) fn is_quiet(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.socket.as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
    }

    /// Does something with the bytes as the other end of HTTP sees them.
    fn with<T>(&mut self, work: impl FnOnce(&mut dyn ReadWrite) -> io::Result<T>) -> io::Result<T> {
        let mut timed = Timed::until_shutdown(&self.socket, self.deadline, &self.shutdown);
        match &mut self.tls {
            None => work(&mut timed),
            Some(tls) => work(&mut rustls::Stream::new(&mut **tls, &mut timed)),
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|stream| stream.read(buffer))
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(|stream| stream.flush())
    }
}
