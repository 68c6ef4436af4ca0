//! HTTP at `wdb-http.sock` and at the metrics listener (`spec/agentdb.md` 9).

use std::{io, net::Shutdown, sync::Mutex, time::Duration};

use clusterd::sockets::{
    Limits, Stream,
    http::{Request, Response, Room, Terms, talk},
};

use super::input::Input;

/// The longest body that is taken here, in bytes.
const BODY: u64 = 4096;

/// A socket whose other end has sent all it has.
struct Sent {
    unread: Mutex<Vec<u8>>,
    piece: usize,
    answers: Mutex<Vec<u8>>,
}

impl Stream for Sent {
    fn read_within(&self, buffer: &mut [u8], _: Option<Duration>) -> io::Result<usize> {
        let mut unread = self.unread.lock().expect("one thread has it");
        let count = buffer.len().min(unread.len()).min(self.piece);
        buffer[..count].copy_from_slice(&unread[..count]);
        unread.drain(..count);
        Ok(count)
    }

    fn write_within(&self, bytes: &[u8], _: Option<Duration>) -> io::Result<usize> {
        self.answers.lock().expect("one thread has it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn end(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }
}

/// The first byte is the length of the pieces in which the rest comes.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let piece = 64 * usize::from(input.byte()) + 1;
    let stream = Sent { unread: Mutex::new(input.0.to_vec()), piece, answers: Mutex::new(Vec::new()) };
    let terms = Terms { limits: Limits::default(), idle: None, body: BODY, room: Room::new(BODY) };
    let seen = Mutex::new(Vec::new());
    let echo = |request: Request| {
        assert!(request.path.starts_with('/') && !request.path.chars().any(char::is_control));
        assert!(request.body.len() <= 3 * BODY as usize);
        seen.lock().expect("one thread has it").push(request.method == "HEAD");
        Some(Response { status: 200, headers: String::new(), body: request.path })
    };
    _ = talk(&stream, echo, &terms);
    let answers = stream.answers.into_inner().expect("one thread had it");
    check(&answers, &seen.into_inner().expect("one thread had it"));
}

/// One answer after the other stands there, each as long as it says, and at most one refusal after those of requests.
fn check(answers: &[u8], is_head: &[bool]) {
    let (mut rest, mut is_head) = (answers, is_head.iter());
    while !rest.is_empty() {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends") + 4;
        let head = std::str::from_utf8(&rest[..end]).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 "), "{head}");
        rest = &rest[end..];
        if head.starts_with("HTTP/1.1 100 ") {
            continue;
        }
        let length = head.split("Content-Length: ").nth(1).and_then(|text| text.lines().next()?.parse().ok());
        let length: usize = length.expect("a length is told");
        match is_head.next() {
            Some(true) => {}
            Some(false) => rest = &rest[length..],
            None => assert!(length == 0 && rest.is_empty(), "after a refusal nothing comes"),
        }
    }
    assert_eq!(is_head.next(), None, "each request is answered");
}
