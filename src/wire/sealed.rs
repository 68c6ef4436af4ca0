//! Frames of a session: the command that the header shows is the same for all, and the real one is sealed with the payload
//! (`spec/native.md` 2.8).
//!
//! ```text
//! frame = counter (4) ‖ size (4) ‖ "session ----" ‖ sealed( command (12) ‖ payload )
//! ```

use super::{
    CommandField, Message,
    frame::{self, HEADER},
};
use crate::{
    crypto::{Opener, SealError, Sealer, sealed_length},
    limits::SESSION_FRAME,
};

/// What every header has.
const FIELD: CommandField = CommandField::received(*b"session ----");

/// The command in front of the payload.
const COMMAND: usize = 12;

/// The longest payload of one frame.
pub const PAYLOAD: usize = SESSION_FRAME - HEADER - sealed_length(0) - COMMAND;

/// Appends the frame of one message, or of one fragment, to `out`; `payload` has at most [`PAYLOAD`] bytes, and `iv` is new
/// and random.
///
/// # Errors
/// [`SealError::Exhausted`].
pub fn seal(
    sealer: &mut Sealer,
    counter: u32,
    command: CommandField,
    payload: &[u8],
    iv: [u8; 16],
    out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let header = frame::header(counter, sealed_length(COMMAND + payload.len()), FIELD);
    out.extend_from_slice(&header);
    sealer.seal(&header, iv, [command.bytes(), payload], out)
}

/// Opens a frame in its own buffer; gives what was sealed.
///
/// # Errors
/// [`SealError`]; the connection cannot go on.
pub fn open(opener: &mut Opener, frame: Message) -> Result<Message, SealError> {
    let Message { counter, command, mut body, .. } = frame;
    let header = frame::header(counter, body.len(), command);
    if command != FIELD {
        return Err(SealError::Form);
    }
    let plain = opener.open(&header, &mut body)?;
    let field = body[plain.clone()].first_chunk::<COMMAND>().ok_or(SealError::Form)?;
    let command = CommandField::received(*field);
    body.truncate(plain.end);
    body.drain(..plain.start + COMMAND);
    Ok(Message { command, body, ..frame })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{End, sample_session as session},
        wire::{Command, Deframer, Limits},
    };

    fn read(bytes: &[u8]) -> Message {
        let (mut deframer, mut rest) = (Deframer::new(Limits::SEALED), bytes);
        loop {
            let space = deframer.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            if let Some(message) = deframer.arrived(count).unwrap() {
                assert!(rest.is_empty());
                return message;
            }
        }
    }

    fn frame(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        seal(sealer, 5, CommandField::new(Command::Echo), payload, [3; 16], &mut out).unwrap();
        out
    }

    #[test]
    fn the_longest_frame_has_a_mebibyte_and_is_taken() {
        let (mut master, mut worker) = (session(End::Master), session(End::Worker));
        let payload = vec![7; PAYLOAD];
        let bytes = frame(&mut master.sealer, &payload);
        assert!(bytes.len() <= SESSION_FRAME && bytes.len() > SESSION_FRAME - 32, "{}", bytes.len());
        let opened = open(&mut worker.opener, read(&bytes)).unwrap();
        assert_eq!((opened.counter, opened.command.name(), opened.body), (5, &b"echo"[..], payload));
    }

    /// Each bit of the header, too: the counter, which names the request that an answer is for, the size and the command.
    #[test]
    fn every_altered_bit_of_a_frame_is_noticed() {
        let bytes = frame(&mut session(End::Master).sealer, b"payload");
        for bit in 0..8 * bytes.len() {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let (header, body) = altered.split_at(HEADER);
            // A size that does not fit cuts the stream elsewhere.
            if frame::size(header) != body.len() {
                continue;
            }
            let mut field = [0; 12];
            field.copy_from_slice(&header[8..]);
            let counter = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            let command = CommandField::received(field);
            let message = Message { counter, command, body: body.to_vec(), share: None, passed_over: false };
            assert!(open(&mut session(End::Worker).opener, message).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn no_token_and_no_divided_frame_is_taken() {
        let token = [&frame::header(1, 100, CommandField::new(Command::Echo))[..], &[b'g'; 100]].concat();
        assert_eq!(open(&mut session(End::Master).opener, read(&token)).unwrap_err(), SealError::Form);
        let divided = frame::header(1, 100, FIELD.fragment(false));
        let mut deframer = Deframer::new(Limits::SEALED);
        deframer.space()[..HEADER].copy_from_slice(&divided);
        assert!(deframer.arrived(HEADER).is_err());
    }
}
