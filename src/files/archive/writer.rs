//! Writing an archive. A content is read once; of one that is longer than a [`PART`] never more than that is held.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    num::NonZeroU64,
};

use super::{
    FILE_SEP, METADATA_NAME, PATH_SEP,
    cache::MemberCache,
    error::AddError,
    stored::START,
    stream::{PART, Packer, longest},
};
use crate::files::{
    checksum::{ChecksumKind, ContentSum, Proof, Prover},
    path,
};

/// What a [`ContentSum`] is proved as.
const SUMS: ChecksumKind = ChecksumKind::Md5Blake2b;

/// Whether a file is in the archive now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is.
    Written {
        /// Bytes of its content.
        plain: u64,
        /// Bytes of the member with name and separators, as the limit counts them.
        member: u64,
    },
    /// It does not fit any more: this and the following files are left for a later cycle (`spec/protocol.md` 10.6).
    Full,
    /// Its content alone is larger than the limit. Others may still fit.
    TooLarge,
    /// Its content is not what the manifest says: it was changed since the scan. It comes in a later cycle. Of a long one
    /// that is known when it is in the archive; a reader passes over what the metadata does not name.
    Changed,
}

/// Writes one archive (`spec/protocol.md` 10.3, 10.6).
///
/// Each member is several small writes: give it a [`BufWriter`](std::io::BufWriter) where they are dear.
pub struct ArchiveWriter<W: Write> {
    members: Members<W>,
    packer: Packer,
    plain: Vec<u8>,
}

/// The members so far, and the bounds of all.
struct Members<W> {
    out: W,
    limit: u64,
    /// Sum of the members so far.
    sum: u64,
    /// The most bytes that all contents may have together.
    contents_limit: u64,
    /// Sum of the contents so far.
    contents: u64,
}

/// What became of a long file.
struct Streamed {
    /// Bytes of its stream.
    packed: u64,
    /// Bytes of its content that are in the stream.
    plain: u64,
    proof: Proof,
    /// Why that is not all.
    cut: Option<Cut>,
}

enum Cut {
    Unreadable(io::Error),
    NoRoom,
}

impl<W: Write> ArchiveWriter<W> {
    /// An empty archive. `level` is the zlib level (0 to 9, [`LEVEL`](super::LEVEL) like the stock daemon), `limit` the
    /// most bytes of all members but the metadata.
    pub fn new(out: W, level: u32, limit: u64) -> Self {
        let members = Members { out, limit, sum: 0, contents_limit: u64::MAX, contents: 0 };
        Self { members, packer: Packer::new(level.min(9)), plain: Vec::new() }
    }

    /// Bounds the contents too: a reader refuses an archive that inflates to more than it permits, and would refuse the
    /// same archive for ever.
    pub fn with_contents_limit(mut self, bytes: u64) -> Self {
        self.members.contents_limit = bytes;
        self
    }

    /// Adds a content that is in memory.
    ///
    /// # Errors
    /// [`AddError`]: the name cannot be a member's, or the archive cannot be written to.
    pub fn add(&mut self, name: &str, content: &[u8]) -> Result<Added, AddError> {
        check(name)?;
        if self.members.never(size(content)) {
            return Ok(Added::TooLarge);
        }
        self.members.emit(name, size(content), self.packer.pack(content)?)
    }

    /// Adds the delta of this key from the cache or, if it is not there, `delta`, which is kept there then. It makes so many
    /// bytes. None if there is neither.
    ///
    /// # Errors
    /// As [`ArchiveWriter::add`].
    pub fn add_made(
        &mut self,
        name: &str,
        made: NonZeroU64,
        (key, cache): (&ContentSum, &MemberCache),
        delta: Option<&[u8]>,
    ) -> Result<Option<Added>, AddError> {
        check(name)?;
        let found = cache.find(key);
        let (plain, packed) = match (&found, delta) {
            (Some(found), _) => (found.plain, &*found.packed),
            (None, Some(delta)) => {
                let packed = self.packer.pack(delta)?;
                // A reader counts both.
                let plain = size(delta).saturating_add(made.get());
                cache.keep(*key, plain, packed);
                (plain, packed)
            }
            (None, None) => return Ok(None),
        };
        if plain > self.members.contents_limit {
            return Ok(Some(Added::TooLarge));
        }
        self.members.emit(name, plain, packed).map(Some)
    }

    /// Adds the member from the cache if it is there. Saves even the opening of the file.
    ///
    /// # Errors
    /// As [`ArchiveWriter::add`].
    pub fn add_cached(&mut self, name: &str, sum: &ContentSum, cache: &MemberCache) -> Result<Option<Added>, AddError> {
        check(name)?;
        match cache.find(sum) {
            Some(found) if self.members.never(found.plain) => Ok(Some(Added::TooLarge)),
            Some(found) => self.members.emit(name, found.plain, &found.packed).map(Some),
            None => Ok(None),
        }
    }

    /// Adds a file, from its start, if its content has the sum `expected`. A short one that has it is kept in the cache; a long
    /// one is written while it is read, unless it is `doubtful`: then it is read before, and nothing is written of another
    /// content.
    ///
    /// # Errors
    /// [`AddError`]: as [`ArchiveWriter::add`], or the file cannot be read.
    pub fn add_file(
        &mut self,
        name: &str,
        file: &mut (impl Read + Seek),
        expected: &ContentSum,
        doubtful: bool,
        cache: Option<&MemberCache>,
    ) -> Result<Added, AddError> {
        check(name)?;
        let failed = |error| AddError::Source { name: name.to_owned(), error };
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if self.members.never(length) {
            return Ok(Added::TooLarge);
        }
        if length > PART as u64 {
            return self.add_long(name, file, (length, expected), doubtful);
        }
        self.plain.clear();
        // One that has grown meanwhile has another sum.
        file.take(length + 1).read_to_end(&mut self.plain).map_err(failed)?;
        if !Proof::of(SUMS, &self.plain).fits_sum(expected) {
            return Ok(Added::Changed);
        }
        let packed = self.packer.pack(&self.plain)?;
        if let Some(cache) = cache {
            cache.keep(*expected, length, packed);
        }
        self.members.emit(name, length, packed)
    }

