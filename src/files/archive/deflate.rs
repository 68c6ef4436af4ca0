//! Compressing a content, or a part of one, with one deflate state for all of them.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

/// By how much the room grows when what is made needs more.
const ROOM: usize = 64 * 1024;
/// Contents below this are not looked at beforehand: to compress them costs little.
const WORTH_A_LOOK: usize = 64 * 1024;
/// Bytes that are looked at in each of three places.
const SAMPLE: usize = 8 * 1024;

/// A deflate state.
pub(super) struct Deflater(Compress);

/// What follows the blocks of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// Other blocks: these end with a whole byte.
    ByBlocks,
    /// Nothing: the last of these says that it is the last.
    ByNothing,
}

impl Deflater {
    pub(super) fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level), false))
    }

    /// Whether it is not worth the time to compress this: samples of it become shorter by less than a sixteenth.
    pub(super) fn is_dense(&mut self, content: &[u8]) -> io::Result<bool> {
        if content.len() < WORTH_A_LOOK {
            return Ok(false);
        }
        let last = content.len() - SAMPLE;
        let samples = [0, last / 2, last].map(|from| &content[from..from + SAMPLE]).concat();
        let mut packed = Vec::new();
        self.append(&samples, Followed::ByNothing, &mut packed)?;
        Ok(packed.len() > samples.len() - samples.len() / 16)
    }

    /// Appends the deflate blocks of this content to `out`. They refer to nothing before it.
    pub(super) fn append(&mut self, content: &[u8], followed: Followed, out: &mut Vec<u8>) -> io::Result<()> {
        let flush = match followed {
            Followed::ByBlocks => FlushCompress::Sync,
            Followed::ByNothing => FlushCompress::Finish,
        };
        self.0.reset();
        let mut rest = content;
        loop {
            out.reserve(ROOM.min(content.len() / 2 + 64));
            let (in_before, out_before) = (self.0.total_in(), out.len());
            let status = self.0.compress_vec(rest, out, flush).map_err(|error| io::Error::other(error.to_string()))?;
            let used = usize::try_from(self.0.total_in() - in_before).unwrap_or(usize::MAX);
            rest = &rest[used..];
            let rests = used == 0 && out.len() == out_before;
            // With room left, all that there was to flush is flushed.
            let is_flushed = rest.is_empty() && (rests || out.len() < out.capacity());
            if status == Status::StreamEnd || (followed == Followed::ByBlocks && is_flushed) {
                return Ok(());
            }
            if rests {
                return Err(io::Error::other("the compressor makes no progress"));
            }
        }
    }
}
