//! Writing an archive. Contents are streamed; only members up to 4 MiB are ever held whole.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    num::NonZeroU64,
};

use super::{
    FILE_SEP, METADATA_NAME, PATH_SEP,
    cache::MemberCache,
    deflate::Packer,
    error::AddError,
    separator::{Finder, collides},
    stored::store,
};
use crate::files::{
    checksum::{ChecksumKind, ContentSum, Proof, Prover},
    path,
};

/// Contents above this size are read twice instead of being held in memory.
const LARGE: u64 = 4 << 20;
/// The level that is tried when the first one made a separator.
const SECOND_LEVEL: u32 = 6;
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
    /// Its content is not what the manifest says: it was changed since the scan. It comes in a later cycle.
    Changed,
}

/// Writes one archive (`spec/protocol.md` 10.3, 10.6).
///
/// Each member is several small writes: give it a [`BufWriter`](std::io::BufWriter) where they are dear.
pub struct ArchiveWriter<W: Write> {
    out: W,
    limit: u64,
    /// Sum of the members so far.
    sum: u64,
    /// The most bytes that all contents may have together.
    contents_limit: u64,
    /// Sum of the contents so far.
    contents: u64,
    packer: Packer,
    second: Option<Packer>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// What the first reading of a large file found.
struct Measured {
    packed: u64,
    plain: u64,
    proof: Proof,
    collides: bool,
}

impl<W: Write> ArchiveWriter<W> {
    /// An empty archive. `level` is the zlib level (0 to 9, [`LEVEL`](super::LEVEL) like the stock daemon), `limit` the
    /// most bytes of all members but the metadata.
    pub fn new(out: W, level: u32, limit: u64) -> Self {
        let packer = Packer::new(level.min(9));
        Self {
            out,
            limit,
            sum: 0,
            contents_limit: u64::MAX,
            contents: 0,
            packer,
            second: None,
            plain: Vec::new(),
            packed: Vec::new(),
        }
    }

    /// Bounds the contents too: a reader refuses an archive that inflates to more than it permits, and would refuse the
    /// same archive for ever.
    pub fn with_contents_limit(mut self, bytes: u64) -> Self {
        self.contents_limit = bytes;
        self
    }

    /// Adds a content that is in memory.
    ///
    /// # Errors
    /// [`AddError`]: the name cannot be a member's, or the archive cannot be written to.
    pub fn add(&mut self, name: &str, content: &[u8]) -> Result<Added, AddError> {
        check(name)?;
        if size(content) > self.limit.min(self.contents_limit) {
            return Ok(Added::TooLarge);
        }
        self.pack(content)?;
        let packed = std::mem::take(&mut self.packed);
        let added = self.emit(name, size(content), &packed);
        self.packed = packed;
        added
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
        let (plain, packed) = match (cache.find(key), delta) {
            (Some(found), _) => (found.plain, found.packed),
            (None, Some(delta)) => {
                self.pack(delta)?;
                // A reader counts both.
                let plain = size(delta).saturating_add(made.get());
                cache.keep(*key, plain, &self.packed);
                (plain, self.packed.as_slice().into())
            }
            (None, None) => return Ok(None),
        };
        if plain > self.contents_limit {
            return Ok(Some(Added::TooLarge));
        }
        self.emit(name, plain, &packed).map(Some)
    }

    /// Adds the member from the cache if it is there. Saves even the opening of the file.
    ///
    /// # Errors
    /// As [`ArchiveWriter::add`].
    pub fn add_cached(&mut self, name: &str, sum: &ContentSum, cache: &MemberCache) -> Result<Option<Added>, AddError> {
        check(name)?;
        match cache.find(sum) {
            Some(found) if found.plain > self.limit.min(self.contents_limit) => Ok(Some(Added::TooLarge)),
            Some(found) => self.emit(name, found.plain, &found.packed).map(Some),
            None => Ok(None),
        }
    }

