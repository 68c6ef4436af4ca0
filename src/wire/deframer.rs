//! From bytes to messages (`spec/protocol.md` 2.3, 2.4).

use std::collections::HashMap;

use super::{CommandField, MESSAGE_LIMIT, frame::HEADER};

/// A body grows with what arrives, from this size on, so that a header alone costs no memory.
const FIRST_STEP: usize = 16 * 1024;

/// One whole message, not yet decrypted.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Chosen by whoever sent the request; an answer repeats it.
    pub counter: u32,
    /// The command of the last frame.
    pub command: CommandField,
    /// The body as it was transmitted.
    pub body: Vec<u8>,
}

/// What a peer may make us hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body of one frame, and of all fragments held at a time, in bytes.
    pub message: usize,
    /// Divided messages that may be incomplete at a time.
    pub divided: usize,
}

impl Limits {
    /// For a peer that has been accepted.
    pub const FULL: Self = Self { message: MESSAGE_LIMIT, divided: 10 };
    /// For a peer that has not said who it is: enough for its hello and a small echo.
    pub const STRANGER: Self = Self { message: 64 * 1024, divided: 1 };
}

/// Why a stream cannot be read further; the peer is at fault, and the connection is closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A header announced more than is allowed.
    #[error("a message of {size} bytes was announced; at most {limit} are allowed here")]
    TooLong {
        /// What the header, and the fragments before it, announce.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Error 3051 of the original.
    #[error("more than {limit} divided messages were left incomplete")]
    TooManyDivided {
        /// What is allowed.
        limit: usize,
    },
}

/// Assembles messages from a stream. It tells where the next bytes belong and is told how many have come, so a body is
/// read to where it stays.
pub struct Deframer {
    limits: Limits,
    header: [u8; HEADER],
    body: Vec<u8>,
    /// Bytes of the present frame that have arrived, its header included.
    arrived: usize,
    divided: HashMap<u32, Vec<u8>>,
}

