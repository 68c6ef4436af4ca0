//! Hexadecimal text.

use std::io;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hexadecimal text of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| digits(*byte)).map(char::from).collect()
}

/// Writes the same text.
///
/// # Errors
/// Those of the writer.
pub fn write(out: &mut impl io::Write, bytes: &[u8]) -> io::Result<()> {
    const MOST: usize = 64;
    let mut text = [[0; 2]; MOST];
    bytes.chunks(MOST).try_for_each(|chunk| {
        text.iter_mut().zip(chunk).for_each(|(pair, byte)| *pair = digits(*byte));
        out.write_all(text[..chunk.len()].as_flattened())
    })
}

fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)])
}

/// The bytes that [`hex`] writes so, in either case; `None` if `text` is not that of `N` bytes.
pub fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes() {
        assert_eq!(hex(&[0, 0x9f, 0xff]), "009fff");
        let (bytes, mut written) = ([0x9f; 130], Vec::new());
        write(&mut written, &bytes).unwrap();
        assert_eq!(written, hex(&bytes).into_bytes());
        assert_eq!(unhex(b"009FfF"), Some([0, 0x9f, 0xff]));
        for text in [&b"009ff"[..], b"009f", b"009fffff", b"009ffg", b"+1-1 1"] {
            assert_eq!(unhex::<3>(text), None);
        }
    }
}
