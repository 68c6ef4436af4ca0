//! What the manager's other programs do at the sockets of the daemon.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::Value;

use super::{Home, LIMIT};

/// A program that is connected to one of the sockets in the home.
pub struct Program(UnixStream);

impl Program {
    /// Connects to `queue/db/wdb`, the agent database.
    pub fn database(home: &Home) -> Self {
        Self::connect(&home.path("queue/db/wdb")).unwrap()
    }

    /// Connects to `queue/sockets/auth`, the registrar, which takes one request.
    pub fn registrar(home: &Home) -> io::Result<Self> {
        Self::connect(&home.path("queue/sockets/auth"))
    }

    /// Connects to a socket that only a namespace has.
    pub fn at(socket: &Path) -> Self {
        Self::connect(socket).unwrap()
    }

    fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(stream))
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends a request.
    pub fn send(&mut self, request: &str) -> io::Result<()> {
        self.write(&[&(request.len() as u32).to_le_bytes(), request.as_bytes()].concat())
    }

    /// The answer.
    pub fn receive(&mut self) -> io::Result<String> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut answer)?;
        String::from_utf8(answer).map_err(io::Error::other)
    }

    /// Sends a request and gives the answer.
    pub fn ask(&mut self, request: &str) -> String {
        self.send(request).and_then(|()| self.receive()).unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// The rows of the agent database's answer.
    pub fn rows(&mut self, request: &str) -> Value {
        let answer = self.ask(request);
        serde_json::from_str(answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{request}: {answer}"))).unwrap()
    }
}

/// What the registrar of a home answers to one request.
pub fn register(home: &Home, request: &str) -> io::Result<String> {
    let mut program = Program::registrar(home)?;
    program.send(request)?;
    program.receive()
}
