//! The parts of a zlib stream that hold a content as it is and cannot contain the separator: for what does not become
//! shorter, and the last resort for what does.
//!
//! Deflate permits *stored* blocks: one byte `00` (`01` for the last block), the length as two bytes and the same two
//! bytes inverted, all least significant first, then the content. We cut the content so that no block holds a whole
//! separator. Then no eight bytes of the stream are the separator `|@@//@@|`, whose bytes are `7c 40 2f` only:
//!
//! * Eight bytes inside one block are none, by the cut.
//! * Eight bytes that reach a header from before contain its first byte, `00` or `01`.
//! * Eight bytes that begin inside a header contain its last byte, the inverted high byte of the length. A block has
//!   at most `7fff` bytes, so this byte is `80` or more.
//! * The stream ends with an empty last block, `01 00 00 ff ff`, and four bytes of Adler-32. Eight bytes that begin
//!   before the check sum contain `ff`. Eight that begin in it and run into the separator that follows would need a
//!   start of the separator of 4 to 7 bytes to be also its end; only the single `|` is.
//! * The stream begins with `78 01`, which the separator has not.

use super::separator::Finder;

/// Most bytes of one block.
pub(super) const BLOCK: usize = 0x7fff;

/// What a stream begins with.
pub(super) const START: [u8; 2] = [0x78, 0x01];
/// The empty last block of a stream whose other blocks do not say which of them is the last.
pub(super) const LAST: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// The contents of the blocks that hold this content.
pub(super) fn blocks(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.chunks(BLOCK).flat_map(|chunk| {
        let mut rest = Some(chunk);
        std::iter::from_fn(move || {
            let content = rest?;
            let (block, after) = match Finder::default().feed(content) {
                Some(end) => (&content[..end - 4], Some(&content[end - 4..])),
                None => (content, None),
            };
            rest = after;
            Some(block)
        })
    })
}

/// What stands before the content of a block.
pub(super) fn header(block: &[u8]) -> [u8; 5] {
    let [low, high, ..] = block.len().to_le_bytes();
    [0, low, high, !low, !high]
}

/// The check sum of a zlib stream (RFC 1950).
pub(super) struct Adler32 {
    a: u32,
    b: u32,
}

impl Default for Adler32 {
    fn default() -> Self {
        Self { a: 1, b: 0 }
    }
}

impl Adler32 {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        const MODULUS: u64 = 65_521;
        const LANES: usize = 16;
        // So many blocks that the sums of a lane fit into 32 bits. Each lane adds every sixteenth byte, which the compiler
        // makes one operation for many lanes of.
        for chunk in bytes.chunks(256 * LANES) {
            let (blocks, rest) = chunk.as_chunks::<LANES>();
            let (mut sums, mut weighted) = ([0u32; LANES], [0u32; LANES]);
            for block in blocks {
                for lane in 0..LANES {
                    weighted[lane] += sums[lane];
                    sums[lane] += u32::from(block[lane]);
                }
            }
            let (mut a, mut b) = (u64::from(self.a), u64::from(self.b));
            b += (blocks.len() * LANES) as u64 * a;
            for lane in 0..LANES {
                let (sum, weighted) = (u64::from(sums[lane]), u64::from(weighted[lane]));
                a += sum;
                b += LANES as u64 * weighted + (LANES - lane) as u64 * sum;
            }
            for byte in rest {
                a += u64::from(*byte);
                b += a;
            }
            self.a = (a % MODULUS) as u32;
            self.b = (b % MODULUS) as u32;
        }
    }

    /// As it stands at the end of the stream.
    pub(super) fn bytes(&self) -> [u8; 4] {
        (self.b << 16 | self.a).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;
    use proptest::prelude::*;

    use super::{super::separator::collides, *};

    fn stream(content: &[u8]) -> Vec<u8> {
        let mut out = START.to_vec();
        for block in blocks(content) {
            out.extend_from_slice(&header(block));
            out.extend_from_slice(block);
        }
        out.extend_from_slice(&LAST);
        let mut adler = Adler32::default();
        adler.update(content);
        out.extend_from_slice(&adler.bytes());
        out
    }

    fn check(content: &[u8]) {
        let packed = stream(content);
        assert!(!collides(&packed));
        let mut back = Vec::new();
        ZlibDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, content);
    }

    #[test]
    fn separators_everywhere_are_broken() {
        check(b"");
        check(&b"|@@//@@|".repeat(10_000));
        check(&b"|@@//@@".repeat(10_000));
        check(&vec![b'|'; 3 * BLOCK]);
        for shift in 0..16 {
            let mut content = vec![b'x'; BLOCK - shift];
            content.extend_from_slice(b"|@@//@@|@@//@@|");
            check(&content);
        }
    }

    /// Lengths beside those of a lane, a chunk and a block, with the greatest bytes.
    #[test]
    fn the_check_sum_is_right_for_every_length() {
        for length in (0..70).chain(4080..4120).chain([5552, 5553, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK]) {
            check(&vec![0xff; length]);
            check(&(0..length).map(|at| (at * 131 % 251) as u8).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn any_text_of_separator_bytes_survives(text in "[|@/x]{0,300}") {
            check(text.as_bytes());
        }
    }
}
