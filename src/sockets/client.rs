//! A connected program, and whether something is done for it.

use std::{
    io,
    net::Shutdown,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Stream;
use crate::limits::Guest;

/// A connected program.
pub struct Client<S> {
    stream: S,
    /// Since when it has been waited for a request or, if one has begun, for the rest of it; none while one is worked on.
    idle: Mutex<Option<Instant>>,
}

impl<S> Client<S> {
    /// One that has just connected.
    pub fn new(stream: S) -> Self {
        Self { stream, idle: Mutex::new(Some(Instant::now())) }
    }

    /// How it counts in a full house: all programs of this machine are one party.
    pub fn guest(&self) -> Guest<()> {
        Guest { party: (), idle: *self.idle.lock() }
    }
}

impl<S: Stream> Stream for Client<S> {
    fn read_within(&self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
        self.stream.read_within(buffer, limit)
    }

    fn write_within(&self, bytes: &[u8], limit: Option<Duration>) -> io::Result<usize> {
        self.stream.write_within(bytes, limit)
    }

    fn end(&self, how: Shutdown) -> io::Result<()> {
        self.stream.end(how)
    }

    fn is_idle(&self) {
        self.idle.lock().get_or_insert_with(Instant::now);
    }

    fn asks(&self) {
        *self.idle.lock() = Some(Instant::now());
    }

    fn is_busy(&self) {
        *self.idle.lock() = None;
    }
}
