//! The outlines of large files: of which chunks a content consists.
//!
//! A content is cut where lines end, by the last bytes of the line (`cut`): one line more or less changes the chunk that
//! it is in, and no other. An outline has the length and a digest of each chunk, a five-hundredth of the content. It serves
//! twice:
//!
//! * Two versions of a file are told apart without the content of the older one, so that only what is new of it need travel
//!   ([`super::delta`]).
//! * A file that begins as the version before is read for its checksum at the cost of digests, which is small
//!   ([`Outliner`]): the checksum goes on from where the two part. Who writes the file, and knows where that is, digests only
//!   what follows.
//!
//! The digests tell contents apart as the checksums do, those too that somebody has made to be taken for each other: they
//! depend on a secret of this process (`digest`), and nobody else sees them.

mod cut;
mod digest;
mod kept;
mod outliner;

pub use kept::{Outlines, VERSIONS};
pub use outliner::Outliner;

use super::checksum::{ContentHasher, ContentSum};

/// Smaller files have no outline: they travel as a whole at no cost that counts.
pub const LEAST: u64 = 256 << 10;

/// Larger ones have none either, for its size.
pub const MOST: u64 = 256 << 20;

/// A part of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    digest: [u8; 16],
    length: u32,
}

impl Chunk {
    /// Of this content.
    pub fn of(content: &[u8]) -> Self {
        // A chunk is no longer than `cut::LONGEST`.
        Self { digest: digest::digest(content), length: content.len() as u32 }
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length.into()
    }
}

/// What is known of a content.
#[derive(Debug)]
pub struct Outline {
    /// Of the whole content.
    pub sum: ContentSum,
    /// The same.
    pub blake2b: [u8; 64],
    /// Bytes.
    pub size: u64,
    pub(super) chunks: Box<[Chunk]>,
}

impl Outline {
    /// The chunks, one behind the other. Where lines are not too long, each ends with one.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }
}

/// A state of the checksum at the end of a chunk.
#[derive(Clone)]
struct Milestone {
    /// How many chunks are before it.
    chunks: usize,
    hasher: ContentHasher,
}

/// An outline, and from where the checksum of a content that begins alike can go on.
pub struct Course {
    outline: std::sync::Arc<Outline>,
    milestones: Box<[Milestone]>,
}

impl Course {
    /// The outline.
    pub fn outline(&self) -> &std::sync::Arc<Outline> {
        &self.outline
    }

    /// The memory that it takes, in bytes.
    fn cost(&self) -> usize {
        size_of::<Self>() + size_of::<Outline>() + size_of_val(&*self.outline.chunks) + size_of_val(&*self.milestones)
    }
}

#[cfg(test)]
pub(super) mod tests;
