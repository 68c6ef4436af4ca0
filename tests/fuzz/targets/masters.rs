//! Whole messages to a worker that runs, of a master that holds the key: its requests, and its answers to those of the
//! worker. The worker and its connection stay from one input to the next, as they do in life.

use std::{
    cell::RefCell,
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use clusterd::{
    config::NodeType,
    crypto::Fernet,
    wire::{Command, CommandField, Deframer, Limits, Message},
};
use sha2::{Digest, Sha256};

use super::peers::{Node, PATIENCE, cipher, messages, sealed};

/// A worker that asks often, and comes again at once.
const SETTINGS: &[u8] = br#"{
    "intervals": {"worker": {"sync_integrity": 1, "sync_agent_info": 1, "keep_alive": 1, "connection_retry": 1}},
    "link": {"native": "never", "reconnect_min": 0.1}
}"#;

/// What no master may change, and its content.
const OWN: [(&str, &str); 2] = [("etc/ossec.conf", "own"), ("secret", "secret")];

/// Counts the request that shows that all before it have been read.
const LAST: u32 = u32::MAX;

/// At the begin of a payload: the id that the worker gave last, of a string or of a task.
const ID: &[u8] = b"@";

struct Master {
    listener: TcpListener,
    worker: Node,
    link: RefCell<Option<Link>>,
}

thread_local! {
    static MASTER: Master = Master::new();
}

/// Each part is the name of a command and its payload; one that is an answer goes to what the worker has asked last.
pub fn body(input: &[u8]) {
    MASTER.with(|master| {
        let link = &mut *master.link.borrow_mut();
        let mut open = link.take().unwrap_or_else(|| master.accept());
        match open.say(input) {
            Ok(()) => *link = Some(open),
            // It has its reasons, and comes again.
            Err(error) => assert!(is_closed(&error), "no answer: {error}"),
        }
        master.check();
    });
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

impl Master {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let port = listener.local_addr().expect("it has one").port();
        let worker = Node::new("w", NodeType::Worker, port, SETTINGS);
        for (path, content) in OWN {
            fs::write(worker.directory.path().join(path), content).expect("a file");
        }
        Self { listener, worker, link: RefCell::default() }
    }

    /// The worker has connected, and was welcomed.
    fn accept(&self) -> Link {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Link::new(stream).expect("it says hello"),
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("the worker does not come: {error}"),
            }
        }
    }

    /// # Panics
    /// If something has changed that a master has no business with.
    fn check(&self) {
        let home = self.worker.directory.path();
        for (path, content) in OWN {
            assert_eq!(fs::read_to_string(home.join(path)).ok().as_deref(), Some(content), "{path}");
        }
        for (directory, known) in [
            ("", &["etc", "queue", "var", "logs", "secret"][..]),
            ("etc", &["ossec.conf", "client.keys", "shared", "rules", "decoders", "lists"]),
        ] {
            for entry in fs::read_dir(home.join(directory)).expect("it is there").flatten() {
                let name = entry.file_name();
                assert!(known.iter().any(|known| name == *known), "{directory}/{} was made", name.display());
            }
        }
    }
}

/// A connection of the worker.
struct Link {
    stream: TcpStream,
    fernet: Fernet,
    deframer: Deframer,
    /// The number of its request that is not answered yet.
    asked: Option<u32>,
    /// What it gave last.
    id: Vec<u8>,
    /// Of the file that it is sent.
    checksum: Sha256,
}

impl Link {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (fernet, deframer) = (cipher(), Deframer::new(Limits::FULL));
        let mut link = Self { stream, fernet, deframer, asked: None, id: Vec::new(), checksum: Sha256::new() };
        let hello = link.read()?;
        link.send(hello.counter, CommandField::new(Command::Ok), b"Client w added")?;
        Ok(link)
    }

    /// Says all of an input, each message after the answer to the one before.
    fn say(&mut self, input: &[u8]) -> io::Result<()> {
        let mut done = Ok(());
        messages(input, |counter, field, payload| {
            if done.is_ok() {
                done = self.message(counter, field, payload);
            }
        });
        done?;
        self.request(LAST, CommandField::new(Command::EchoMaster), b"over")?;
        // What it waits for would hold it up for long.
        match self.asked.take() {
            Some(asked) => self.send(asked, CommandField::new(Command::Ok), b"True"),
            None => Ok(()),
        }
    }

    fn message(&mut self, counter: u32, field: CommandField, payload: &[u8]) -> io::Result<()> {
        let mut payload = payload.strip_prefix(ID).map_or(payload.to_vec(), |rest| [&self.id, rest].concat());
        let command = Command::named(field.name());
        match command {
            Some(command) if command.is_answer() => {
                let asked = self.asked.take().unwrap_or(counter);
                return self.send(asked, field, &payload);
            }
            Some(Command::NewFile) => self.checksum.reset(),
            Some(Command::FileUpdate) => {
                let chunk = payload.iter().position(|byte| *byte == b' ').map_or(&[][..], |end| &payload[end + 1..]);
                self.checksum.update(chunk);
            }
            // No fuzzer finds a checksum.
            Some(Command::FileEnd) if !payload.contains(&b' ') => {
                payload.push(b' ');
                payload.extend_from_slice(&self.checksum.finalize_reset());
            }
            _ => {}
        }
        let answer = self.request(counter, field, &payload)?;
        if matches!(command, Some(Command::NewString | Command::IntegritySync)) {
            self.id = answer;
        }
        Ok(())
    }

    /// Sends a request, and reads until its answer.
    fn request(&mut self, counter: u32, field: CommandField, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.send(counter, field, payload)?;
        loop {
            let message = self.read()?;
            let body = self.fernet.open(message.body).expect("a worker seals what it sends");
            match Command::named(message.command.name()) {
                Some(command) if command.is_answer() => {
                    if message.counter == counter {
                        return Ok(body);
                    }
                }
                _ => self.asked = Some(message.counter),
            }
        }
    }

    fn send(&mut self, counter: u32, field: CommandField, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&sealed(&self.fernet, counter, field, payload))
    }

    fn read(&mut self) -> io::Result<Message> {
        loop {
            let count = match self.stream.read(self.deframer.space()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                count => count?,
            };
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(message) = self.deframer.arrived(count).expect("a worker keeps to the limits") {
                return Ok(message);
            }
        }
    }
}
