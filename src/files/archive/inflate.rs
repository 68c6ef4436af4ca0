//! Inflating one member to the end of its own stream.

use std::io::{Read, Seek};

use flate2::{Decompress, FlushDecompress, Status};

use super::{error::ArchiveError, source::Window};

/// Bytes inflated at a time.
const CHUNK: usize = 64 * 1024;

/// An inflate state and its buffer, used for one member after the other.
pub struct Inflater {
    state: Decompress,
    output: Box<[u8]>,
}

impl Inflater {
    /// A fresh state.
    pub fn new() -> Self {
        Self { state: Decompress::new(true), output: vec![0; CHUNK].into_boxed_slice() }
    }

    /// Inflates the zlib stream at the window's place, of the member `name`, passing the content to `sink` piece by
    /// piece. Leaves the window just after the stream. Gives the size of the content.
    ///
    /// `limit`: most bytes of content. The stream must be complete and its check sum right.
    pub fn run<R: Read + Seek, E: From<ArchiveError>>(
        &mut self,
        window: &mut Window<R>,
        name: &str,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.state.reset(true);
        loop {
            let input = window.fill().map_err(ArchiveError::Io)?;
            let end_of_file = input.is_empty();
            let (in_before, out_before) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(input, &mut self.output, FlushDecompress::None)
                .map_err(|error| ArchiveError::Corrupt { name: name.to_owned(), reason: error.to_string() })?;
            let used = usize::try_from(self.state.total_in() - in_before).unwrap_or(usize::MAX);
            let made = usize::try_from(self.state.total_out() - out_before).unwrap_or(usize::MAX);
            window.consume(used);
            let total = self.state.total_out();
            if total > limit {
                return Err(ArchiveError::TooLarge { limit }.into());
            }
            sink(&self.output[..made])?;
            if status == Status::StreamEnd {
                return Ok(total);
            }
            if used == 0 && made == 0 {
                return Err(if end_of_file {
                    ArchiveError::Truncated(name.to_owned())
                } else {
                    ArchiveError::Corrupt { name: name.to_owned(), reason: "no progress".to_owned() }
                }
                .into());
            }
        }
    }
}
