//! `queue/sockets/auth`: one request on each connection (`spec/registration.md` 2).

use std::{io, time::Duration};

use super::{Registrar, answer::Refusal};
use crate::{
    limits::PROGRAMS,
    sockets::{Limits, Stream, Timed, frame, send},
};

/// What a program may take: it sends its request as soon as it is connected.
pub(super) const LIMITS: Limits =
    Limits { clients: PROGRAMS, request: Duration::from_secs(5), answer: Duration::from_secs(5) };

/// Serves the one request of a program.
///
/// # Errors
/// When it does what no client does, does not take its answer in time, or has no answer to expect.
pub(super) fn talk(stream: &impl Stream, registrar: &Registrar) -> io::Result<()> {
    let mut stream = Timed::new(stream);
    stream.within(LIMITS.request);
    let Some(request) = frame::read(&mut stream, |_| ())? else { return Ok(()) };
    stream.is_busy();
    let answer = match registrar.ask(&request) {
        Ok(answer) => answer,
        Err(failed) if failed.sent => return Err(io::Error::other(failed)),
        Err(_) => Refusal::Internal.answer(),
    };
    let mut bytes = Vec::with_capacity(4 + answer.len());
    frame::write(&mut bytes, &answer)?;
    send(&mut stream, &bytes, LIMITS)
}
