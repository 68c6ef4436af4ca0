//! Files and strings that this side sends (`spec/protocol.md` 8.1, 9).

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, TrySendError, bounded};
use sha2::{Digest, Sha256};

use super::{Begun, Connection, RequestError, request::no_room};
use crate::{
    limits::{self, Place, Share},
    system::thread::{guard, spawn},
    wire::Command,
};

/// Bytes of content in one message. Any size up to 5 MiB is legal; this one keeps the buffers small and gives a slow
/// link time for each.
const CHUNK: usize = 512 * 1024;

/// Up to here a file takes no more memory than it needs.
const SHORT: usize = 8 * 1024;

/// Chunks of a file that may be under way in a session, so that some are made and sealed while those before are opened; with
/// two of them one end often waits for the other. A peer with the standard protocol gets the next when it has answered
/// (`spec/protocol.md` 8.1).
const WINDOW: usize = 4;

/// Over a link on which a chunk is answered later than that, one is under way at a time, as all have to be answered in the time
/// of a request.
const QUICK: Duration = Duration::from_secs(1);

/// What others see of the sending of a file, and can do about it.
#[derive(Default)]
pub struct Transfer {
    cancelled: AtomicBool,
    /// When it is to have come to its end.
    ends: OnceLock<Instant>,
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

    /// After this time it is cancelled before its next chunk.
    pub fn must_end(&self, at: Instant) {
        let _ = self.ends.set(at);
    }

    fn check_time(&self, now: Instant) -> Result<(), RequestError> {
        if self.ends.get().is_some_and(|ends| now > *ends) {
            self.cancel();
            return Err(lost("the peer has not taken all of the file in time"));
        }
        self.check()
    }

    fn check(&self) -> Result<(), RequestError> {
        if self.is_cancelled() { Err(lost("the peer cancelled the transfer")) } else { Ok(()) }
    }

    /// Bytes of content that have gone out.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Sends a file while it is being written: what is written here goes out in chunks. From the second on a thread of their own
/// sends them, so that one is made while the one before is hashed, sealed and sent: besides the chunk that is
/// filled here, one waits and up to four are on their way, 3 MiB in all.
pub struct FileSender {
    path: String,
    /// The path, a blank, and the content of the chunk.
    payload: Vec<u8>,
    course: Course,
    transfer: Arc<Transfer>,
    /// Of whoever writes the file.
    place: Option<Place>,
    /// For a file of several chunks: [`limits::LONG_FILE`].
    room: Option<Share>,
}

/// Who sends the chunks.
enum Course {
    /// Whoever writes the file: there was no more than one.
    Here(Box<Sending>),
    /// A thread that takes them from a queue.
    Queue(Sender<Vec<u8>>, JoinHandle<Sent>),
    /// Nobody any more: this has failed.
    Failed(RequestError),
}

/// What the thread gives back at its end.
type Sent = Result<Box<Sending>, RequestError>;

impl FileSender {
    /// Announces the file `path`, which is relative to the home.
    ///
    /// # Errors
    /// When the peer refuses the path; in a session that is told later, because nobody waits for its answer.
    pub fn begin(connection: &Connection, path: &str, transfer: Arc<Transfer>) -> Result<Self, RequestError> {
        let path = format!("/{path}");
        let announced = connection.begin(Command::NewFile, path.as_bytes())?;
        let mut sending = Sending {
            connection: connection.clone(),
            head: path.len() + 1,
            sum: Sha256::new(),
            in_flight: VecDeque::from([(None, announced)]),
            quick: false,
            chunks: 0,
            ends_large: false,
            transfer: transfer.clone(),
        };
        sending.leave_in_flight(if connection.in_session() { 1 } else { 0 })?;
        Ok(Self {
            path,
            payload: Vec::new(),
            course: Course::Here(Box::new(sending)),
            transfer,
            place: None,
            room: None,
        })
    }

