//! One HTTP request on a connection of its own.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    time::Instant,
};

use crate::sockets::{Endpoint, Timed, http::head};

/// The longest body, in bytes. The stock daemon knows no limit.
const LONGEST: u64 = 256 * 1024 * 1024;

/// The longest line between the chunks of a body, in bytes.
const LINE: u64 = 4096;

/// The status and the body of the answer.
///
/// # Errors
/// Those of the connection; [`io::ErrorKind::InvalidData`] for what is no HTTP, or too long.
pub(super) fn ask(
    endpoint: &Endpoint,
    deadline: Instant,
    method: &str,
    path: &str,
    body: &[u8],
) -> io::Result<(u16, String)> {
    let stream = endpoint.connect(deadline)?;
    let mut timed = Timed::until_shutdown(&stream, deadline, &endpoint.shutdown);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    match timed.write_all(&[head.as_bytes(), body].concat()) {
        // A body that is refused may not be read to its end, and yet there is an answer.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => read(&mut BufReader::new(timed)).map_err(|_| error),
        Err(error) => Err(error),
        Ok(()) => read(&mut BufReader::new(timed)),
    }
}

/// Reads a response; those that only announce another are passed over.
fn read(from: &mut impl BufRead) -> io::Result<(u16, String)> {
    loop {
        let bytes = head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (status, framing) = parse(&bytes)?;
        if status >= 200 {
            let body = match framing {
                _ if matches!(status, 204 | 304) => Vec::new(),
                Framing::Length(length) => exactly(from, length)?,
                Framing::Chunks => chunks(from)?,
                Framing::End => to_the_end(from)?,
            };
            return Ok((status, String::from_utf8_lossy(&body).into_owned()));
        }
    }
}

/// How the end of a body is known.
enum Framing {
    Length(u64),
    Chunks,
    End,
}

fn parse(bytes: &[u8]) -> io::Result<(u16, Framing)> {
    let mut headers = [httparse::EMPTY_HEADER; head::HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let complete = response.parse(bytes).map_err(|error| senseless(&error.to_string()))?.is_complete();
    let status = response.code.filter(|_| complete).ok_or_else(|| senseless("half a head"))?;
    let headers = &*response.headers;
    let framing = if head::lists(headers, "transfer-encoding", "chunked") {
        Framing::Chunks
    } else {
        let length = head::content_length(headers).map_err(|()| senseless("its length is no number"))?;
        length.map_or(Framing::End, Framing::Length)
    };
    Ok((status, framing))
}

fn exactly(from: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    append(from, length, &mut body)?;
    Ok(body)
}

fn to_the_end(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if from.take(LONGEST + 1).read_to_end(&mut body)? as u64 > LONGEST {
        return Err(too_long());
    }
    Ok(body)
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = line(from)?;
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Err(senseless("the size of a chunk is no number"));
        };
        if size == 0 {
            break;
        }
        append(from, size, &mut body)?;
        if !is_empty(&self::line(from)?) {
            return Err(senseless("a chunk is longer than its size"));
        }
    }
    // What may follow is of no interest, but a body without its end is not whole.
    let mut left = head::LONGEST;
    loop {
        let line = line(from)?;
        if is_empty(&line) {
            return Ok(body);
        }
        left = left.checked_sub(line.len()).ok_or_else(too_long)?;
    }
}

fn append(from: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if length > LONGEST - body.len() as u64 {
        return Err(too_long());
    }
    if (from.take(length).read_to_end(body)? as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LINE).read_until(b'\n', &mut line)?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ if line.len() as u64 == LINE => Err(too_long()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

fn senseless(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn too_long() -> io::Error {
    senseless("it is too long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(text: &str) -> Result<(u16, String), io::ErrorKind> {
        let split = read(&mut BufReader::with_capacity(1, text.as_bytes())).map_err(|error| error.kind());
        let whole = read(&mut text.as_bytes()).map_err(|error| error.kind());
        assert_eq!(split, whole, "{text}");
        whole
    }

    #[test]
    fn bodies_end_as_their_heads_say() {
        let body = |text: &str| outcome(text).map(|(_, body)| body);
        let good = |text: &str| Ok(text.to_owned());
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest"), good("{}"));
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nto the end"), good("to the end"));
        assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n"), good(""));
        assert_eq!(body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), good("x"));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(body(&format!("{chunked}3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n")), good("abcde"));
        assert_eq!(outcome("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), Ok((500, String::new())));

        let (short, bad) = (Err(io::ErrorKind::UnexpectedEof), Err(io::ErrorKind::InvalidData));
        for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"] {
            assert_eq!(body(text), short, "{text}");
        }
        for rest in ["", "3\r\nab", "3\r\nabc\r\n", "0\r\n"] {
            assert_eq!(body(&format!("{chunked}{rest}")), short, "{rest}");
        }
        for rest in ["x\r\n", "2\r\nabc\r\n", "ffffffff\r\n", "ffffffffffffffffff\r\n"] {
            assert_eq!(body(&format!("{chunked}{rest}")), bad, "{rest}");
        }
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 268435457\r\n\r\n"), bad);
        assert_eq!(body("ok {}\n\n"), bad);
    }

    proptest! {
        #[test]
        fn any_answer_is_harmless(text in "(HTTP/1.1 200 OK\r\n(Transfer-Encoding: chunked\r\n)?\r\n)?[0-9a-f\r\n;]{0,40}") {
            let _ = outcome(&text);
        }
    }
}
