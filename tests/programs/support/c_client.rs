//! A local program written as those in C are (`spec/registration.md` 9): one frame, one answer whatever its counter, a
//! literal comparison with `err --------`, no acknowledgement.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread::sleep,
    time::Duration,
};

/// What such a program cannot read.
const LONGEST: usize = 65_536;

/// Asks through the control socket at `socket`, up to ten times; gives the answer.
pub fn ask(socket: &Path, request: &str) -> Result<String, String> {
    let mut last = String::new();
    for _ in 0..10 {
        match attempt(socket, request) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => return Err("the connection was closed before an answer".into()),
            Err(error) => last = error.to_string(),
        }
        // What the programs in C do between two attempts.
        sleep(Duration::from_secs(1));
    }
    Err(last)
}

fn attempt(socket: &Path, request: &str) -> io::Result<Option<String>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.set_read_timeout(Some(Duration::from_secs(600)))?;
    let length = u32::try_from(request.len()).expect("a short request");
    let header = [&0x1234_5678_u32.to_be_bytes()[..], &length.to_be_bytes(), b"sendsync ---"].concat();
    stream.write_all(&[&header[..], request.as_bytes()].concat())?;
    let mut header = [0; 20];
    match stream.read(&mut header)? {
        0 => return Ok(None),
        20 => {}
        some => stream.read_exact(&mut header[some..])?,
    }
    let length = u32::from_be_bytes(header[4..8].try_into().expect("four bytes")) as usize;
    if length > LONGEST {
        return Err(io::Error::other("the answer is too long"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    let answer = String::from_utf8(answer).expect("a text");
    if &header[8..] == b"err --------" { Err(io::Error::other(answer)) } else { Ok(Some(answer)) }
}
