//! The network between a worker and its master, in the hands of somebody who sees and changes all of it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use clusterd::{
    crypto::Fernet,
    wire::{CommandField, frame},
};
use parking_lot::Mutex;

use super::KEY;

/// Who has sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The worker.
    Worker,
    /// The master.
    Master,
}

/// What is done with a frame: what is sent in its place.
type Change = Box<dyn FnMut(From, Vec<u8>) -> Vec<u8> + Send>;

/// Relays connections frame by frame, and keeps all of them.
pub struct Wire {
    /// Where the worker connects.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    master: u16,
    frames: Mutex<Vec<(From, Vec<u8>)>>,
    change: Mutex<Change>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Wire {
    /// To the master at `port` of this machine.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            master: port,
            frames: Mutex::default(),
            change: Mutex::new(Box::new(|_, frame| frame)),
            connections: Mutex::default(),
        });
        let this = Self { port: listener.local_addr().unwrap().port(), shared: shared.clone() };
        thread::spawn(move || {
            for worker in listener.incoming() {
                // It ends with the test.
                let (Ok(worker), Ok(master)) = (worker, TcpStream::connect(("127.0.0.1", shared.master))) else {
                    continue;
                };
                let [also_worker, also_master] = [&worker, &master].map(|stream| stream.try_clone().unwrap());
                shared.connections.lock().extend([&worker, &master].map(|stream| stream.try_clone().unwrap()));
                let (up, down) = (shared.clone(), shared.clone());
                thread::spawn(move || up.relay(From::Worker, worker, master));
                thread::spawn(move || down.relay(From::Master, also_master, also_worker));
            }
        });
        this
    }

    /// What has passed so far, as it was sent.
    pub fn frames(&self) -> Vec<(From, Vec<u8>)> {
        self.shared.frames.lock().clone()
    }

    /// What one end has sent so far.
    pub fn sent_by(&self, sender: From) -> Vec<Vec<u8>> {
        self.frames().into_iter().filter(|(from, _)| *from == sender).map(|(_, frame)| frame).collect()
    }

    /// Changes all that passes from now on.
    pub fn change(&self, change: impl FnMut(From, Vec<u8>) -> Vec<u8> + Send + 'static) {
        *self.shared.change.lock() = Box::new(change);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn relay(&self, sender: From, mut from: TcpStream, mut to: TcpStream) {
        while let Some(frame) = read_frame(&mut from) {
            self.frames.lock().push((sender, frame.clone()));
            let frame = (self.change.lock())(sender, frame);
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// The next frame; none if the connection has ended.
pub fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; frame::HEADER];
    stream.read_exact(&mut bytes).ok()?;
    bytes.resize(frame::HEADER + frame::size(&bytes), 0);
    stream.read_exact(&mut bytes[frame::HEADER..]).ok()?;
    Some(bytes)
}

/// The name of the command in the header of a frame.
pub fn command(frame: &[u8]) -> &str {
    let field = std::str::from_utf8(&frame[8..20]).unwrap();
    field.split(' ').next().unwrap()
}

/// The same frame with its payload changed, by somebody who has the key, as nobody on the way has.
pub fn rewritten(frame: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    let fernet = Fernet::new(KEY.as_bytes().try_into().unwrap());
    let payload = change(String::from_utf8(fernet.open(frame[20..].to_vec()).unwrap()).unwrap());
    let mut bytes = vec![0; frame::HEADER];
    fernet.seal(payload.as_bytes(), 0, [7; 16], &mut bytes);
    let counter = u32::from_be_bytes(frame[..4].try_into().unwrap());
    frame::complete(&mut bytes, counter, CommandField::received(frame[8..20].try_into().unwrap()), payload.len());
    bytes
}
