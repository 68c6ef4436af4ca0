//! Servers for tests, and the database behind them.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{Answer, Limits, Serve, Servers};
use crate::{
    config::Home,
    sockets::frame,
    system::{
        clock::Clock,
        shutdown::{self, Trigger},
        thread::Group,
    },
};

/// Longer than any test.
pub(in crate::agents) const LONG: Duration = Duration::from_secs(60);

/// Answers by the first word of a request: `echo`, `due`, `err`, `long`, `rows`, `panic`, `wait`.
#[derive(Clone)]
pub(in crate::agents) struct Fake {
    /// What was stored over HTTP.
    pub(in crate::agents) stored: Arc<Mutex<Vec<String>>>,
    /// What is given over HTTP.
    pub(in crate::agents) pending: String,
    /// `wait` lasts until something comes.
    gate: (Sender<()>, Receiver<()>),
}

impl Fake {
    pub(in crate::agents) fn new() -> Self {
        Self { stored: Arc::default(), pending: "{}".into(), gate: unbounded() }
    }

    /// Ends one `wait`.
    pub(in crate::agents) fn release(&self) {
        self.gate.0.send(()).unwrap();
    }
}

impl Serve for Fake {
    fn answer(&self, request: String) -> Answer {
        let (word, rest) = request.split_once(' ').unwrap_or((&request, ""));
        match word {
            "echo" => Answer::Ok(rest.to_owned()),
            "due" => Answer::Due(rest.to_owned()),
            "long" => Answer::Ok("x".repeat(70_000)),
            "rows" => Answer::Rows(vec!["{\"id\":1}".repeat(rest.len() + 1); 3]),
            "panic" => panic!("as ordered"),
            "wait" => {
                self.gate.1.recv().unwrap();
                Answer::Ok("waited".to_owned())
            }
            _ => Answer::Err(format!("no {word}")),
        }
    }

    fn route(&self, method: &str, path: &str, body: String) -> (u16, String) {
        match (method, path) {
            ("GET", "/v1/agents/sync") => (200, self.pending.clone()),
            ("POST", "/v1/agents/sync") if body == "bad" => (500, String::new()),
            ("POST", "/v1/agents/sync") => {
                self.stored.lock().push(body);
                (200, String::new())
            }
            ("GET", "/wait") => {
                self.gate.1.recv().unwrap();
                (200, "{}".into())
            }
            (_, path) if path.starts_with("/echo/") => (200, format!("{method} {path} {body}")),
            _ => (404, String::new()),
        }
    }
}

/// Servers that run in a home.
pub(in crate::agents) struct Run {
    pub(in crate::agents) home: Home,
    trigger: Trigger,
    stop: Box<dyn FnOnce()>,
    threads: Group,
}

impl Run {
    pub(in crate::agents) fn start(directory: &TempDir, fake: &Fake) -> Self {
        Self::limited(directory, fake, |_| {})
    }

    pub(super) fn limited(directory: &TempDir, fake: &Fake, change: impl FnOnce(&mut Limits)) -> Self {
        let home = Home::new(directory.path());
        let mut servers = Servers::bind(&home).unwrap();
        servers.limits = Limits { clients: 16, request: LONG, answer: LONG };
        change(&mut servers.limits);
        let (trigger, token) = shutdown::channel();
        let (threads, stop) = (Group::new(2), Box::new(servers.stopper().unwrap()));
        servers.start(fake.clone(), &Clock::real(), &token, &threads).unwrap();
        Self { home, trigger, stop, threads }
    }

    /// Gives the order to stop; the threads may be there for a while.
    pub(in crate::agents) fn order(self) -> Group {
        drop(self.trigger);
        (self.stop)();
        self.threads
    }

    /// Stops the servers and sees that every thread ends.
    pub(in crate::agents) fn stop(self) {
        assert_eq!(self.order().join(Instant::now() + LONG), 0);
    }

    pub(super) fn wdb(&self) -> Program {
        Program::connect(self.home.agent_database_socket())
    }

    pub(super) fn http(&self) -> Program {
        Program::connect(self.home.agent_database_http_socket())
    }
}

/// A connected program.
pub(super) struct Program(pub(super) UnixStream);

impl Program {
    fn connect(path: PathBuf) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(stream)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(super) fn send(&mut self, request: &[u8]) {
        frame::write(&mut self.0, request).unwrap();
    }

    /// The next frame; none if the server closed the connection.
    pub(super) fn frame(&mut self) -> Option<String> {
        frame::read(&mut self.0, |_| {}).ok().flatten().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    pub(super) fn ask(&mut self, request: &str) -> Option<String> {
        frame::write(&mut self.0, request.as_bytes()).ok()?;
        self.frame()
    }

    /// All that comes until the server closes the connection.
    pub(super) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A connection that was broken off has ended, too.
        let _ = self.0.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    /// Exactly this comes.
    pub(super) fn expect(&mut self, text: &str) {
        let mut bytes = vec![0; text.len()];
        let read = self.0.read_exact(&mut bytes);
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        read.unwrap();
    }
}