    /// Writes the metadata member, which is last, and returns what the archive was written to.
    ///
    /// # Errors
    /// When the archive cannot be written to.
    pub fn finish(mut self, metadata: &[u8]) -> io::Result<W> {
        let packed = self.packer.pack(metadata)?;
        self.members.start(METADATA_NAME)?;
        self.members.out.write_all(packed)?;
        self.members.out.flush()?;
        Ok(self.members.out)
    }

    /// Writes the file while it is read. Whether it is the one that is expected is known at its end, or before if that is
    /// doubtful.
    fn add_long(
        &mut self,
        name: &str,
        file: &mut (impl Read + Seek),
        (length, expected): (u64, &ContentSum),
        doubtful: bool,
    ) -> Result<Added, AddError> {
        let failed = |error| AddError::Source { name: name.to_owned(), error };
        if !self.members.fits(0, length) {
            return Ok(self.members.no_room());
        }
        // Only a reading can tell whether it becomes short enough.
        if doubtful || !self.members.fits(member_size(name, longest(length)), length) {
            let read = self.stream(file, length, u64::MAX, false)?;
            if let Some(Cut::Unreadable(error)) = read.cut {
                return Err(failed(error));
            }
            if !read.proof.fits_sum(expected) {
                return Ok(Added::Changed);
            }
            if !self.members.fits(member_size(name, read.packed), length) {
                return Ok(self.members.no_room());
            }
            file.rewind().map_err(failed)?;
        }
        let room = self.members.limit - self.members.sum - member_size(name, 0);
        let no_room = self.members.no_room();
        self.members.start(name)?;
        let written = self.stream(file, length, room, true)?;
        let member = member_size(name, written.packed);
        self.members.count(member, written.plain);
        match written.cut {
            Some(Cut::Unreadable(error)) => Err(failed(error)),
            Some(Cut::NoRoom) => Ok(no_room),
            None if written.proof.fits_sum(expected) => Ok(Added::Written { plain: written.plain, member }),
            None => Ok(Added::Changed),
        }
    }

    /// Reads up to `length` bytes and writes their stream, or only measures it. It ends well whatever happens to the file, and
    /// before it is longer than `room`.
    fn stream(&mut self, file: &mut impl Read, length: u64, room: u64, write: bool) -> io::Result<Streamed> {
        let mut measured = io::sink();
        let out: &mut dyn Write = if write { &mut self.members.out } else { &mut measured };
        let mut parts = self.packer.begin();
        let mut prover = Prover::new(SUMS);
        let (mut packed, mut plain) = (longest(0), 0);
        out.write_all(&START)?;
        let cut = loop {
            self.plain.clear();
            let next = (length - plain).min(PART as u64);
            if let Err(error) = file.by_ref().take(next).read_to_end(&mut self.plain) {
                break Some(Cut::Unreadable(error));
            }
            if self.plain.is_empty() {
                break None;
            }
            let Some(blocks) = parts.next(&self.plain, room.saturating_sub(packed))? else { break Some(Cut::NoRoom) };
            blocks.write(out)?;
            (packed, plain) = (packed + blocks.len(), plain + size(&self.plain));
            prover.update(&self.plain);
        };
        out.write_all(&parts.end())?;
        Ok(Streamed { packed, plain, proof: prover.finish(), cut })
    }
}

impl<W: Write> Members<W> {
    /// Whether a content of this length cannot be in this archive, even alone.
    fn never(&self, plain: u64) -> bool {
        plain > self.limit.min(self.contents_limit)
    }

    fn fits(&self, member: u64, plain: u64) -> bool {
        self.sum.saturating_add(member) <= self.limit && self.contents.saturating_add(plain) <= self.contents_limit
    }

    /// What there is to say of a content that does not fit.
    fn no_room(&self) -> Added {
        if self.sum == 0 { Added::TooLarge } else { Added::Full }
    }

    fn emit(&mut self, name: &str, plain: u64, packed: &[u8]) -> Result<Added, AddError> {
        let member = member_size(name, size(packed));
        if !self.fits(member, plain) {
            return Ok(self.no_room());
        }
        self.start(name)?;
        self.out.write_all(packed)?;
        self.count(member, plain);
        Ok(Added::Written { plain, member })
    }

    fn count(&mut self, member: u64, plain: u64) {
        self.sum += member;
        self.contents += plain;
    }

    fn start(&mut self, name: &str) -> io::Result<()> {
        if self.sum > 0 {
            self.out.write_all(FILE_SEP)?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(PATH_SEP)
    }
}

impl From<io::Error> for AddError {
    /// Whatever is not a failure of the source.
    fn from(error: io::Error) -> Self {
        Self::Archive(error)
    }
}

/// A member's name is a plain relative path. That it has no empty component keeps both separators out of it, also
/// over its end: each contains `//` before its last byte.
fn check(name: &str) -> Result<(), AddError> {
    path::check(name).map_err(|fault| AddError::Name { name: name.to_owned(), fault })
}

fn member_size(name: &str, packed: u64) -> u64 {
    size(name.as_bytes()) + size(PATH_SEP) + packed + size(FILE_SEP)
}

fn size(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}
