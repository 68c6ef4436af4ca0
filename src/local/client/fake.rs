//! A daemon for tests: it listens in a temporary home and answers by a script.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::wire::{Command, CommandField, Deframer, Limits, Message, frame};

/// What the fake daemon does when a request has come.
pub(crate) enum Reply {
    /// Answers it.
    Answer(Command, Vec<u8>),
    /// Sends a request of its own, or an answer to something else.
    Request(u32, Command, Vec<u8>),
    /// Sends bytes as they are.
    Raw(Vec<u8>),
    /// Ends the connection.
    Close,
}

pub(crate) struct FakeDaemon {
    home: TempDir,
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Message>>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeDaemon {
    /// Starts a daemon whose `script` tells what to do for each request.
    pub(crate) fn start(script: impl Fn(&Message) -> Vec<Reply> + Send + 'static) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = socket(home.path());
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, hears) = (stop.clone(), heard.clone());
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                serve(stream, &script, &hears);
            }
        });
        Self { home, stop, heard, thread: Some(thread) }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.home.path())
    }

    /// Stops the daemon and gives everything that clients have sent to it.
    pub(crate) fn finish(mut self) -> Vec<Message> {
        self.join();
        std::mem::take(&mut *self.heard.lock())
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(self.socket());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.join();
    }
}

fn socket(home: &Path) -> PathBuf {
    home.join("queue/cluster/c-internal.sock")
}

fn serve(mut stream: UnixStream, script: &impl Fn(&Message) -> Vec<Reply>, heard: &Mutex<Vec<Message>>) {
    let mut deframer = Deframer::new(Limits::FULL);
    loop {
        let count = match stream.read(deframer.space()) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let Some(message) = deframer.arrived(count).unwrap() else { continue };
        let replies = if message.command.is_answer() { Vec::new() } else { script(&message) };
        let counter = message.counter;
        heard.lock().push(message);
        for reply in replies {
            let bytes = match reply {
                Reply::Answer(command, body) => bytes(counter, command, &body),
                Reply::Request(counter, command, body) => bytes(counter, command, &body),
                Reply::Raw(bytes) => bytes,
                Reply::Close => return,
            };
            // A client that has left early is a case of its own.
            let _ = stream.write_all(&bytes);
        }
    }
}

fn bytes(counter: u32, command: Command, body: &[u8]) -> Vec<u8> {
    [&frame::header(counter, body.len(), CommandField::new(command))[..], body].concat()
}
