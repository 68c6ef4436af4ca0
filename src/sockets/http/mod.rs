//! HTTP/1.1: requests of programs on a connection that stays, one at a time; and answers to what this daemon asks.

pub mod answer;
pub(crate) mod head;
mod request;
mod room;

use std::{
    io::{self, BufReader, Write},
    net::Shutdown,
};

use super::{Limits, Stream, Timed, send};
use request::Fault;
pub use request::{Request, Terms};
pub use room::{Room, Share};

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// One of those that [`reason`] knows.
    pub status: u16,
    /// Header lines, each with its line end.
    pub headers: String,
    /// UTF-8.
    pub body: String,
}

impl Response {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

/// Serves the program until it goes. `route` gives no answer when it failed.
///
/// # Errors
/// When it breaks off, sends what is no request, or does not take its answer in time.
pub fn talk<S: Stream>(stream: &S, route: impl Fn(Request) -> Option<Response>, terms: &Terms) -> io::Result<()> {
    let mut reader = BufReader::new(Timed::new(stream));
    loop {
        match request::read(&mut reader, terms) {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => {
                reader.get_ref().is_busy();
                let (stays, head_only) = (request.stays, request.method == "HEAD");
                let response = route(request).unwrap_or_else(|| Response::empty(500));
                let answer = bytes(&response, stays);
                // The answer to HEAD tells the length of a body that does not follow.
                let length = if head_only { answer.len() - response.body.len() } else { answer.len() };
                send(reader.get_mut(), &answer[..length], terms.limits)?;
                if !stays {
                    return Ok(());
                }
            }
            Err(Fault::Bad(status)) => {
                send(reader.get_mut(), &bytes(&Response::empty(status), false), terms.limits)?;
                linger(stream, reader, terms.limits);
                return Err(io::Error::other(format!("it sent what is refused with {status} {}", reason(status))));
            }
            Err(Fault::Gone(error)) => return Err(error),
        }
    }
}

/// Lets the program read the refusal: closing a socket with something unread would break off what it still sends.
fn linger<S: Stream>(stream: &S, mut reader: BufReader<Timed<'_, S>>, limits: Limits) {
    reader.get_mut().within(limits.answer);
    // Whatever goes wrong here, the connection ends.
    let _ = stream.end(Shutdown::Write).and_then(|()| io::copy(&mut reader, &mut io::sink()));
}

fn bytes(Response { status, headers, body }: &Response, stays: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256 + headers.len() + body.len());
    let end = if stays { "" } else { "Connection: close\r\n" };
    let (reason, length) = (reason(*status), body.len());
    // Writing to memory does not fail.
    let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: {length}\r\n{end}\r\n{body}");
    bytes
}

/// The words for a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}
