//! One HTTP request on a connection of its own.

use std::{
    io::{self, BufRead, BufReader, Write},
    time::Instant,
};

use crate::sockets::{Endpoint, Timed, http::answer};

/// The longest body, in bytes. The stock daemon knows no limit.
const LONGEST: u64 = 256 * 1024 * 1024;

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

fn read(from: &mut impl BufRead) -> io::Result<(u16, String)> {
    let (status, body) = answer::read(from, LONGEST)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
