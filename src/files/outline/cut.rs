//! Where a content is cut into chunks.

use std::io::BufRead;

/// The shortest chunk but the last, in bytes.
pub(super) const SHORTEST: usize = 4 << 10;

/// The longest: of a content without lines, or with lines that end alike.
pub(super) const LONGEST: usize = 64 << 10;

/// One of so many lines ends a chunk, as a power of two.
const LINES: u32 = 7;

/// The last bytes of a line by which that is decided.
const END: usize = 16;

/// The length of the first chunk of `content`, which has at least [`LONGEST`] bytes, or is the rest; never more than that.
/// It ends with a line, if that is not too long, or with the content.
pub(super) fn first(content: &[u8]) -> usize {
    let most = content.len().min(LONGEST);
    let (mut at, mut line) = (SHORTEST.min(most), most);
    while at < most {
        let mut left = &content[at..most];
        // Memory can always be read.
        at += left.skip_until(b'\n').unwrap_or(most - at);
        if content[at - 1] == b'\n' {
            if ends_chunk(&content[..at - 1]) {
                return at;
            }
            line = at;
        }
    }
    if content.len() < LONGEST { most } else { line }
}

/// Whether this, which was a chunk, is one whatever follows it. The last one of a content may have ended too early, and the
/// end of one without such a line depends on what comes behind it.
pub(super) fn is_whole(content: &[u8]) -> bool {
    content.len() >= SHORTEST && content.strip_suffix(b"\n").is_some_and(ends_chunk)
}

/// Whether the line that ends here is the last one of its chunk.
fn ends_chunk(content: &[u8]) -> bool {
    let Some((_, end)) = content.split_last_chunk::<END>() else { return false };
    let all = u128::from_le_bytes(*end);
    let mixed = (all as u64 ^ ((all >> 64) as u64).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> (u64::BITS - LINES) == 0
}
