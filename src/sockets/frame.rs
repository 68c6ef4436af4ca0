//! Frames of the sockets of the manager's programs (`spec/agentdb.md` 1, `spec/registration.md` 2): the length, 4 bytes, little-endian, then the payload.

use std::io::{self, Read, Write};

use crate::limits::PROGRAM_FRAME;

/// The longest payload, in bytes.
pub const LONGEST: usize = PROGRAM_FRAME;

/// Writes a frame; a payload that is too long is cut.
///
/// # Errors
/// Those of the writer.
pub fn write(to: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    let payload = &payload[..payload.len().min(LONGEST)];
    let length = payload.len() as u32;
    to.write_all(&[&length.to_le_bytes(), payload].concat())
}

/// Reads a frame, `None` if the stream ends before one. `begun` is called when its first bytes have come.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a length that is not possible, [`io::ErrorKind::UnexpectedEof`] for half a frame,
/// and those of the reader.
pub fn read<R: Read>(from: &mut R, begun: impl FnOnce(&mut R)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let count = from.read(&mut length)?;
    if count == 0 {
        return Ok(None);
    }
    begun(from);
    from.read_exact(&mut length[count..])?;
    let length = u32::from_le_bytes(length) as usize;
    if !(1..=LONGEST).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame cannot have {length} bytes")));
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_one(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, io::ErrorKind> {
        read(&mut bytes, |_| {}).map_err(|error| error.kind())
    }

    #[test]
    fn only_possible_lengths_are_read() {
        let longest = [&[0, 0, 1, 0][..], &vec![b'x'; LONGEST]].concat();
        assert_eq!(read_one(&longest), Ok(Some(vec![b'x'; LONGEST])));
        assert_eq!(read_one(b""), Ok(None));
        assert_eq!(read_one(&[1, 0, 1, 0]), Err(io::ErrorKind::InvalidData));
        assert_eq!(read_one(&[255; 8]), Err(io::ErrorKind::InvalidData));
        assert_eq!(read_one(&[0; 4]), Err(io::ErrorKind::InvalidData));
        assert_eq!(read_one(&[3, 0]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read_one(&[3, 0, 0, 0, b'o']), Err(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut bytes = Vec::new();
        write(&mut bytes, &vec![b'x'; LONGEST + 1]).unwrap();
        assert_eq!(bytes.len(), 4 + LONGEST);
        assert_eq!(bytes[..4], [0, 0, 1, 0]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload in proptest::collection::vec(any::<u8>(), 1..2000)) {
            let mut bytes = Vec::new();
            write(&mut bytes, &payload).unwrap();
            prop_assert_eq!(read_one(&bytes), Ok(Some(payload)));
        }

        #[test]
        fn any_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let _ = read_one(&bytes);
        }
    }
}
