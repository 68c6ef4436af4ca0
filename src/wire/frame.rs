//! From a message to bytes (`spec/protocol.md` 2.1, 2.3).

use super::{CommandField, FRAME_LIMIT};

/// Counter, size and command.
pub const HEADER: usize = 20;

/// The bytes of a header. `size` is the length of the body in this frame.
pub fn header(counter: u32, size: usize, command: CommandField) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&counter.to_be_bytes());
    // Bodies are bounded far below 4 GiB.
    bytes[4..8].copy_from_slice(&(size as u32).to_be_bytes());
    bytes[8..].copy_from_slice(command.bytes());
    bytes
}

/// The length of the body that a header announces.
pub fn size(header: &[u8]) -> usize {
    header.get(4..8).map_or(0, |size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
}

/// Turns one frame, which stands in `buffer` as a blank header and a whole body, into what is to be written: the same
/// frame with its header or, if the payload was longer than [`FRAME_LIMIT`], the frames of a divided message.
///
/// `plain` is the length of the payload before encryption: it decides whether a message is divided, and the body, which
/// may be longer, is what is cut.
pub fn complete(buffer: &mut Vec<u8>, counter: u32, command: CommandField, plain: usize) {
    let body = buffer.len() - HEADER;
    if plain <= FRAME_LIMIT {
        buffer[..HEADER].copy_from_slice(&header(counter, body, command));
        return;
    }
    let (piece, pieces) = (FRAME_LIMIT - HEADER, body.div_ceil(FRAME_LIMIT - HEADER));
    buffer.reserve_exact((pieces - 1) * HEADER);
    buffer.resize(body + pieces * HEADER, 0);
    // From the last to the first, so that each moves to where nothing is needed any more.
    for number in (0..pieces).rev() {
        let (from, length) = (number * piece, piece.min(body - number * piece));
        let to = from + number * HEADER;
        buffer.copy_within(HEADER + from..HEADER + from + length, HEADER + to);
        let field = command.fragment(number + 1 == pieces);
        buffer[to..to + HEADER].copy_from_slice(&header(counter, length, field));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{crypto::token_length, wire::Command};

    #[test]
    fn messages_are_divided_as_the_original_divides_them() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/fixtures/vectors/divided.json")).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let plain = case["plaintext_len"].as_u64().unwrap() as usize;
            assert_eq!(token_length(plain), case["token_len"].as_u64().unwrap() as usize);
            let mut buffer = vec![b'x'; HEADER + token_length(plain)];
            complete(&mut buffer, 4242, CommandField::new(Command::Echo), plain);
            let mut rest = &buffer[..];
            for frame in case["sent_frames"].as_array().unwrap() {
                let hex = crate::system::hex::hex(&rest[..HEADER]);
                assert_eq!(hex, frame["header_hex"].as_str().unwrap(), "{}", case["case"]);
                rest = &rest[frame["frame_len"].as_u64().unwrap() as usize..];
            }
            assert!(rest.is_empty());
        }
    }
}