    /// Adds a file, from its start, if its content has the sum `expected` (where that is given). A small one that has it is
    /// kept in the cache.
    ///
    /// # Errors
    /// [`AddError`]: as [`ArchiveWriter::add`], or the file cannot be read, or has another content.
    pub fn add_file(
        &mut self,
        name: &str,
        file: &mut (impl Read + Seek),
        expected: Option<&ContentSum>,
        cache: Option<&MemberCache>,
    ) -> Result<Added, AddError> {
        check(name)?;
        let failed = |error| AddError::Source { name: name.to_owned(), error };
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if length > self.limit.min(self.contents_limit) {
            return Ok(Added::TooLarge);
        }
        if length > LARGE {
            return self.add_large(name, file, expected);
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let read = file.take(LARGE + 1).read_to_end(&mut plain);
        let added = match read {
            Err(error) => Err(failed(error)),
            // It has grown since its length was taken.
            Ok(_) if size(&plain) > LARGE => self.add_large(name, file, expected),
            Ok(_) => self.add_small(name, &plain, expected, cache),
        };
        self.plain = plain;
        added
    }

    /// Writes the metadata member, which is last, and returns what the archive was written to.
    ///
    /// # Errors
    /// When the archive cannot be written to.
    pub fn finish(mut self, metadata: &[u8]) -> io::Result<W> {
        self.pack(metadata).map_err(io::Error::other)?;
        let packed = std::mem::take(&mut self.packed);
        self.limit = u64::MAX;
        self.emit(METADATA_NAME, 0, &packed).map_err(|error| match error {
            AddError::Archive(error) => error,
            other => io::Error::other(other),
        })?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn add_small(
        &mut self,
        name: &str,
        plain: &[u8],
        expected: Option<&ContentSum>,
        cache: Option<&MemberCache>,
    ) -> Result<Added, AddError> {
        if expected.is_some_and(|expected| !Proof::of(SUMS, plain).fits_sum(expected)) {
            return Ok(Added::Changed);
        }
        self.pack(plain)?;
        let packed = std::mem::take(&mut self.packed);
        if let (Some(cache), Some(sum)) = (cache, expected) {
            cache.keep(*sum, size(plain), &packed);
        }
        let added = self.emit(name, size(plain), &packed);
        self.packed = packed;
        added
    }

    /// Leaves a zlib stream of `content` without separator in `self.packed`.
    fn pack(&mut self, content: &[u8]) -> Result<(), AddError> {
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        let dense = self.packer.is_dense(size(content), |from, buffer| {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            buffer.copy_from_slice(&content[from..from + buffer.len()]);
            Ok::<_, io::Error>(buffer.len())
        })?;
        if !dense {
            self.packer.pack(&mut &content[..], &mut |_| {}, &mut append(&mut packed), &AddError::Archive)?;
            if collides(&packed) {
                packed.clear();
                let second = self.second.get_or_insert_with(|| Packer::new(SECOND_LEVEL));
                second.pack(&mut &content[..], &mut |_| {}, &mut append(&mut packed), &AddError::Archive)?;
            }
        }
        if dense || collides(&packed) {
            packed.clear();
            store(&mut &content[..], &mut |_| {}, &mut append(&mut packed), &AddError::Archive)?;
        }
        self.packed = packed;
        Ok(())
    }

    fn emit(&mut self, name: &str, plain: u64, packed: &[u8]) -> Result<Added, AddError> {
        let member = member_size(name, size(packed));
        if !self.fits(member, plain) {
            return Ok(Added::Full);
        }
        self.start_member(name)?;
        self.out.write_all(packed)?;
        self.count(member, plain);
        Ok(Added::Written { plain, member })
    }

    fn fits(&self, member: u64, plain: u64) -> bool {
        self.sum.saturating_add(member) <= self.limit && self.contents.saturating_add(plain) <= self.contents_limit
    }

    fn count(&mut self, member: u64, plain: u64) {
        self.sum += member;
        self.contents += plain;
    }

    fn start_member(&mut self, name: &str) -> io::Result<()> {
        if self.sum > 0 {
            self.out.write_all(FILE_SEP)?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(PATH_SEP)
    }

    /// Reads the file twice: first to learn its checksum, its compressed size and whether that holds a separator,
    /// then to write it.
    fn add_large(
        &mut self,
        name: &str,
        file: &mut (impl Read + Seek),
        expected: Option<&ContentSum>,
    ) -> Result<Added, AddError> {
        let failed = |error| AddError::Source { name: name.to_owned(), error };
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut stored = self.packer.is_dense(length, |from, buffer| {
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            read_up_to(file, buffer).map_err(failed)
        })?;
        let mut first = self.stream(name, file, stored, false)?;
        if expected.is_some_and(|expected| !first.proof.fits_sum(expected)) {
            return Ok(Added::Changed);
        }
        if first.collides {
            stored = true;
            first = self.stream(name, file, stored, false)?;
        }
        let member = member_size(name, first.packed);
        if first.plain > self.limit.min(self.contents_limit) {
            return Ok(Added::TooLarge);
        }
        if !self.fits(member, first.plain) {
            return Ok(Added::Full);
        }
        self.start_member(name)?;
        let spoilt = |_| AddError::Changed { name: name.to_owned() };
        let second = self.stream(name, file, stored, true).map_err(|error| match error {
            AddError::Source { .. } => spoilt(()),
            other => other,
        })?;
        if second.proof != first.proof || second.packed != first.packed || second.collides {
            return Err(spoilt(()));
        }
        self.count(member, first.plain);
        Ok(Added::Written { plain: first.plain, member })
    }

    fn stream(
        &mut self,
        name: &str,
        file: &mut (impl Read + Seek),
        stored: bool,
        write: bool,
    ) -> Result<Measured, AddError> {
        let failed = |error| AddError::Source { name: name.to_owned(), error };
        file.rewind().map_err(failed)?;
        let (mut packed, mut plain, mut found) = (0u64, 0u64, false);
        let mut finder = Finder::default();
        let mut prover = Prover::new(SUMS);
        let out = &mut self.out;
        let mut sink = |bytes: &[u8]| {
            packed += size(bytes);
            found |= finder.feed(bytes).is_some();
            if write { out.write_all(bytes).map_err(AddError::Archive) } else { Ok(()) }
        };
        let mut content = |bytes: &[u8]| {
            plain += size(bytes);
            prover.update(bytes);
        };
        if stored {
            store(file, &mut content, &mut sink, &failed)?;
        } else {
            self.packer.pack(file, &mut content, &mut sink, &failed)?;
        }
        let collides = found || finder.cut_early();
        Ok(Measured { packed, plain, proof: prover.finish(), collides })
    }
}

impl From<io::Error> for AddError {
    /// Whatever is not a failure of the source.
    fn from(error: io::Error) -> Self {
        Self::Archive(error)
    }
}

/// Fills the buffer, as far as the source goes.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn append(packed: &mut Vec<u8>) -> impl FnMut(&[u8]) -> Result<(), AddError> {
    |bytes| {
        packed.extend_from_slice(bytes);
        Ok(())
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
