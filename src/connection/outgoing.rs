//! Files and strings that this side sends (`spec/protocol.md` 8.1, 9).

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};

use super::{Begun, Connection, RequestError};
use crate::{limits, wire::Command};

/// Bytes of content in one message. Any size up to 5 MiB is legal; this one keeps the buffers small and gives a slow
/// link time for each.
const CHUNK: usize = 512 * 1024;

/// Chunks of a file that may be under way in a session, so that one is sealed while the one before is opened. A peer with the
/// standard protocol gets the next when it has answered (`spec/protocol.md` 8.1).
const WINDOW: usize = 2;

/// What others see of the sending of a file, and can do about it.
#[derive(Default)]
pub struct Transfer {
    cancelled: AtomicBool,
    sent: AtomicU64,
}

impl Transfer {
    /// Stops it between two chunks.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether it is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Bytes of content that have gone out.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Sends a file while it is being written: what is written here goes out in chunks, of which one, or two in a session, is in
/// flight while the next is being filled.
pub struct FileSender<'a> {
    connection: &'a Connection,
    path: String,
    /// The path, a blank, and the content of the chunk.
    payload: Vec<u8>,
    sum: Sha256,
    /// The chunks whose answers have not come yet, in their order.
    in_flight: VecDeque<Begun>,
    transfer: Arc<Transfer>,
}

impl<'a> FileSender<'a> {
    /// Announces the file `path`, which is relative to the home.
    ///
    /// # Errors
    /// When the peer refuses the path.
    pub fn begin(connection: &'a Connection, path: &str, transfer: Arc<Transfer>) -> Result<Self, RequestError> {
        let path = format!("/{path}");
        connection.request(Command::NewFile, path.as_bytes())?;
        let (payload, sum, in_flight) = (Vec::new(), Sha256::new(), VecDeque::new());
        let mut sender = Self { connection, path, payload, sum, in_flight, transfer };
        sender.start_chunk();
        Ok(sender)
    }

    /// Sends what is left and the checksum; gives the length of the whole file in bytes.
    ///
    /// # Errors
    /// When the peer has not received the file as it was sent, or has cancelled the transfer.
    pub fn finish(mut self) -> Result<u64, RequestError> {
        self.send_chunk()?;
        self.leave_in_flight(0)?;
        let mut payload = format!("{} ", self.path).into_bytes();
        payload.extend_from_slice(&self.sum.finalize());
        self.connection.request(Command::FileEnd, payload)?;
        Ok(self.transfer.sent())
    }

    fn start_chunk(&mut self) {
        self.payload.reserve_exact(self.path.len() + 1 + CHUNK);
        self.payload.extend_from_slice(self.path.as_bytes());
        self.payload.push(b' ');
    }

    fn content(&self) -> usize {
        self.payload.len() - self.path.len() - 1
    }

    fn send_chunk(&mut self) -> Result<(), RequestError> {
        if self.content() == 0 {
            return Ok(());
        }
        if self.transfer.is_cancelled() {
            return Err(RequestError::Closed { reason: "the peer cancelled the transfer".into() });
        }
        self.sum.update(&self.payload[self.path.len() + 1..]);
        self.transfer.sent.fetch_add(self.content() as u64, Ordering::Relaxed);
        // A short one could overtake those before it.
        let is_large = self.payload.len() > limits::LARGE;
        self.leave_in_flight(if is_large && self.connection.in_session() { WINDOW - 1 } else { 0 })?;
        let payload = std::mem::take(&mut self.payload);
        let limit = self.connection.0.request_timeout;
        self.in_flight.push_back(self.connection.begin_within(limit, Command::FileUpdate, payload)?);
        self.start_chunk();
        Ok(())
    }

    /// Waits until no more than so many chunks have no answer.
    fn leave_in_flight(&mut self, most: usize) -> Result<(), RequestError> {
        while self.in_flight.len() > most {
            self.in_flight.pop_front().map_or(Ok(()), |begun| begun.wait().map(drop))?;
        }
        Ok(())
    }
}

impl Write for FileSender<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = data.len().min(CHUNK - self.content());
        self.payload.extend_from_slice(&data[..count]);
        if self.content() == CHUNK {
            self.send_chunk().map_err(io::Error::other)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends `length` bytes of `content` as a string; gives the id under which the peer keeps it.
///
/// # Errors
/// When the peer refuses it, does not answer, or gives an id that is none, and when `content` cannot be read.
pub fn send_string(connection: &Connection, length: usize, mut content: impl Read) -> Result<String, RequestError> {
    let id = connection.request(Command::NewString, length.to_string()).inspect_err(|_| {
        // The peer may have made room for it and only its answer was lost.
        let _ = connection.request(Command::StringFailed, length.to_string());
    })?;
    let id = String::from_utf8(id).map_err(|_| RequestError::Unexpected("a string id that is not text".into()))?;
    let mut left = length;
    while left > 0 {
        let (mut payload, count) = (format!("{id} ").into_bytes(), left.min(CHUNK));
        let start = payload.len();
        payload.resize(start + count, 0);
        content
            .read_exact(&mut payload[start..])
            .map_err(|error| RequestError::Closed { reason: format!("what was to be sent cannot be read: {error}") })?;
        connection.request(Command::StringUpdate, payload)?;
        left -= count;
    }
    Ok(id)
}
