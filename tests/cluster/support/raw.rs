//! A peer that says exactly what a test wants.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use clusterd::{
    crypto::{Fernet, Session},
    session::native::{Names, Offer},
    term::Claim,
    wire::{CommandField, Deframer, Limits, Message, frame, sealed},
};

use super::KEY;

/// A worker's end of a connection to a master.
pub struct RawPeer {
    stream: TcpStream,
    fernet: Fernet,
    /// From its beginning on.
    session: Option<Session>,
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
        Self::new(TcpStream::connect(("127.0.0.1", port)).unwrap(), key)
    }

    /// On a stream that is connected.
    pub fn new(stream: TcpStream, key: &str) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self {
            stream,
            fernet: Fernet::new(key.as_bytes().try_into().unwrap()),
            session: None,
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

    /// Sends 24 MiB as messages of 8 MiB, or as one that does not end, and reads nothing; less if the master takes no more.
    #[allow(dead_code, reason = "tests/programs uses it")]
    pub fn fill(&mut self, command: &str, ends: bool) {
        const FRAGMENTS: usize = 8;
        self.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let (mut field, payload) = ([b'-'; 12], vec![b'x'; sealed::PAYLOAD]);
        field[..command.len()].copy_from_slice(command.as_bytes());
        field[command.len()] = b' ';
        for count in 1..=24 {
            let last = ends && count % FRAGMENTS == 0;
            let bytes = self.frame_of(1, CommandField::received(field).fragment(last), &payload);
            if self.stream.write_all(&bytes).is_err() {
                return;
            }
        }
    }

    /// The frame of a message, which has been sent if it is one of a session.
    pub fn frame(&mut self, counter: u32, command: &str, payload: &[u8]) -> Vec<u8> {
        let mut field = [b'-'; 12];
        field[..command.len()].copy_from_slice(command.as_bytes());
        field[command.len()] = b' ';
        self.frame_of(counter, CommandField::received(field), payload)
    }

    /// [`RawPeer::frame`] with any command field.
    pub fn frame_of(&mut self, counter: u32, field: CommandField, payload: &[u8]) -> Vec<u8> {
        if let Some(Session { sealer, .. }) = &mut self.session {
            let mut bytes = Vec::new();
            sealed::seal(sealer, counter, field, payload, [7; 16], &mut bytes).unwrap();
            return bytes;
        }
        let mut bytes = vec![0; frame::HEADER];
        self.fernet.seal(payload, 0, [7; 16], &mut bytes);
        frame::complete(&mut bytes, counter, field, payload.len());
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
            if let Some(message) = self.deframer.arrived(count).unwrap() {
                let Message { counter, command, body, .. } = match &mut self.session {
                    Some(Session { opener, .. }) => sealed::open(opener, message).unwrap(),
                    None => Message { body: self.fernet.open(message.body).unwrap(), share: None, ..message },
                };
                return Some((counter, String::from_utf8_lossy(command.name()).into_owned(), body));
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

    /// Agrees on a session as a worker of this name, and does not prove it yet; gives the payload of hello.
    pub fn agree(&mut self, name: &str) -> String {
        let hello = format!("{name} wazuh worker 4.14.7");
        let (_, welcome) = self.ask("hello", hello.as_bytes());
        let allowed = ["session".to_owned()];
        let offer = Offer::new(hello.as_bytes(), welcome.as_bytes(), &allowed, &Claim::default())
            .unwrap()
            .expect("an invitation");
        let (answer, taken) = self.ask("native", offer.text().as_bytes());
        assert_eq!(answer, "ok", "{taken}");
        let names = Names { cluster: "wazuh", worker: name };
        let agreed = offer.taken(taken.as_bytes(), &allowed, Some(&self.fernet), names).unwrap();
        self.session = agreed.session.map(|(session, _)| session);
        assert!(self.session.is_some(), "{taken}");
        self.deframer = Deframer::new(Limits::SEALED);
        hello
    }

    /// Joins by a session.
    pub fn join(&mut self, name: &str) -> (String, String) {
        let hello = self.agree(name);
        self.ask("hello", hello.as_bytes())
    }

    /// Reads what comes until the connection has ended.
    pub fn is_closed(&mut self) -> bool {
        while self.receive().is_some() {}
        true
    }

    /// Says hello as a worker of this name.
    pub fn hello(&mut self, name: &str) -> (String, String) {
        self.ask("hello", format!("{name} wazuh worker 4.14.7").as_bytes())
    }
}
