//! From bytes to messages (`spec/protocol.md` 2.3, 2.4).

use super::{
    CommandField, MESSAGE_LIMIT,
    divided::{Divided, Part},
    frame::{self, HEADER},
    longest,
};
use crate::limits::{DIVIDED, SESSION_FRAME, STRANGER_MESSAGE, Share, UNCOUNTED};

/// A body grows with what arrives, from this size on, so that a header alone costs no memory.
const FIRST_STEP: usize = 16 * 1024;

/// What is read at a time of a body that is passed over.
const SCRATCH: usize = 64 * 1024;

/// One whole message, not yet decrypted.
#[derive(Debug)]
pub struct Message {
    /// Chosen by whoever sent the request; an answer repeats it.
    pub counter: u32,
    /// The command of the last frame.
    pub command: CommandField,
    /// The body as it was transmitted; empty if it was passed over.
    pub body: Vec<u8>,
    /// What the body takes of the node's budget, as long as it is held.
    pub share: Option<Share>,
    /// Whether the body was too long, or nobody granted the room for it.
    pub passed_over: bool,
}

/// What a peer may make us hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body of one frame, and of all fragments held at a time, in bytes; beyond, nothing more is read.
    pub message: usize,
    /// Divided messages that may be incomplete at a time.
    pub divided: usize,
    /// Whether a message that is longer than its command can be is passed over.
    pub by_command: bool,
}

impl Limits {
    /// Those of the stock daemon: for a program that talks to its own daemon.
    pub const FULL: Self = Self { message: MESSAGE_LIMIT, divided: DIVIDED, by_command: false };
    /// For a peer that has been accepted.
    pub const PEER: Self = Self { by_command: true, ..Self::FULL };
    /// For a peer that has not said who it is.
    pub const STRANGER: Self = Self { message: STRANGER_MESSAGE, divided: 1, by_command: true };
    /// For the frames of a session, whose commands are sealed: what is in them has the other limits.
    pub const SEALED: Self = Self { message: SESSION_FRAME - HEADER, divided: 0, by_command: false };
    /// The same, as long as the peer is a stranger.
    pub const SEALED_STRANGER: Self = Self { message: STRANGER_MESSAGE, ..Self::SEALED };
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
    /// Error 3051 of the stock daemon.
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
    /// Bytes of the present frame that have arrived, its header included.
    arrived: usize,
    frame: Part,
    /// Whether it was decided that the present frame may be held.
    granted: bool,
    divided: Divided,
}

impl Deframer {
    /// A deframer at the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        let (frame, divided) = (Part::default(), Divided::default());
        Self { limits, header: [0; HEADER], arrived: 0, frame, granted: false, divided }
    }

    /// Replaces the limits, from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets the fragments that it holds.
    pub fn forget_divided(&mut self) {
        self.divided = Divided::default();
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
        let body = &mut self.frame.body;
        if self.frame.passed_over {
            body.resize((size - have).min(SCRATCH), 0);
            return body;
        }
        if have == body.len() {
            body.resize(size.min((2 * have).max(FIRST_STEP)), 0);
        }
        &mut body[have..]
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
        self.granted = false;
        let mut frame = std::mem::take(&mut self.frame);
        if frame.passed_over {
            frame.pass_over();
        }
        Ok(self.divided.add(self.counter(), self.command(), frame))
    }

    /// The bytes of the present frame, if they are counted and nobody has decided yet whether they may be held.
    pub fn wants(&self) -> Option<usize> {
        let open = self.arrived >= HEADER && !self.granted && !self.frame.passed_over;
        Some(self.size()).filter(|size| open && *size > UNCOUNTED)
    }

    /// The present frame may be held.
    pub fn grant(&mut self, share: Share) {
        (self.granted, self.frame.share) = (true, Some(share));
    }

    /// The message of the present frame is read, and not held.
    pub fn pass_over(&mut self) {
        self.frame.pass_over();
    }

    fn check_header(&mut self) -> Result<(), FrameError> {
        let (counter, command) = (self.counter(), self.command());
        let most = transmitted(longest(command));
        if !self.divided.takes(self.limits, counter, command, self.size(), most)? {
            self.pass_over();
        }
        Ok(())
    }

    fn counter(&self) -> u32 {
        u32::from_be_bytes([self.header[0], self.header[1], self.header[2], self.header[3]])
    }

    fn size(&self) -> usize {
        frame::size(&self.header)
    }

    fn command(&self) -> CommandField {
        let mut field = [0; 12];
        field.copy_from_slice(&self.header[8..]);
        CommandField::received(field)
    }
}

