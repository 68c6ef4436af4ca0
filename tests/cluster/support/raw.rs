//! A peer that says exactly what a test wants.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use clusterd::{
    crypto::Fernet,
    wire::{CommandField, Deframer, Limits, Message, frame},
};

use super::KEY;

/// A worker's end of a connection to a master.
pub struct RawPeer {
    stream: TcpStream,
    fernet: Fernet,
    deframer: Deframer,
    counter: u32,
}

impl RawPeer {
    /// Connects to a master on this machine.
    pub fn connect(port: u16) -> Self {
        Self::connect_with(port, KEY)
    }

    /// [`RawPeer::connect`] with another key.
    pub fn connect_with(port: u16, key: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self {
            stream,
            fernet: Fernet::new(key.as_bytes().try_into().unwrap()),
            deframer: Deframer::new(Limits::FULL),
            counter: 41,
        }
    }

    /// Speaks under another key from now on.
    pub fn change_key(&mut self, key: &str) {
        self.fernet = Fernet::new(key.as_bytes().try_into().unwrap());
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request; gives its counter.
    pub fn send(&mut self, command: &str, payload: &[u8]) -> u32 {
        self.counter += 1;
        let counter = self.counter;
        self.send_with(counter, command, payload);
        counter
    }

    /// Sends a message with this counter.
    pub fn send_with(&mut self, counter: u32, command: &str, payload: &[u8]) {
        let bytes = self.frame(counter, command, payload);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Asks without end and reads no answer, until the master takes no more of it.
    pub fn stuff(&mut self) {
        let bytes = self.frame(1, "echo", &[b'x'; 32 * 1024]);
        self.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        while self.stream.write_all(&bytes).is_ok() {}
    }

    fn frame(&self, counter: u32, command: &str, payload: &[u8]) -> Vec<u8> {
        let mut field = [b'-'; 12];
        field[..command.len()].copy_from_slice(command.as_bytes());
        field[command.len()] = b' ';
        let mut bytes = vec![0; frame::HEADER];
        self.fernet.seal(payload, 0, [7; 16], &mut bytes);
        frame::complete(&mut bytes, counter, CommandField::received(field), payload.len());
        bytes
    }

    /// The next message; none if the connection has ended.
    pub fn receive(&mut self) -> Option<(u32, String, Vec<u8>)> {
        loop {
            let count = match self.stream.read(self.deframer.space()) {
                Ok(0) => return None,
                Ok(count) => count,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::ConnectionReset => return None,
                    _ => panic!("nothing came: {error}"),
                },
            };
            if let Some(Message { counter, command, body, .. }) = self.deframer.arrived(count).unwrap() {
                let name = String::from_utf8_lossy(command.name()).into_owned();
                return Some((counter, name, self.fernet.open(body).unwrap()));
            }
        }
    }

    /// Sends a request and gives command and text of its answer; what the master asks meanwhile is left unanswered.
    pub fn ask(&mut self, command: &str, payload: &[u8]) -> (String, String) {
        let sent = self.send(command, payload);
        loop {
            let (counter, command, answer) = self.receive().expect("an answer");
            if counter == sent {
                return (command, String::from_utf8_lossy(&answer).into_owned());
            }
        }
    }

    /// Sends a string; gives its id.
    pub fn send_string(&mut self, content: &str) -> String {
        let (_, id) = self.ask("new_str", content.len().to_string().as_bytes());
        assert_eq!(self.ask("str_upd", format!("{id} {content}").as_bytes()).0, "ok");
        id
    }

    /// Says hello as a worker of this name.
    pub fn hello(&mut self, name: &str) -> (String, String) {
        self.ask("hello", format!("{name} wazuh worker 4.14.7").as_bytes())
    }
}