    /// Steps out of this place in a line whenever it waits for the peer, and leaves it when no more is written.
    pub fn in_line(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Sends what is left and the checksum; gives the length of the whole file in bytes.
    ///
    /// # Errors
    /// When the peer has not received the file as it was sent, or has cancelled the transfer.
    pub fn finish(mut self) -> Result<u64, RequestError> {
        self.place = None;
        if self.content() > 0 {
            self.send_chunk()?;
        }
        self.end()?.finish(format!("{} ", self.path).into_bytes())?;
        Ok(self.transfer.sent())
    }

    /// Makes room for `count` more bytes of content. Most files are short; those that are not get all of a chunk at once.
    fn make_room(&mut self, count: usize) {
        if self.payload.is_empty() {
            self.payload.extend_from_slice(self.path.as_bytes());
            self.payload.push(b' ');
        }
        let (length, most) = (self.payload.len(), self.path.len() + 1 + CHUNK);
        if self.payload.capacity() < length + count {
            let room = if length + count > SHORT { most } else { SHORT };
            self.payload.reserve_exact(room - length);
        }
    }

    fn content(&self) -> usize {
        self.payload.len().saturating_sub(self.path.len() + 1)
    }

    fn send_chunk(&mut self) -> Result<(), RequestError> {
        self.transfer.check()?;
        let payload = std::mem::take(&mut self.payload);
        let Self { course, place, room, .. } = self;
        if let Course::Here(sending) = course
            && sending.chunks > 0
        {
            if room.is_none() {
                *room = Some(aside(place, || sending.connection.hold(limits::LONG_FILE).map_err(no_room))?);
            }
            self.start_thread();
        }
        let Self { course, place, .. } = self;
        let sent = match course {
            // It is the first, or the kernel has refused a thread.
            Course::Here(sending) => return aside(place, || sending.chunk(payload)),
            Course::Queue(queue, _) => match queue.try_send(payload) {
                Err(TrySendError::Full(payload)) => aside(place, || queue.send(payload).map_err(|_| over())),
                sent => sent.map_err(|_| over()),
            },
            Course::Failed(_) => Err(over()),
        };
        // What the thread has met says more.
        sent.or_else(|error| self.end().and(Err(error)))
    }

    fn start_thread(&mut self) {
        // It is handed over when there is a thread to take it.
        let (queue, chunks) = bounded(1);
        let (give, take) = bounded::<Box<Sending>>(1);
        let Ok(thread) = spawn("send", move || {
            let mut sending = take.recv().map_err(|_| lost("nobody sends it"))?;
            let sent = guard(|| chunks.iter().try_for_each(|payload| sending.chunk(payload)));
            sent.unwrap_or_else(|panic| Err(lost(&panic))).map(|()| sending)
        }) else {
            return;
        };
        let course = std::mem::replace(&mut self.course, Course::Queue(queue, thread));
        if let Course::Here(sending) = course {
            let _ = give.send(sending);
        }
    }

    /// No more chunks come: waits for the thread, and gives what it has.
    fn end(&mut self) -> Sent {
        self.place = None;
        let sent = match std::mem::replace(&mut self.course, Course::Failed(over())) {
            Course::Here(sending) => Ok(sending),
            Course::Failed(error) => Err(error),
            Course::Queue(queue, thread) => {
                drop(queue);
                thread.join().unwrap_or_else(|_| Err(over()))
            }
        };
        if let Err(error) = &sent {
            self.course = Course::Failed(error.clone());
        }
        sent
    }
}

impl Drop for FileSender {
    fn drop(&mut self) {
        // What is sent next is not to overtake a chunk.
        let _ = self.end();
    }
}

impl Write for FileSender {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = data.len().min(CHUNK - self.content());
        self.make_room(count);
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

/// The messages of a file on their way.
///
/// A peer with the standard protocol gets each when it has answered the one before. In a session they follow each other, as
/// far as they cannot overtake each other: large ones go another way than short ones.
struct Sending {
    connection: Connection,
    /// Bytes of a payload before the content.
    head: usize,
    sum: Sha256,
    /// Those whose answers have not come yet, in their order; of a large one also when it was sent.
    in_flight: VecDeque<(Option<Instant>, Begun)>,
    /// Whether the last large chunk was answered soon enough for several to be under way.
    quick: bool,
    /// How many chunks there were.
    chunks: u64,
    /// Whether the last one is large.
    ends_large: bool,
    transfer: Arc<Transfer>,
}

impl Sending {
    fn chunk(&mut self, payload: Vec<u8>) -> Result<(), RequestError> {
        self.transfer.check_time(self.connection.0.clock.now())?;
        let content = &payload[self.head..];
        self.sum.update(content);
        self.transfer.sent.fetch_add(content.len() as u64, Ordering::Relaxed);
        let is_large = payload.len() > limits::LARGE;
        // The first stands behind a short message; only a short one cannot overtake that.
        let most = match (self.connection.in_session(), self.chunks) {
            (true, 0) if !is_large => self.in_flight.len(),
            (true, 1..) if is_large && self.quick => WINDOW - 1,
            _ => 0,
        };
        (self.chunks, self.ends_large) = (self.chunks + 1, is_large);
        // Without a session it is sealed while the answer to the one before is on its way.
        let ready = self.connection.prepare_sealed(Command::FileUpdate, payload)?;
        self.leave_in_flight(most)?;
        let begun = ready.send(self.connection.0.request_timeout)?;
        self.in_flight.push_back((is_large.then(Instant::now), begun));
        Ok(())
    }

    /// Sends the checksum of the file behind `payload`, and waits for all answers.
    fn finish(mut self, mut payload: Vec<u8>) -> Result<(), RequestError> {
        if self.ends_large || !self.connection.in_session() {
            self.leave_in_flight(0)?;
        }
        payload.extend_from_slice(&std::mem::take(&mut self.sum).finalize());
        let begun = self.connection.begin(Command::FileEnd, payload)?;
        self.in_flight.push_back((None, begun));
        self.leave_in_flight(0)
    }

    /// Waits until no more than so many messages have no answer.
    fn leave_in_flight(&mut self, most: usize) -> Result<(), RequestError> {
        while self.in_flight.len() > most
            && let Some((sent, begun)) = self.in_flight.pop_front()
        {
            begun.wait()?;
            if let Some(sent) = sent {
                self.quick = sent.elapsed() < QUICK;
            }
        }
        Ok(())
    }
}

/// Waits for the peer, out of this place.
fn aside<T>(place: &mut Option<Place>, wait: impl FnOnce() -> Result<T, RequestError>) -> Result<T, RequestError> {
    match place {
        Some(place) => place.aside(wait).unwrap_or_else(|| Err(over())),
        None => wait(),
    }
}

fn over() -> RequestError {
    lost("the transfer is over")
}

fn lost(reason: &str) -> RequestError {
    RequestError::Closed { reason: reason.to_owned() }
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
