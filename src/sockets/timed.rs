//! A stream on which no read or write waits for longer than it may.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use super::Stream;
use crate::system::shutdown::Shutdown;

/// How long the order to stop may go unseen by a wait that nobody else ends.
const SLICE: Duration = Duration::from_millis(500);

/// A stream with one deadline for all that is read and written until the next is set.
pub struct Timed<'a, S = UnixStream> {
    stream: &'a S,
    deadline: Option<Instant>,
    shutdown: Option<&'a Shutdown>,
}

impl<'a, S: Stream> Timed<'a, S> {
    /// Without a deadline; somebody else shuts the stream when the process ends.
    pub fn new(stream: &'a S) -> Self {
        Self { stream, deadline: None, shutdown: None }
    }

    /// With a deadline, and ended by the order to stop.
    pub fn until_shutdown(stream: &'a S, deadline: Instant, shutdown: &'a Shutdown) -> Self {
        Self { stream, deadline: Some(deadline), shutdown: Some(shutdown) }
    }

    /// Gives what follows this long from now on.
    pub fn within(&mut self, limit: Duration) {
        self.deadline = Some(Instant::now() + limit);
    }

    /// What follows waits for a request.
    pub fn is_idle(&self) {
        self.stream.is_idle();
    }

    /// What follows waits for the rest of a request.
    pub fn asks(&self) {
        self.stream.asks();
    }

    /// What follows is the work on a request, and its answer.
    pub fn is_busy(&self) {
        self.stream.is_busy();
    }

    /// Gives what follows all the time it wants.
    pub fn for_ever(&mut self) {
        self.deadline = None;
    }

    fn patiently<T>(&self, mut attempt: impl FnMut(Option<Duration>) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(turn(self.deadline, self.shutdown)?) {
                Err(error) if is_again(&error) => {}
                outcome => return outcome,
            }
        }
    }
}

impl<S: Stream> Read for Timed<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(|limit| self.stream.read_within(buffer, limit))
    }
}

impl<S: Stream> Write for Timed<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|limit| self.stream.write_within(bytes, limit))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long the next wait may take; none if without end.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when the deadline has passed, [`io::ErrorKind::ConnectionAborted`] when the order to stop
/// was given.
pub(super) fn turn(deadline: Option<Instant>, shutdown: Option<&Shutdown>) -> io::Result<Option<Duration>> {
    if shutdown.is_some_and(Shutdown::ordered) {
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "this node is stopping"));
    }
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "its time is over"));
    }
    let slice = shutdown.map(|_| SLICE);
    Ok(left.into_iter().chain(slice).min())
}

/// Whether a wait ended without an outcome.
pub(super) fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::shutdown;

    #[test]
    fn a_wait_ends_at_the_deadline_and_with_the_order_to_stop() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let (trigger, token) = shutdown::channel();
        let mut timed = Timed::new(&stream);
        timed.within(Duration::from_millis(20));
        assert_eq!(timed.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);

        let far = Instant::now() + Duration::from_secs(600);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| Timed::until_shutdown(&stream, far, &token).read(&mut [0]).unwrap_err().kind());
            drop(trigger);
            assert_eq!(waits.join().unwrap(), io::ErrorKind::ConnectionAborted);
        });
    }
}
