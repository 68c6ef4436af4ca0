//! A listening socket, and the connections that wait at it until they have said something.
//!
//! One that waits costs a descriptor, and neither a thread nor a buffer: the kernel keeps what comes, and reports it when
//! as much is there as was wanted. Bytes that trickle wake nobody.
#![allow(unsafe_code)]

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{Backlog, listen},
    },
};

/// Connections that the kernel keeps until they are accepted; it may keep fewer. While it has room, nobody who connects
/// must try again after a second.
const BACKLOG: i32 = 4096;

/// Reports that are taken at a time.
const REPORTS: usize = 64;

/// The number that stands for the listening socket.
const NEWCOMERS: u64 = u64::MAX;

/// The socket and those who wait at it.
pub struct Doorway {
    listener: TcpListener,
    epoll: Epoll,
}

/// What has happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    /// Somebody can be accepted, or nobody ever again.
    Newcomers,
    /// The one with this number has said as much as was wanted, or will say no more.
    Spoke {
        /// The number that it was given.
        id: u64,
        /// Whether it will say no more.
        ended: bool,
    },
}

impl Doorway {
    /// Of a bound socket.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        listen(&listener, Backlog::new(BACKLOG)?)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, NEWCOMERS))?;
        Ok(Self { listener, epoll })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// When the socket is closed.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits until something happens, or for so long.
    ///
    /// # Errors
    /// When the system fails.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<Report>> {
        let mut events = [EpollEvent::empty(); REPORTS];
        // Rounded up, so that a deadline has passed when the wait for it ends.
        let limit = limit.map_or(EpollTimeout::NONE, |limit| {
            EpollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
        });
        let count = match self.epoll.wait(&mut events, limit) {
            Err(Errno::EINTR) => 0,
            outcome => outcome?,
        };
        let report = |event: &EpollEvent| match event.data() {
            NEWCOMERS => Report::Newcomers,
            id => Report::Spoke { id, ended: event.events() != EpollFlags::EPOLLIN },
        };
        Ok(events[..count].iter().map(report).collect())
    }

    /// The next newcomer; none if there is none now.
    ///
    /// # Errors
    /// When the system has no room for another connection, or the socket was shut.
    pub fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        match self.listener.accept() {
            Ok(newcomer) => Ok(Some(newcomer)),
            // The second has gone before it was accepted.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets `stream` wait until it has said `bytes`. `id` is below the largest number. Who is dropped waits no more.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn attend(&self, stream: &TcpStream, id: u64, bytes: usize) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        report_from(stream, bytes)?;
        Ok(self.epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, id))?)
    }

    /// Lets it wait until it has said `bytes` in all.
    ///
    /// # Errors
    /// When it cannot say so much without being read.
    pub fn attend_more(&self, stream: &TcpStream, bytes: usize) -> io::Result<()> {
        report_from(stream, bytes)
    }

    /// It waits no more, and is an ordinary stream again.
    ///
    /// # Errors
    /// When it is closed.
    pub fn release(&self, stream: &TcpStream) -> io::Result<()> {
        self.epoll.delete(stream)?;
        report_from(stream, 1)?;
        stream.set_nonblocking(false)
    }
}

impl AsFd for Doorway {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// From how many bytes on that wait at the socket it counts as readable.
fn report_from(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `stream` is borrowed, and the kernel reads `length` bytes of `bytes`.
    let result = unsafe {
        let value = (&raw const bytes).cast();
        libc::setsockopt(stream.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, length)
    };
    Ok(Errno::result(result).map(drop)?)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, thread::sleep};

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    #[test]
    fn who_trickles_is_reported_when_enough_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let doorway = Doorway::new(listener).unwrap();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_nodelay(true).unwrap();
        assert_eq!(doorway.wait(LONG).unwrap(), [Report::Newcomers]);
        let (stream, _) = doorway.accept().unwrap().unwrap();
        assert!(doorway.accept().unwrap().is_none());
        doorway.attend(&stream, 7, 3).unwrap();
        for _ in 0..2 {
            peer.write_all(b"x").unwrap();
            sleep(Duration::from_millis(20));
            assert!(doorway.wait(Some(Duration::ZERO)).unwrap().is_empty());
        }
        peer.write_all(b"x").unwrap();
        assert_eq!(doorway.wait(LONG).unwrap(), [Report::Spoke { id: 7, ended: false }]);
        doorway.attend_more(&stream, 100_000).unwrap();
        assert!(doorway.wait(Some(Duration::ZERO)).unwrap().is_empty());
        peer.write_all(&[0; 100_000 - 3]).unwrap();
        assert_eq!(doorway.wait(LONG).unwrap(), [Report::Spoke { id: 7, ended: false }]);
        doorway.release(&stream).unwrap();
        assert!(doorway.wait(Some(Duration::ZERO)).unwrap().is_empty());
    }

    #[test]
    fn who_leaves_is_reported_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let doorway = Doorway::new(listener).unwrap();
        let mut peer = TcpStream::connect(address).unwrap();
        doorway.wait(LONG).unwrap();
        let (stream, _) = doorway.accept().unwrap().unwrap();
        doorway.attend(&stream, 7, 20).unwrap();
        peer.write_all(b"x").unwrap();
        drop(peer);
        assert_eq!(doorway.wait(LONG).unwrap(), [Report::Spoke { id: 7, ended: true }]);
    }
}
