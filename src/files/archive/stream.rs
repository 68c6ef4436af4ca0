//! A zlib stream in which no reader finds the separator: of a content in memory, or of one that is there part by part.
//!
//! Each part has its own blocks, which begin and end with a whole byte. So if the separator comes up in them, the part is
//! stored instead, and nothing that has gone out before is touched. The same goes for what does not become shorter.

use std::io::{self, Write};

use super::{
    deflate::{Deflater, Followed},
    separator::{Finder, collides},
    stored::{Adler32, BLOCK, LAST, START, blocks, header},
};

/// The most bytes of a part: as much as is held of a content at a time.
pub const PART: usize = 512 * 1024;

/// Bytes of what a stream made in parts ends with: the last block and the check sum.
const END: usize = LAST.len() + 4;

/// Makes the streams of one archive, one after the other.
pub(super) struct Packer {
    deflater: Deflater,
    packed: Vec<u8>,
}

/// A stream that is made part by part.
pub(super) struct Parts<'a> {
    packer: &'a mut Packer,
    /// What the blocks so far end with.
    finder: Finder,
    adler: Adler32,
}

/// The blocks of a part.
pub(super) enum Blocks<'a> {
    Deflated(&'a [u8]),
    Stored(Vec<&'a [u8]>),
}

impl Packer {
    pub(super) fn new(level: u32) -> Self {
        Self { deflater: Deflater::new(level), packed: Vec::new() }
    }

    /// The stream of a content.
    pub(super) fn pack(&mut self, content: &[u8]) -> io::Result<&[u8]> {
        self.packed.clear();
        let mut adler = Adler32::default();
        adler.update(content);
        if !self.deflater.is_dense(content)? {
            self.packed.extend_from_slice(&START);
            self.deflater.append(content, Followed::ByNothing, &mut self.packed)?;
            self.packed.extend_from_slice(&adler.bytes());
            if !collides(&self.packed) {
                return Ok(&self.packed);
            }
            self.packed.clear();
        }
        self.packed.extend_from_slice(&START);
        Blocks::Stored(blocks(content).collect()).write(&mut self.packed)?;
        self.packed.extend_from_slice(&end(&adler));
        Ok(&self.packed)
    }

    /// The blocks of a part that stands behind what the finder has seen.
    fn blocks<'b>(&'b mut self, part: &'b [u8], finder: &mut Finder) -> io::Result<Blocks<'b>> {
        if !self.deflater.is_dense(part)? {
            self.packed.clear();
            self.deflater.append(part, Followed::ByBlocks, &mut self.packed)?;
            if self.packed.len() < part.len() && finder.feed(&self.packed).is_none() {
                return Ok(Blocks::Deflated(&self.packed));
            }
        }
        let blocks: Vec<_> = blocks(part).collect();
        if let Some(last) = blocks.last() {
            *finder = Finder::default();
            finder.feed(last);
        }
        Ok(Blocks::Stored(blocks))
    }

    /// Begins a stream, with [`START`].
    pub(super) fn begin(&mut self) -> Parts<'_> {
        Parts { packer: self, finder: Finder::default(), adler: Adler32::default() }
    }
}

impl Parts<'_> {
    /// The blocks of the next part, which are to be written; none if they are more than `room` bytes: then the stream ends
    /// before it.
    pub(super) fn next<'b>(&'b mut self, part: &'b [u8], room: u64) -> io::Result<Option<Blocks<'b>>> {
        let blocks = self.packer.blocks(part, &mut self.finder)?;
        if blocks.len() > room {
            return Ok(None);
        }
        self.adler.update(part);
        Ok(Some(blocks))
    }

    /// What the stream ends with.
    pub(super) fn end(self) -> [u8; END] {
        end(&self.adler)
    }
}

impl Blocks<'_> {
    /// Bytes of them.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Deflated(blocks) => blocks.len() as u64,
            Self::Stored(blocks) => blocks.iter().map(|block| (header(block).len() + block.len()) as u64).sum(),
        }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Deflated(blocks) => out.write_all(blocks),
            Self::Stored(blocks) => blocks.iter().try_for_each(|block| {
                out.write_all(&header(block))?;
                out.write_all(block)
            }),
        }
    }
}

/// The most bytes of a stream made in parts of a content of this length. Only one that is full of separators needs more.
pub(super) fn longest(length: u64) -> u64 {
    let parts = length.div_ceil(PART as u64);
    // The last block of a part is shorter.
    let blocks = length / BLOCK as u64 + parts;
    length + blocks * LAST.len() as u64 + (START.len() + END) as u64
}

fn end(adler: &Adler32) -> [u8; END] {
    let mut end = [0; END];
    let (last, sum) = end.split_at_mut(LAST.len());
    last.copy_from_slice(&LAST);
    sum.copy_from_slice(&adler.bytes());
    end
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;
    use proptest::prelude::*;

    use super::*;

    fn in_parts(level: u32, parts: &[Vec<u8>]) -> Vec<u8> {
        let (mut packer, mut out) = (Packer::new(level), START.to_vec());
        let mut stream = packer.begin();
        for part in parts {
            let blocks = stream.next(part, u64::MAX).unwrap().unwrap();
            let before = out.len();
            blocks.write(&mut out).unwrap();
            assert_eq!(blocks.len(), (out.len() - before) as u64);
        }
        out.extend_from_slice(&stream.end());
        out
    }

    #[test]
    fn the_longest_stream_is_that_of_what_does_not_become_shorter() {
        let noise: Vec<u8> =
            std::iter::successors(Some(1_u64), |x| Some(x.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ (x >> 29)))
                .map(|x| (x >> 40) as u8)
                .take(2 * PART + 5)
                .collect();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, PART - 1, PART, PART + 1, 2 * PART + 5] {
            let parts: Vec<_> = noise[..length].chunks(PART).map(<[u8]>::to_vec).collect();
            let (made, most) = (in_parts(1, &parts).len() as u64, longest(length as u64));
            assert!(made <= most && most <= made + 5 * (parts.len() as u64 + 1), "{length}: {made}, {most}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_one_stream_without_separator(
            parts in proptest::collection::vec(prop_oneof![
                "[|@/x]{0,60}".prop_map(String::into_bytes),
                "(x|[|]@@//@@[|]){0,20}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..400),
                (any::<u8>(), 0_usize..3000).prop_map(|(byte, count)| vec![byte; count]),
            ], 0..6),
            level in 0_u32..10,
        ) {
            let packed = in_parts(level, &parts);
            prop_assert!(!collides(&packed));
            let mut back = Vec::new();
            ZlibDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
            prop_assert_eq!(back, parts.concat());
        }
    }
}
