//! A process that executes one request at a time.

use std::{
    io::{self, ErrorKind, Read},
    os::{fd::AsRawFd, unix::net::UnixStream},
    sync::Arc,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};

use super::{parent::Parent, stop::Stop, watched::Watched};
use crate::{
    framework::{Kind, header, log, send},
    limits,
    logging::Scope,
    wire::ErrorObject,
};

/// The longest text about the end of a child, in bytes.
const LONGEST_FATE: u64 = 256;

/// One child, which is killed when this is dropped.
pub(super) struct Child {
    pub(super) number: u32,
    pub(super) line: UnixStream,
    /// Where the parent tells how it ended.
    pub(super) fate: UnixStream,
    pub(super) parent: Arc<Parent>,
    /// It ends after this request.
    pub(super) last: bool,
}

/// What came of a request.
pub(super) enum Said {
    /// A result of so many bytes, which can be read from [`Child::line`] now.
    Result(usize),
    /// Why there is none.
    Refused(String),
}

impl Child {
    pub(super) fn line(&self) -> &UnixStream {
        &self.line
    }

    pub(super) fn is_of(&self, parent: &Arc<Parent>) -> bool {
        Arc::ptr_eq(&self.parent, parent)
    }

    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// Whether it waits for a request.
    pub(super) fn waits(&self) -> bool {
        self.peek() == Err(Errno::EAGAIN)
    }

    /// Whether it has ended, and all that it wrote was read.
    pub(super) fn has_ended(&self) -> bool {
        self.peek() == Ok(0)
    }

    fn peek(&self) -> Result<usize, Errno> {
        recv(self.line.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
    }

    /// Hands a request over, and waits for what comes of it.
    ///
    /// # Errors
    /// When it has ended, or `stop` came first.
    pub(super) fn ask(&mut self, request: &[u8], stop: &Stop<'_>, scope: &Scope) -> io::Result<Said> {
        let line = self.line.try_clone()?;
        let mut line = Watched::new(&line, stop);
        send(&mut line, Kind::Request, request)?;
        loop {
            let (kind, length) = header(&mut line)?;
            match kind {
                Kind::Result if length <= limits::API => return Ok(Said::Result(length)),
                Kind::Refused => {
                    let text = short(&mut line, length)?;
                    return Ok(Said::Refused(String::from_utf8_lossy(&text).into_owned()));
                }
                Kind::Log => log(scope, &short(&mut line, length)?),
                Kind::Last => self.last = true,
                Kind::Request | Kind::Result | Kind::Ready | Kind::Failed => return Err(out_of_turn()),
            }
            // One that never stops to tell something is to end, too.
            if stop.error().is_some() {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// Waits until it can take requests.
    ///
    /// # Errors
    /// As [`Child::ask`].
    pub(super) fn ready(&self, stop: &Stop<'_>, scope: &Scope) -> io::Result<()> {
        ready(&mut Watched::new(&self.line, stop), scope).map(drop)
    }

    /// Has it end, if it has not; what whoever asked is told then.
    pub(super) fn ended(&self) -> ErrorObject {
        self.parent.kill(self.number);
        let mut how = String::new();
        // A parent that does not tell it in time is about to be replaced.
        let _ = (&self.fate).take(LONGEST_FATE).read_to_string(&mut how);
        let how = if how.is_empty() { "nobody knows how" } else { &how };
        ErrorObject::unexpected(format!("the executor ended ({how})"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.parent.kill(self.number);
    }
}

/// Reads the payload of a frame that is a short text.
fn short(line: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > limits::REQUEST {
        return Err(out_of_turn());
    }
    let mut text = vec![0; length];
    line.read_exact(&mut text)?;
    Ok(text)
}

/// Waits for the frame that tells the version of the framework; gives it.
///
/// # Errors
/// As [`Child::ask`]; also when the program tells that it cannot begin, and why.
pub(super) fn ready(line: &mut impl Read, scope: &Scope) -> io::Result<String> {
    loop {
        let (kind, length) = header(line)?;
        let text = short(line, length)?;
        match kind {
            Kind::Ready => return Ok(String::from_utf8_lossy(&text).into_owned()),
            Kind::Failed => return Err(io::Error::other(String::from_utf8_lossy(&text).into_owned())),
            Kind::Log => log(scope, &text),
            _ => return Err(out_of_turn()),
        }
    }
}

fn out_of_turn() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the executor wrote what nobody asked for")
}
