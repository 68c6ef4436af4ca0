//! A program at the HTTP socket: requests on a connection that stays, one at a time.

mod request;
mod room;

use std::{
    io::{self, BufReader, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use super::{Serve, guard};
use crate::sockets::{Limits, Timed, send};
pub(super) use request::BODIES;
use request::{Fault, Request};
pub(super) use room::Room;

/// Serves the program until it goes.
///
/// # Errors
/// When it breaks off, sends what is no request, or does not take its answer in time.
pub(super) fn talk(stream: &UnixStream, serve: &impl Serve, limits: Limits, room: &Room) -> io::Result<()> {
    let mut reader = BufReader::new(Timed::new(stream));
    loop {
        match request::read(&mut reader, limits, room) {
            Ok(None) => return Ok(()),
            Ok(Some(Request { method, path, body, share, stays, .. })) => {
                let (status, body) = guard(|| serve.route(&method, &path, body)).unwrap_or((500, String::new()));
                drop(share);
                let answer = response(status, &body, stays);
                // The answer to HEAD tells the length of a body that does not follow.
                let length = if method == "HEAD" { answer.len() - body.len() } else { answer.len() };
                send(reader.get_mut(), &answer[..length], limits)?;
                if !stays {
                    return Ok(());
                }
            }
            Err(Fault::Bad(status)) => {
                send(reader.get_mut(), &response(status, "", false), limits)?;
                linger(stream, reader, limits);
                return Err(io::Error::other(format!("it sent what is refused with {status} {}", reason(status))));
            }
            Err(Fault::Gone(error)) => return Err(error),
        }
    }
}

/// Lets the program read the refusal: closing a socket with something unread would break off what it still sends.
fn linger(stream: &UnixStream, mut reader: BufReader<Timed<'_>>, limits: Limits) {
    reader.get_mut().within(limits.answer);
    // Whatever goes wrong here, the connection ends.
    let _ = stream.shutdown(Shutdown::Write).and_then(|()| io::copy(&mut reader, &mut io::sink()));
}

fn response(status: u16, body: &str, stays: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128 + body.len());
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let end = if stays { "" } else { "Connection: close\r\n" };
    let (reason, length) = (reason(status), body.len());
    // Writing to memory does not fail.
    let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\n{kind}Content-Length: {length}\r\n{end}\r\n{body}");
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}
