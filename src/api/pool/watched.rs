//! A line that is read and written until it has to end.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::stop::Stop;

/// How often it is looked whether it has to end.
const LOOK: Duration = Duration::from_millis(100);

/// One end of the line to a process.
pub(super) struct Watched<'a> {
    line: &'a UnixStream,
    stop: &'a Stop<'a>,
}

impl<'a> Watched<'a> {
    /// `line` was [`prepare`]d.
    pub(super) fn new(line: &'a UnixStream, stop: &'a Stop<'a>) -> Self {
        Self { line, stop }
    }

    fn until(&self, mut act: impl FnMut(&UnixStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match act(self.line) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
                {
                    if let Some(why) = self.stop.error() {
                        return Err(io::Error::new(ErrorKind::TimedOut, why));
                    }
                }
                done => return done,
            }
        }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until(|mut line| line.read(buffer))
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until(|mut line| line.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has every wait at this end of a line be a short one.
pub(super) fn prepare(line: &UnixStream) -> io::Result<()> {
    line.set_read_timeout(Some(LOOK))?;
    line.set_write_timeout(Some(LOOK))
}
