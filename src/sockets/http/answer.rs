//! Answers of an HTTP/1.1 server, for whoever asks one.

use std::io::{self, BufRead, Read};

use super::head;

/// The longest line between the chunks of a body, in bytes.
const LINE: usize = 4096;

/// What comes before the body of an answer.
pub struct Head {
    /// The status; those that only announce another are passed over.
    pub status: u16,
    /// Whether the server keeps the connection for another request. So it is only after the whole body was read.
    pub stays: bool,
    framing: Framing,
}

/// How the end of a body is known.
#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunks,
    End,
}

impl Head {
    /// Reads it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no HTTP, or too long, and those of the connection.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        loop {
            let bytes = head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let head = parse(&bytes)?;
            if head.status >= 200 {
                return Ok(head);
            }
        }
    }

    /// The body, which comes from `from` and may have `longest` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is declared to be longer.
    pub fn body<R: BufRead>(&self, from: R, longest: u64) -> io::Result<Body<R>> {
        let place = match self.framing {
            _ if matches!(self.status, 204 | 304) => Place::Over,
            Framing::Length(length) if length > longest => return Err(too_long()),
            Framing::Length(length) => Place::Plain(length),
            Framing::Chunks => Place::Size,
            Framing::End => Place::ToTheEnd,
        };
        Ok(Body { from, place, room: longest, line: Vec::new() })
    }
}

/// The status and the whole body of an answer, which may have `longest` bytes.
///
/// # Errors
/// As for [`Head::read`] and [`Head::body`].
pub fn read(from: &mut impl BufRead, longest: u64) -> io::Result<(u16, Vec<u8>)> {
    let head = Head::read(from)?;
    let mut body = Vec::new();
    head.body(from, longest)?.read_to_end(&mut body)?;
    Ok((head.status, body))
}

fn parse(bytes: &[u8]) -> io::Result<Head> {
    let mut headers = [httparse::EMPTY_HEADER; head::HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let complete = response.parse(bytes).map_err(|error| senseless(&error.to_string()))?.is_complete();
    let status = response.code.filter(|_| complete).ok_or_else(|| senseless("half a head"))?;
    let version = response.version;
    let headers = &*response.headers;
    let framing = if head::lists(headers, "transfer-encoding", "chunked") {
        Framing::Chunks
    } else {
        let length = head::content_length(headers).map_err(|()| senseless("its length is no number"))?;
        length.map_or(Framing::End, Framing::Length)
    };
    let stays = version == Some(1) && !head::lists(headers, "connection", "close") && !matches!(framing, Framing::End);
    Ok(Head { status, stays, framing })
}

/// A body without what frames it. A read that failed for want of time can be tried again, and goes on where it was.
pub struct Body<R> {
    from: R,
    place: Place,
    /// Bytes that it may still have.
    room: u64,
    /// The beginning of a line between chunks.
    line: Vec<u8>,
}

/// Where in a body the next byte stands.
enum Place {
    /// In a body of known length, with so many bytes left.
    Plain(u64),
    /// Before the size of a chunk.
    Size,
    /// In a chunk, with so many bytes left.
    Chunk(u64),
    /// Before the line end of a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk, which are of no interest and may have so many bytes. A body without their end is
    /// not whole.
    Trailer(usize),
    /// In a body that lasts as long as the connection.
    ToTheEnd,
    Over,
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.place {
                Place::Over => return Ok(0),
                Place::Plain(0) => self.place = Place::Over,
                Place::Chunk(0) => self.place = Place::ChunkEnd,
                Place::Plain(left) | Place::Chunk(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    let got = self.from.read(&mut buffer[..most])?;
                    *left -= got as u64;
                    return if got == 0 && most > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(got) };
                }
                Place::Size => self.place = self.chunk()?,
                Place::ChunkEnd => match self.line()? {
                    line if is_empty(&line) => self.place = Place::Size,
                    _ => return Err(senseless("a chunk is longer than its size")),
                },
                Place::Trailer(left) => {
                    let left = *left;
                    let line = self.line()?;
                    let left = left.checked_sub(line.len()).ok_or_else(too_long)?;
                    self.place = if is_empty(&line) { Place::Over } else { Place::Trailer(left) };
                }
                Place::ToTheEnd => {
                    let got = self.from.read(buffer)?;
                    if got == 0 && !buffer.is_empty() {
                        self.place = Place::Over;
                    }
                    self.room = self.room.checked_sub(got as u64).ok_or_else(too_long)?;
                    return Ok(got);
                }
            }
        }
    }
}

impl<R: BufRead> Body<R> {
    /// Whether all of it was read.
    pub fn is_over(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    /// Where it comes from.
    pub fn source(&mut self) -> &mut R {
        &mut self.from
    }

    /// Reads the size of a chunk.
    fn chunk(&mut self) -> io::Result<Place> {
        let line = self.line()?;
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Err(senseless("the size of a chunk is no number"));
        };
        self.room = self.room.checked_sub(size).ok_or_else(too_long)?;
        Ok(if size == 0 { Place::Trailer(head::LONGEST) } else { Place::Chunk(size) })
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let left = LINE - self.line.len();
        self.from.by_ref().take(left as u64).read_until(b'\n', &mut self.line)?;
        match self.line.last() {
            Some(b'\n') => Ok(std::mem::take(&mut self.line)),
            _ if self.line.len() == LINE => Err(too_long()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
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
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    const LONGEST: u64 = 256 * 1024 * 1024;

    fn whole(from: &mut impl BufRead) -> io::Result<(u16, String)> {
        read(from, LONGEST).map(|(status, body)| (status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn outcome(text: &str) -> Result<(u16, String), io::ErrorKind> {
        let split = whole(&mut BufReader::with_capacity(1, text.as_bytes())).map_err(|error| error.kind());
        let at_once = whole(&mut text.as_bytes()).map_err(|error| error.kind());
        assert_eq!(split, at_once, "{text}");
        at_once
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

    /// Gives one byte at a time, and before each of them fails for want of time.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn a_body_goes_on_where_its_time_was_over() {
        let text = "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\nnext";
        let head = Head { status: 200, stays: true, framing: Framing::Chunks };
        let mut body = head.body(BufReader::with_capacity(4, Slow(text.as_bytes(), false)), LONGEST).unwrap();
        let mut read = Vec::new();
        while let Err(error) = body.read_to_end(&mut read) {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        assert!(body.is_over() && read == b"abcde");
    }

    #[test]
    fn a_connection_stays_unless_the_server_says_otherwise() {
        let stays = |head: &str| Head::read(&mut head.as_bytes()).unwrap().stays;
        assert!(stays("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"));
        assert!(!stays("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"));
        assert!(!stays("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n"));
        assert!(!stays("HTTP/1.1 200 OK\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn any_answer_is_harmless(text in "(HTTP/1.1 200 OK\r\n(Transfer-Encoding: chunked\r\n)?\r\n)?[0-9a-f\r\n;]{0,40}") {
            let _ = outcome(&text);
        }
    }
}
