//! One end of a connection between nodes, under the control of a test.
//!
//! It answers what the other end asks in the course of things, and keeps it for the test to look at.

use std::{
    collections::{HashMap, VecDeque},
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use clusterd::{
    crypto::Fernet,
    wire::{CommandField, Deframer, ErrorObject, Limits, Message, frame},
};
use sha2::{Digest, Sha256};

use super::{Address, KEY, LIMIT};

/// What a request brought: the command of the answer and its payload as text.
pub type Answer = (String, String);

/// What the other end asked.
struct Asked {
    command: String,
    payload: Vec<u8>,
}

/// What a master says to a worker that wants to be checked.
#[derive(Clone, Copy)]
pub enum Permission {
    /// It may.
    Granted,
    /// Not now.
    Denied,
    /// The question is answered with an error.
    Refused,
}

/// A peer.
pub struct Peer {
    stream: TcpStream,
    cipher: Fernet,
    deframer: Deframer,
    counter: u32,
    asked: VecDeque<Asked>,
    /// Files that came, by the path of `new_file`.
    files: HashMap<Vec<u8>, Vec<u8>>,
    /// Whether requests stay unanswered.
    pub silent: bool,
    /// What the other end gets when it asks whether it may be checked.
    pub permission: Permission,
    /// Whether it agrees with a worker on digests, and then refuses to compare a part of the files.
    pub native: bool,
}

impl Peer {
    /// Connects to a master and says nothing.
    pub fn connect(address: Address) -> Self {
        Self::new(TcpStream::connect(address.socket()).unwrap())
    }

    /// Connects and is accepted as the worker `name`.
    pub fn join(address: Address, name: &str) -> Self {
        let mut peer = Self::connect(address);
        let (command, text) = peer.hello(name);
        assert_eq!(command, "ok", "{text}");
        peer
    }

    /// On a connected stream.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            cipher: Fernet::new(KEY.as_bytes().try_into().unwrap()),
            deframer: Deframer::new(Limits::FULL),
            counter: 1000,
            asked: VecDeque::new(),
            files: HashMap::new(),
            silent: false,
            permission: Permission::Granted,
            native: false,
        }
    }

    /// Speaks under another key from now on.
    pub fn change_key(&mut self, key: &str) {
        self.cipher = Fernet::new(key.as_bytes().try_into().unwrap());
    }

    /// Says hello with the right words.
    pub fn hello(&mut self, name: &str) -> Answer {
        self.request("hello", format!("{name} wazuh worker 4.14.7"))
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes, which the other end may take slowly or not at all; false when it has closed, or `over` is set.
    pub fn send_slowly(&mut self, mut bytes: &[u8], over: &AtomicBool) -> bool {
        self.stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        while !bytes.is_empty() && !over.load(Ordering::Relaxed) {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
        }
        bytes.is_empty()
    }

    /// Waits a little and does nothing; false when the other end has closed.
    pub fn trickle(&mut self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(0) => false,
            Ok(_) => {
                std::thread::sleep(Duration::from_millis(50));
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// The bytes of a message.
    pub fn frame(&self, counter: u32, command: &str, payload: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; frame::HEADER];
        self.cipher.seal(payload, 1, counter.to_be_bytes().repeat(4).try_into().unwrap(), &mut buffer);
        frame::complete(&mut buffer, counter, field(command), payload.len());
        buffer
    }

    /// Asks, and answers meanwhile.
    pub fn request(&mut self, command: &str, payload: impl AsRef<[u8]>) -> Answer {
        self.counter += 1;
        let counter = self.counter;
        let bytes = self.frame(counter, command, payload.as_ref());
        self.send_bytes(&bytes);
        let end = Instant::now() + LIMIT;
        loop {
            let message = self.receive(end).unwrap_or_else(|| panic!("closed instead of an answer to {command}"));
            let name = String::from_utf8_lossy(message.command.name()).into_owned();
            if message.command.is_answer() {
                assert_eq!(message.counter, counter, "an answer to nothing: {name}");
                return (name, String::from_utf8_lossy(&message.body).into_owned());
            }
            self.serve(message, name);
        }
    }

    /// [`Peer::request`], which must be granted; gives the payload.
    pub fn ask(&mut self, command: &str, payload: impl AsRef<[u8]>) -> String {
        let (answer, text) = self.request(command, payload);
        assert_eq!(answer, "ok", "{command}: {text}");
        text
    }

    /// Waits until the other end asks this, answering all it asks; gives the payload.
    pub fn wait_for(&mut self, command: &str) -> Vec<u8> {
        self.wait_for_any(&[command]).1
    }

    /// [`Peer::wait_for`] for the first of several.
    pub fn wait_for_any(&mut self, commands: &[&str]) -> (String, Vec<u8>) {
        let end = Instant::now() + LIMIT;
        loop {
            while let Some(Asked { command, payload }) = self.asked.pop_front() {
                if commands.contains(&command.as_str()) {
                    return (command, payload);
                }
            }
            let message = self.receive(end).unwrap_or_else(|| panic!("closed instead of one of {commands:?}"));
            let name = String::from_utf8_lossy(message.command.name()).into_owned();
            assert!(!message.command.is_answer(), "an answer to nothing: {name}");
            self.serve(message, name);
        }
    }

    /// Whether the other end has asked this since it was last looked for.
    pub fn was_asked(&mut self, command: &str) -> bool {
        let before = self.asked.len();
        self.asked.retain(|asked| asked.command != command);
        self.asked.len() < before
    }

    /// Whether the other end answers an echo, and has not closed.
    pub fn is_open(&mut self) -> bool {
        let bytes = self.frame(1, "echo", b"x");
        self.stream.write_all(&bytes).is_ok() && self.receive(Instant::now() + LIMIT).is_some()
    }

    /// Waits until there is something to read, and leaves it there.
    pub fn wait_for_bytes(&self) {
        super::until("something to read", || self.stream.peek(&mut [0]).is_ok_and(|count| count > 0).then_some(()));
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        // The other end may have done so already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Waits until the other end closes; answers nothing.
    pub fn wait_for_end(&mut self) {
        let end = Instant::now() + LIMIT;
        while self.receive(end).is_some() {}
    }

    /// Sends a file; gives the first answer that is not `ok`, or the last one.
    pub fn send_file(&mut self, path: &str, content: &[u8]) -> Answer {
        let begun = self.request("new_file", path);
        if begun.0 != "ok" {
            return begun;
        }
        for chunk in content.chunks(1 << 20) {
            let taken = self.request("file_upd", [path.as_bytes(), b" ", chunk].concat());
            if taken.0 != "ok" {
                return taken;
            }
        }
        self.request("file_end", [path.as_bytes(), b" ", &Sha256::digest(content)].concat())
    }

    /// As a worker: sends the archive of a check when the master grants one; gives the answer to its end.
    pub fn check(&mut self, name: &str, archive: &[u8]) -> Answer {
        self.check_in("", name, archive)
    }

    /// As [`Peer::check`], of the files in these buckets.
    pub fn check_in(&mut self, buckets: &str, name: &str, archive: &[u8]) -> Answer {
        super::until("the permission for a check", || (self.ask("syn_i_w_m_p", "") == "True").then_some(()));
        if !buckets.is_empty() {
            // A part is compared only with the files by whose digests it was chosen.
            self.ask("int_digest", "0".repeat(32));
        }
        let task = self.ask("syn_i_w_m", buckets);
        self.deliver(name, "syn_i_w_m_e", &task, archive)
    }

    /// As a master: sends the archive of an update to the worker `name`; gives the answer to its end.
    pub fn update(&mut self, name: &str, archive: &[u8]) -> Answer {
        let task = self.ask("syn_m_c", "");
        self.deliver(name, "syn_m_c_e", &task, archive)
    }

    fn deliver(&mut self, name: &str, end: &str, task: &str, archive: &[u8]) -> Answer {
        let path = format!("queue/cluster/{name}/{name}-{}.zip", self.counter);
        let sent = self.send_file(&format!("/{path}"), archive);
        assert_eq!(sent.0, "ok", "{}", sent.1);
        self.request(end, format!("{task} {path}"))
    }

    /// The next message, decrypted; none when the other end has closed.
    fn receive(&mut self, end: Instant) -> Option<Message> {
        loop {
            assert!(Instant::now() < end, "nothing was said in time");
            let count = match self.stream.read(self.deframer.space()) {
                Ok(0) => return None,
                Ok(count) => count,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => continue,
                    ErrorKind::ConnectionReset => return None,
                    _ => panic!("{error}"),
                },
            };
            if let Some(mut message) = self.deframer.arrived(count).unwrap() {
                message.body = self.cipher.open(message.body).unwrap();
                return Some(message);
            }
        }
    }

    fn serve(&mut self, message: Message, command: String) {
        let Message { counter, body, .. } = message;
        let words = || {
            let at = body.iter().position(|byte| *byte == b' ').unwrap();
            (body[..at].to_vec(), &body[at + 1..])
        };
        let answer: (&str, Vec<u8>) = match command.as_str() {
            "hello" => {
                let name = String::from_utf8_lossy(&words().0).into_owned();
                let native = if self.native { " native/1 AAAAAAAAAAAAAAAAAAAAAA" } else { "" };
                ("ok", format!("Client {name} added{native}").into_bytes())
            }
            "native" => ("ok", br#"{"features": ["checksum=md5", "digest"]}"#.to_vec()),
            // It has no files.
            "int_digest" => ("ok", [b"buckets ".to_vec(), clusterd::files::md5_of(b"").repeat(256)].concat()),
            "syn_i_w_m" if !body.is_empty() => ("err", ErrorObject::unexpected("ask again").to_json().into_bytes()),
            "echo" => ("ok", body.clone()),
            "echo-c" => ("ok-m ", body.clone()),
            "echo-m" => ("ok-c", body.clone()),
            "syn_i_w_m_p" => match self.permission {
                Permission::Granted => ("ok", b"True".to_vec()),
                Permission::Denied => ("ok", b"False".to_vec()),
                Permission::Refused => ("err", ErrorObject::unexpected("no checks today").to_json().into_bytes()),
            },
            "syn_i_w_m" | "syn_m_c" => ("ok", b"22b389b6-bce8-4413-be2b-9bcdc92e4c51".to_vec()),
            "new_file" => {
                self.files.insert(body.clone(), Vec::new());
                ("ok ", b"Ready to receive new file".to_vec())
            }
            "file_upd" => {
                let (path, data) = words();
                self.files.get_mut(&path).unwrap().extend_from_slice(data);
                ("ok", b"File updated".to_vec())
            }
            "file_end" => ("ok", b"File received correctly".to_vec()),
            "syn_i_w_m_e" | "syn_m_c_e" => ("ok", b"File correctly received".to_vec()),
            "syn_i_w_m_r" | "syn_m_c_r" => ("ok", b"Error received".to_vec()),
            "syn_m_c_ok" => ("ok", b"Thanks".to_vec()),
            "cancel_task" => ("ok", b"Request received correctly".to_vec()),
            _ => ("err", format!("unknown command 'b'{command}''").into_bytes()),
        };
        if !self.silent {
            let bytes = self.frame(counter, answer.0, &answer.1);
            self.send_bytes(&bytes);
        }
        self.asked.push_back(Asked { command, payload: body });
    }
}

fn field(command: &str) -> CommandField {
    let mut bytes = [b'-'; 12];
    bytes[..command.len()].copy_from_slice(command.as_bytes());
    bytes[command.len()] = b' ';
    CommandField::received(bytes)
}