/// The longest body that a payload of so many bytes makes: a token of it.
const fn transmitted(payload: usize) -> usize {
    payload / 3 * 4 + 256
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        limits,
        wire::{Command, frame},
    };

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
            let held = deframer.frame.body.capacity() + deframer.divided.capacity();
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
        let mut deframer = Deframer::new(Limits { message: 10, divided: 2, by_command: false });
        let stream = [fragment(1, b"123456", false), fragment(1, b"7890!", true)].concat();
        let refused = read(&mut deframer, &stream, &[99]).unwrap_err();
        assert_eq!(refused, FrameError::TooLong { size: 11, limit: 10 });
    }

    #[test]
    fn the_eleventh_divided_message_is_refused() {
        let stream: Vec<u8> = (0..11).flat_map(|counter| fragment(counter, b"x", false)).collect();
        let refused = read(&mut Deframer::new(Limits::FULL), &stream, &[64]);
        assert_eq!(refused.unwrap_err(), FrameError::TooManyDivided { limit: 10 });
    }

    #[test]
    fn what_is_too_long_for_its_command_is_passed_over_and_the_stream_goes_on() {
        let frame = |command: &[u8; 12], length: usize| {
            let header = frame::header(9, length, CommandField::received(*command));
            [&header[..], &vec![b'x'; length]].concat()
        };
        let long = transmitted(limits::REQUEST) + 1;
        let stream = [
            frame(b"get_nodes --", long),
            frame(b"get_nodes --", long - 1),
            // Divided, and only together too long.
            frame(b"get_nodes -d", long - 10),
            frame(b"get_nodes -d", 20),
            frame(b"get_nodes --", 20),
            frame(b"get_nodes --", 20),
        ];
        let messages = read(&mut Deframer::new(Limits::PEER), &stream.concat(), &[50_000]).unwrap();
        let got: Vec<_> = messages.iter().map(|message| (message.passed_over, message.body.len())).collect();
        assert_eq!(got, [(true, 0), (false, long - 1), (true, 0), (false, 20)]);
    }

    #[test]
    fn each_command_takes_what_the_protocol_needs() {
        let needed = [
            (Command::StringUpdate, 5 << 20),
            (Command::FileUpdate, 5 << 20),
            (Command::Api, 64 << 20),
            (Command::IntegritySyncEnd, 1 << 16),
        ];
        for (command, most) in needed {
            assert_eq!(command.longest(), most, "{command}");
            assert!(crate::crypto::token_length(most) <= transmitted(most));
        }
    }

    #[test]
    fn what_is_not_granted_is_passed_over() {
        let mut deframer = Deframer::new(Limits::PEER);
        let stream = fragment(1, &[b'x'; 5000], true);
        assert!(read(&mut deframer, &stream[..HEADER], &[99]).unwrap().is_empty());
        assert_eq!(deframer.wants(), Some(5000));
        deframer.pass_over();
        assert_eq!(deframer.wants(), None);
        let messages = read(&mut deframer, &stream[HEADER..], &[99]).unwrap();
        assert!(messages[0].passed_over && messages[0].body.is_empty());
        read(&mut deframer, &fragment(1, &[b'x'; UNCOUNTED], true)[..HEADER], &[99]).unwrap();
        assert_eq!(deframer.wants(), None, "short messages are not counted");
    }
}
