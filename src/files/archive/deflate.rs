//! Compressing members, with one deflate state for all of them.

use std::io::{self, Read};

use flate2::{Compress, Compression, FlushCompress, Status};

/// Bytes handled at a time.
const CHUNK: usize = 64 * 1024;
/// Contents below this are not looked at beforehand: to compress them costs little.
const WORTH_A_LOOK: usize = 64 * 1024;
/// Bytes that are looked at in each of three places.
const SAMPLE: usize = 8 * 1024;

/// A deflate state and its buffers, used for one member after the other.
pub(super) struct Packer {
    state: Compress,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Packer {
    pub(super) fn new(level: u32) -> Self {
        let state = Compress::new(Compression::new(level), true);
        Self { state, input: vec![0; CHUNK], output: vec![0; CHUNK] }
    }

    /// Whether it is not worth the time to compress a content of this length: samples of it become shorter by less than a
    /// sixteenth. `sample` reads from a place of the content, as far as the buffer goes.
    pub(super) fn is_dense<E: From<io::Error>>(
        &mut self,
        length: u64,
        mut sample: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<bool, E> {
        if length < WORTH_A_LOOK as u64 {
            return Ok(false);
        }
        let mut samples = vec![0; 3 * SAMPLE];
        let mut filled = 0;
        for from in [0, (length - SAMPLE as u64) / 2, length - SAMPLE as u64] {
            filled += sample(from, &mut samples[filled..filled + SAMPLE])?;
        }
        let mut packed = 0;
        let sink = &mut |bytes: &[u8]| {
            packed += bytes.len();
            Ok::<(), io::Error>(())
        };
        self.pack(&mut &samples[..filled], &mut |_| {}, sink, &|error| error)?;
        Ok(packed > filled - filled / 16)
    }

    /// Passes the zlib stream of all that `source` holds to `sink`, and every piece of content to `plain`.
    pub(super) fn pack<E: From<io::Error>>(
        &mut self,
        source: &mut dyn Read,
        plain: &mut dyn FnMut(&[u8]),
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
        source_failed: &dyn Fn(io::Error) -> E,
    ) -> Result<(), E> {
        self.state.reset();
        loop {
            let count = match source.read(&mut self.input) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(source_failed(error)),
            };
            plain(&self.input[..count]);
            let flush = if count == 0 { FlushCompress::Finish } else { FlushCompress::None };
            let mut used = 0;
            loop {
                let (in_before, out_before) = (self.state.total_in(), self.state.total_out());
                let status = self
                    .state
                    .compress(&self.input[used..count], &mut self.output, flush)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                let made = length(self.state.total_out() - out_before);
                used += length(self.state.total_in() - in_before);
                sink(&self.output[..made])?;
                match status {
                    Status::StreamEnd => return Ok(()),
                    // All is taken in and nothing waits for room: more content is needed.
                    _ if count > 0 && used == count && made < self.output.len() => break,
                    Status::BufError if made == 0 => {
                        return Err(io::Error::other("the compressor makes no progress").into());
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A length that came from a slice and so fits.
fn length(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
