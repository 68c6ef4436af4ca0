//! A stream of frames, as a peer sends it (`spec/protocol.md` 2).

use clusterd::wire::{Deframer, FrameError, Limits, Message};

/// The first byte chooses who sends, the second how long the pieces are in which the rest comes.
pub fn body(input: &[u8]) {
    let [who, piece, stream @ ..] = input else { return };
    let limits = [Limits::FULL, Limits::PEER, Limits::STRANGER][usize::from(*who) % 3];
    let whole = read(limits, stream, stream.len().max(1));
    let pieces = read(limits, stream, usize::from(*piece) + 1);
    assert_eq!(whole, pieces, "the pieces in which a stream comes change what is read");
    let (messages, _) = whole;
    let held: usize = messages.iter().map(|message| message.3.len()).sum();
    assert!(held <= stream.len());
}

/// Counter, command, whether it was passed over, body.
type Read = (u32, [u8; 12], bool, Vec<u8>);

fn read(limits: Limits, mut stream: &[u8], piece: usize) -> (Vec<Read>, Option<FrameError>) {
    let mut deframer = Deframer::new(limits);
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let space = deframer.space();
        let count = space.len().min(stream.len()).min(piece);
        assert!(count > 0, "there is always room for the next byte");
        space[..count].copy_from_slice(&stream[..count]);
        stream = &stream[count..];
        match deframer.arrived(count) {
            Ok(message) => messages.extend(message.map(parts)),
            Err(error) => return (messages, Some(error)),
        }
    }
    (messages, None)
}

fn parts(message: Message) -> Read {
    let Message { counter, command, body, passed_over, .. } = message;
    assert!(!command.more_follows());
    (counter, *command.bytes(), passed_over, body)
}
