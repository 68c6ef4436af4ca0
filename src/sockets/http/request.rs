//! Reading one HTTP request.

use std::{
    io::{self, BufRead, BufReader, Read},
    time::Duration,
};

use super::{
    head,
    room::{Room, Share},
};
use crate::sockets::{Limits, Stream, Timed, send};

/// What a program may take of a server, beside its [`Limits`].
#[derive(Clone)]
pub struct Terms {
    /// Time limits.
    pub limits: Limits,
    /// How long a connection may wait for its next request; for ever without.
    pub idle: Option<Duration>,
    /// The longest body, in bytes.
    pub body: u64,
    /// For the bodies of all programs together.
    pub room: Room,
}

/// A request whose body has come.
#[derive(Debug)]
pub struct Request {
    /// As it came.
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    /// The header `Host`, in lower case; empty if there is none.
    pub host: String,
    /// What follows the head.
    pub body: String,
    /// What the body takes of all bodies, until this is dropped.
    pub share: Option<Share>,
    /// Whether the connection stays for another request.
    pub(super) stays: bool,
    length: u64,
    /// Whether the program waits to be told that its body is welcome.
    waits: bool,
}

/// Why there is no request.
pub(super) enum Fault {
    /// It deserves this status.
    Bad(u16),
    /// There is nobody to answer.
    Gone(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// The next request, `None` if the program has gone. It may come while the connection may be idle, and then has to be
/// complete in time.
pub(super) fn read<S: Stream>(reader: &mut BufReader<Timed<'_, S>>, terms: &Terms) -> Result<Option<Request>, Fault> {
    let limits = terms.limits;
    reader.get_ref().is_idle();
    match terms.idle {
        Some(idle) => reader.get_mut().within(idle),
        None => reader.get_mut().for_ever(),
    }
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    reader.get_ref().asks();
    reader.get_mut().within(limits.request);
    let bytes = head::read(reader).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Fault::Bad(431),
        _ => Fault::Gone(error),
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let mut request = parse(&bytes, terms.body).map_err(Fault::Bad)?;
    request.share = Some(terms.room.take(request.length).ok_or(Fault::Bad(503))?);
    if request.waits && request.length > 0 && reader.buffer().is_empty() {
        send(reader.get_mut(), b"HTTP/1.1 100 Continue\r\n\r\n", limits)?;
        reader.get_mut().within(limits.request);
    }
    let mut body = Vec::new();
    let count = reader.by_ref().take(request.length).read_to_end(&mut body)?;
    if (count as u64) < request.length {
        return Err(Fault::Gone(io::ErrorKind::UnexpectedEof.into()));
    }
    request.body = String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into());
    Ok(Some(request))
}

/// What a head says, or the status that it deserves; a body may have so many bytes.
fn parse(bytes: &[u8], longest: u64) -> Result<Request, u16> {
    let mut headers = [httparse::EMPTY_HEADER; head::HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(httparse::Error::Version) => return Err(505),
        _ => return Err(400),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(400);
    };
    let headers = &*parsed.headers;
    if !head::values(headers, "transfer-encoding").is_empty() {
        return Err(501);
    }
    let mut hosts = head::values(headers, "host");
    if hosts.len() > 1 {
        return Err(400);
    }
    let length = head::content_length(headers).map_err(|()| 400u16)?.unwrap_or(0);
    if length > longest {
        return Err(413);
    }
    let expected = head::values(headers, "expect");
    if expected.iter().any(|one| one != "100-continue") {
        return Err(417);
    }
    Ok(Request {
        method: method.to_owned(),
        path: decode(target).ok_or(400u16)?,
        host: hosts.pop().unwrap_or_default(),
        body: String::new(),
        share: None,
        // A client of HTTP/1.0 reads until the end.
        stays: version == 1 && !head::lists(headers, "connection", "close"),
        length,
        waits: version == 1 && !expected.is_empty(),
    })
}

/// The path of a target; `None` if it is none, or not a text without control characters.
fn decode(target: &str) -> Option<String> {
    let path = target.split('?').next().filter(|path| path.starts_with('/'))?;
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => 16 * digit(rest.next())? + digit(rest.next())?,
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|path| !path.chars().any(char::is_control))
}

fn digit(byte: Option<u8>) -> Option<u8> {
    char::from(byte?).to_digit(16).and_then(|digit| digit.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> Result<Request, u16> {
        parse(text.as_bytes(), 1000)
    }

    #[test]
    fn paths_are_decoded() {
        assert_eq!(decode("/v1/agents/ids?x=%zz"), Some("/v1/agents/ids".into()));
        assert_eq!(decode("/a%20b%c3%A4+"), Some("/a bä+".into()));
        for bad in ["", "*", "a/b", "/%", "/%2", "/%+1", "/%ff", "/%00", "/a%0ab"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn heads_are_judged() {
        let good = status("POST /a HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\nExpect: 100-Continue\r\n\r\n").unwrap();
        assert_eq!(good.host, "x");
        assert_eq!((&*good.method, &*good.path, good.length, good.waits, good.stays), ("POST", "/a", 5, true, true));
        assert!(!status("GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n").unwrap().stays);
        assert!(!status("GET / HTTP/1.0\r\n\r\n").unwrap().stays);
        for (text, expected) in [
            ("nonsense\r\n\r\n", 400),
            ("GET http://x/ HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nExpect: wonders\r\n\r\n", 417),
            (&format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65)), 431),
        ] {
            assert_eq!(status(text).unwrap_err(), expected, "{text}");
        }
    }
}
