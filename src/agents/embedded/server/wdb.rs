//! A program at the command socket: one frame after the other, each answered before the next is read.

use std::io;

use super::{Answer, Serve, guard};
use crate::sockets::{Limits, Stream, Timed, frame, send};

/// Serves the program until it goes.
///
/// # Errors
/// When it does what no client does, or does not take its answer in time.
pub(super) fn talk(stream: &impl Stream, serve: &impl Serve, limits: Limits) -> io::Result<()> {
    let mut stream = Timed::new(stream);
    loop {
        stream.for_ever();
        stream.is_idle();
        let begun = |stream: &mut Timed<'_, _>| {
            stream.within(limits.request);
            stream.asks();
        };
        let Some(request) = frame::read(&mut stream, begun)? else { return Ok(()) };
        stream.is_busy();
        let (request, line) = text(&request);
        let answer = guard(|| serve.answer(request)).unwrap_or_else(|| Answer::Err("The request failed.".into()));
        let mut frames = answer.frames();
        if let Some(last) = frames.last_mut().filter(|_| line) {
            last.push(b'\n');
        }
        for frame in frames {
            put(&mut stream, &frame, limits)?;
        }
    }
}

/// The text of a request, and whether it ends with a line feed, which then ends the answer too. Programs written in C send
/// the NUL that ends their strings.
fn text(request: &[u8]) -> (String, bool) {
    let stripped = request.strip_suffix(b"\n");
    let text = stripped.unwrap_or(request).split(|byte| *byte == 0).next().unwrap_or_default();
    (String::from_utf8_lossy(text).into_owned(), stripped.is_some())
}

fn put<S: Stream>(stream: &mut Timed<'_, S>, text: &[u8], limits: Limits) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 + text.len().min(frame::LONGEST));
    frame::write(&mut bytes, text)?;
    send(stream, &bytes, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_at_its_first_nul_or_line_feed() {
        let case = |bytes: &[u8]| text(bytes);
        assert_eq!(case(b"global sql x"), ("global sql x".into(), false));
        assert_eq!(case(b"global sql x\0"), ("global sql x".into(), false));
        assert_eq!(case(b"global\0sql x\n"), ("global".into(), true));
        assert_eq!(case(b"global sql x\n"), ("global sql x".into(), true));
        assert_eq!(case(b"global sql x\n\0"), ("global sql x\n".into(), false));
        assert_eq!(case(b"\0"), (String::new(), false));
        assert_eq!(case(b"\n"), (String::new(), true));
        assert_eq!(case(b"a\xff"), ("a\u{fffd}".into(), false));
    }
}
