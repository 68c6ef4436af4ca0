//! The network between a worker and its master, on a bad day.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

use parking_lot::Mutex;

use crate::frames::Frames;

/// What the network does to the bytes of one worker. `up` is the direction to the master.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    /// Passes them on.
    Fair,
    /// Holds each piece back for so long.
    Delayed(Duration),
    /// Passes on so many in a second.
    Narrow(u64),
    /// Passes on nothing in these directions, and loses nothing.
    Stalled { up: bool, down: bool },
    /// Closes every connection, and takes none.
    Parted,
    /// Closes the connection once, after so many more bytes.
    Cut { up: bool, after: u64 },
    /// Closes the connection once, in the middle of a frame.
    CutInFrame { up: bool, after: u64 },
    /// Changes one bit, once, after so many bytes.
    Flipped { up: bool, after: u64, bit: u8 },
    /// Sends a piece twice, once, after so many bytes.
    Twice { up: bool, after: u64 },
}

/// A relay in one worker's way.
pub struct Proxy {
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    weather: Mutex<Weather>,
    over: AtomicBool,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn weather(&self) -> Weather {
        *self.weather.lock()
    }
}

/// How often a waiting thread looks at the weather.
const GLANCE: Duration = Duration::from_millis(10);
/// What is passed on at once, at most.
const PIECE: usize = 16 * 1024;

impl Proxy {
    /// Listens at `here`, and relays to `there`.
    pub fn start(here: SocketAddr, there: SocketAddr) -> Self {
        let listener = TcpListener::bind(here).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared { weather: Mutex::new(Weather::Fair), over: AtomicBool::new(false) });
        let its = shared.clone();
        Self { shared, listener: Some(thread::spawn(move || accept(&listener, there, &its))) }
    }

    /// The weather from now on.
    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock() = weather;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = self.listener.take().unwrap().join();
    }
}

fn accept(listener: &TcpListener, there: SocketAddr, shared: &Arc<Shared>) {
    let mut relays: Vec<JoinHandle<()>> = Vec::new();
    while !shared.is_over() {
        let Ok((worker, _)) = listener.accept() else {
            sleep(GLANCE);
            continue;
        };
        let both = TcpStream::connect(there).ok().filter(|_| shared.weather() != Weather::Parted);
        // Whoever cannot be connected sees the connection closed.
        let Some(master) = both else { continue };
        for (up, from, to) in [(true, &worker, &master), (false, &master, &worker)] {
            let (from, to, shared) = (from.try_clone().unwrap(), to.try_clone().unwrap(), shared.clone());
            relays.push(thread::spawn(move || {
                Relay { up, from: &from, to: &to, shared: &shared, frames: Frames::default() }.run();
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            }));
        }
        relays.retain(|relay| !relay.is_finished());
    }
    relays.into_iter().for_each(|relay| relay.join().unwrap());
}

/// One direction of a connection.
struct Relay<'a> {
    up: bool,
    from: &'a TcpStream,
    to: &'a TcpStream,
    shared: &'a Shared,
    frames: Frames,
}

impl Relay<'_> {
    /// Until either end closes, or the weather does.
    fn run(&mut self) {
        self.from.set_nonblocking(false).unwrap();
        self.from.set_read_timeout(Some(GLANCE)).unwrap();
        self.to.set_write_timeout(Some(GLANCE)).unwrap();
        let _ = self.to.set_nodelay(true);
        let mut buffer = [0; PIECE];
        while self.pass() {
            match self.from.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if self.relay(&mut buffer[..length]).is_none() {
                        return;
                    }
                }
                Err(error) if is_silence(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Whether the connection goes on at all; waits while the weather holds it up.
    fn pass(&self) -> bool {
        loop {
            match self.shared.weather() {
                _ if self.shared.is_over() => return false,
                Weather::Parted => return false,
                Weather::Stalled { up, down } if (self.up && up) || (!self.up && down) => sleep(GLANCE),
                _ => return true,
            }
        }
    }

    /// None when the connection is to end.
    fn relay(&mut self, piece: &mut [u8]) -> Option<()> {
        let middle = self.frames.middle(piece);
        match self.shared.weather() {
            Weather::Delayed(delay) => sleep(delay),
            Weather::Narrow(rate) => {
                for part in piece.chunks((rate / 100).max(1) as usize) {
                    sleep(GLANCE);
                    self.send(part)?;
                }
                return Some(());
            }
            Weather::Cut { up, .. } if up == self.up => {
                if let Some(at) = self.is_due(piece.len()) {
                    self.send(&piece[..at])?;
                    return None;
                }
            }
            Weather::CutInFrame { up, .. } if up == self.up => {
                let due = self.is_due(piece.len());
                if let Some(at) = due.and(middle) {
                    self.send(&piece[..at])?;
                    return None;
                }
                if due.is_some() {
                    // Not in this piece, so in one of the next.
                    *self.shared.weather.lock() = Weather::CutInFrame { up, after: 0 };
                }
            }
            Weather::Flipped { up, bit, .. } if up == self.up => {
                if let Some(at) = self.is_due(piece.len()) {
                    piece[at] ^= 1 << bit;
                }
            }
            Weather::Twice { up, .. } if up == self.up && self.is_due(piece.len()).is_some() => self.send(piece)?,
            _ => {}
        }
        self.send(piece)
    }

    /// Counts what passes; gives where in this piece it is time. Then the weather is fair again.
    fn is_due(&self, length: usize) -> Option<usize> {
        let mut weather = self.shared.weather.lock();
        let (Weather::Cut { after, .. }
        | Weather::CutInFrame { after, .. }
        | Weather::Flipped { after, .. }
        | Weather::Twice { after, .. }) = &mut *weather
        else {
            return None;
        };
        if *after >= length as u64 {
            *after -= length as u64;
            return None;
        }
        let at = *after as usize;
        *weather = Weather::Fair;
        Some(at)
    }

    fn send(&self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            match (&mut &*self.to).write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                // The other end does not read now.
                Err(error) if is_silence(&error) && self.pass() => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
