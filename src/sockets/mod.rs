//! The sockets at which other programs of this machine and this daemon meet: frames, HTTP, deadlines, a dialect of JSON,
//! one way to serve and one to ask. Not the control socket, which has frames of its own (`local`).

mod client;
mod door;
mod endpoint;
pub mod frame;
pub mod http;
pub(crate) mod json;
mod listener;
mod stream;
mod timed;

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::limits::PROGRAMS;
pub use door::{House, accept};
pub use endpoint::{Endpoint, Unanswered};
pub use listener::Listener;
pub use stream::{Accept, Port, Stream};
pub use timed::Timed;

/// What a program may take of a server.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Programs at one socket at a time.
    pub clients: usize,
    /// From the first byte of a request to its last.
    pub request: Duration,
    /// For each piece of an answer, of 128 KiB.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients: PROGRAMS, request: Duration::from_secs(30), answer: Duration::from_secs(5) }
    }
}

/// Holds the longest frame.
const PIECE: usize = 128 * 1024;

/// Writes an answer, or what there is of it. A program that does not take it is not waited for.
///
/// # Errors
/// Those of the stream.
pub fn send<S: Stream>(stream: &mut Timed<'_, S>, bytes: &[u8], limits: Limits) -> io::Result<()> {
    bytes.chunks(PIECE).try_for_each(|piece| {
        stream.within(limits.answer);
        stream.write_all(piece)
    })
}
