//! A master whose every step a test decides.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
};

use super::{Address, Peer, until};

/// The listening socket of such a master.
pub struct ScriptedMaster(TcpListener);

impl ScriptedMaster {
    /// Listens.
    pub fn new(address: Address) -> Self {
        let listener = TcpListener::bind(address.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// The next connection, as it comes.
    pub fn stream(&self) -> TcpStream {
        let stream = until("a connection of the worker", || match self.0.accept() {
            Ok((stream, _)) => Some(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        });
        stream.set_nonblocking(false).unwrap();
        stream
    }

    /// The next worker that says hello, welcomed as an original master welcomes it.
    pub fn accept(&self) -> Peer {
        self.welcome(false)
    }

    /// The same with a native link.
    pub fn accept_native(&self) -> Peer {
        self.welcome(true)
    }

    fn welcome(&self, native: bool) -> Peer {
        let mut peer = Peer::new(self.stream());
        peer.native = native;
        peer.wait_for("hello");
        peer
    }
}