impl Deframer {
    /// A deframer at the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, header: [0; HEADER], body: Vec::new(), arrived: 0, divided: HashMap::new() }
    }

    /// Replaces the limits, from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether a frame has begun and is not complete.
    pub fn inside_frame(&self) -> bool {
        self.arrived > 0
    }

    /// Where the next bytes are to be put; never empty, and never reaching beyond the present frame.
    pub fn space(&mut self) -> &mut [u8] {
        if self.arrived < HEADER {
            return &mut self.header[self.arrived..];
        }
        let (have, size) = (self.arrived - HEADER, self.size());
        if have == self.body.len() {
            self.body.resize(size.min((2 * have).max(FIRST_STEP)), 0);
        }
        &mut self.body[have..]
    }

    /// Tells that `count` bytes were put into [`Deframer::space`]. Gives the message that they complete.
    ///
    /// # Errors
    /// [`FrameError`], as soon as the header that breaks a limit is complete.
    pub fn arrived(&mut self, count: usize) -> Result<Option<Message>, FrameError> {
        let before = self.arrived;
        self.arrived += count;
        if self.arrived < HEADER {
            return Ok(None);
        }
        if before < HEADER {
            self.check_header()?;
        }
        if self.arrived < HEADER + self.size() {
            return Ok(None);
        }
        self.arrived = 0;
        let body = std::mem::take(&mut self.body);
        Ok(self.finish_frame(body))
    }

    fn finish_frame(&mut self, mut body: Vec<u8>) -> Option<Message> {
        let command = self.command();
        let counter = self.counter();
        if command.more_follows() {
            self.divided.entry(counter).or_default().append(&mut body);
            return None;
        }
        if let Some(mut parts) = self.divided.remove(&counter) {
            parts.append(&mut body);
            body = parts;
        }
        Some(Message { counter, command, body })
    }

    fn check_header(&self) -> Result<(), FrameError> {
        let Limits { message: limit, divided } = self.limits;
        let held: usize = self.divided.values().map(Vec::len).sum();
        let size = self.size() + held;
        if size > limit {
            return Err(FrameError::TooLong { size, limit });
        }
        let is_new = self.command().more_follows() && !self.divided.contains_key(&self.counter());
        if is_new && self.divided.len() >= divided {
            return Err(FrameError::TooManyDivided { limit: divided });
        }
        Ok(())
    }

    fn counter(&self) -> u32 {
        u32::from_be_bytes([self.header[0], self.header[1], self.header[2], self.header[3]])
    }

    fn size(&self) -> usize {
        u32::from_be_bytes([self.header[4], self.header[5], self.header[6], self.header[7]]) as usize
    }

    fn command(&self) -> CommandField {
        let mut field = [0; 12];
        field.copy_from_slice(&self.header[8..]);
        CommandField::received(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Command, frame};

    /// Feeds `stream` in pieces of the given lengths, round and round.
    fn read(deframer: &mut Deframer, mut stream: &[u8], pieces: &[usize]) -> Result<Vec<Message>, FrameError> {
        let mut messages = Vec::new();
        for piece in pieces.iter().cycle() {
            if stream.is_empty() {
                break;
            }
            let (mut now, later) = stream.split_at((*piece).clamp(1, stream.len()));
            while !now.is_empty() {
                let space = deframer.space();
                let count = space.len().min(now.len());
                space[..count].copy_from_slice(&now[..count]);
                messages.extend(deframer.arrived(count)?);
                now = &now[count..];
            }
            stream = later;
        }
        Ok(messages)
    }

    fn fragment(counter: u32, body: &[u8], last: bool) -> Vec<u8> {
        let field = CommandField::new(Command::Echo).fragment(last);
        [&frame::header(counter, body.len(), field)[..], body].concat()
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            bodies in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..50_000)), 1..6),
            pieces in prop::collection::vec(1usize..40_000, 1..8),
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|(counter, body)| fragment(*counter, body, true)).collect();
            let messages = read(&mut Deframer::new(Limits::FULL), &stream, &pieces).unwrap();
            let got: Vec<_> = messages.into_iter().map(|message| (message.counter, message.body)).collect();
            prop_assert_eq!(got, bodies);
        }

        #[test]
        fn arbitrary_bytes_never_panic_nor_hold_more_than_came(
            stream in prop::collection::vec(any::<u8>(), 0..4_000), pieces in prop::collection::vec(1usize..500, 1..5),
        ) {
            let mut deframer = Deframer::new(Limits::FULL);
            let _ = read(&mut deframer, &stream, &pieces);
            let held = deframer.body.capacity() + deframer.divided.values().map(Vec::capacity).sum::<usize>();
            prop_assert!(held <= 4 * stream.len() + 2 * FIRST_STEP);
        }
    }

    #[test]
    fn fragments_of_several_messages_may_be_mixed() {
        let stream = [
            fragment(1, b"He", false),
            fragment(2, b"Wor", false),
            fragment(3, b"alone", true),
            fragment(1, b"llo", true),
            fragment(2, b"ld", true),
        ];
        let messages = read(&mut Deframer::new(Limits::FULL), &stream.concat(), &[7]).unwrap();
        let texts: Vec<_> = messages.iter().map(|message| (message.counter, message.body.as_slice())).collect();
        assert_eq!(texts, [(3, &b"alone"[..]), (1, b"Hello"), (2, b"World")]);
    }

    #[test]
    fn a_header_that_announces_too_much_is_refused_before_its_body() {
        let header = frame::header(1, MESSAGE_LIMIT + 1, CommandField::new(Command::Echo));
        let refused = read(&mut Deframer::new(Limits::FULL), &header, &[3]).unwrap_err();
        assert_eq!(refused, FrameError::TooLong { size: MESSAGE_LIMIT + 1, limit: MESSAGE_LIMIT });
        let mut deframer = Deframer::new(Limits { message: 10, divided: 2 });
        let stream = [fragment(1, b"123456", false), fragment(1, b"7890!", true)].concat();
        assert_eq!(read(&mut deframer, &stream, &[99]), Err(FrameError::TooLong { size: 11, limit: 10 }));
    }

    #[test]
    fn the_eleventh_divided_message_is_refused() {
        let stream: Vec<u8> = (0..11).flat_map(|counter| fragment(counter, b"x", false)).collect();
        let refused = read(&mut Deframer::new(Limits::FULL), &stream, &[64]);
        assert_eq!(refused, Err(FrameError::TooManyDivided { limit: 10 }));
    }
}
