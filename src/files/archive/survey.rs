//! The first reading of a received archive: verifies all of it and learns where each content stands and how large it
//! is, before a single byte is written anywhere.

use std::{
    collections::HashMap,
    io::{self, Read, Seek},
};

use super::{
    FILE_SEP, LONGEST_METADATA, LONGEST_NAME, LONGEST_NAMES, METADATA_NAME, MOST_MEMBERS, PATH_SEP,
    error::ArchiveError, inflate::Inflater, separator::Finder, source::Window,
};
use crate::files::{
    checksum::{ChecksumKind, Proof, Prover},
    path,
};

/// One content of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where its zlib stream begins.
    pub offset: u64,
    /// Bytes of the content.
    pub size: u64,
    /// Of the content.
    pub proof: Proof,
}

/// What an archive holds.
#[derive(Debug, Default)]
pub struct Survey {
    /// The metadata; empty if there is none.
    pub metadata: Vec<u8>,
    /// The other members by normalised name. Of equal names the last counts.
    pub members: HashMap<Box<str>, Member>,
    /// Bytes of all contents.
    pub inflated: u64,
}

/// Is shown the members of an archive while it is read, but for the metadata. That each is whole, and all of them are an
/// archive, is known at the end only.
pub trait Visitor {
    /// A member of this normalised name begins.
    fn begin(&mut self, name: &str);
    /// The next bytes of its content.
    fn piece(&mut self, bytes: &[u8]);
    /// It has ended.
    fn end(&mut self, member: &Member);
}

impl Visitor for () {
    fn begin(&mut self, _: &str) {}
    fn piece(&mut self, _: &[u8]) {}
    fn end(&mut self, _: &Member) {}
}

/// Reads a whole archive, holding nothing of it but the metadata.
///
/// `max_inflated` bounds the sum of all contents in bytes. Every stream is inflated to its own end, so a separator
/// inside one does no harm; what follows a stream up to the next separator is ignored, as the stock daemon does.
///
/// # Errors
/// [`ArchiveError`]: the archive cannot be read, or is not one; the sender is at fault.
pub fn survey(file: &mut (impl Read + Seek), kind: ChecksumKind, max_inflated: u64) -> Result<Survey, ArchiveError> {
    visit(file, kind, max_inflated, &mut ())
}

/// [`survey`], with one who is shown everything on the way.
///
/// # Errors
/// As [`survey`].
pub fn visit(
    file: &mut (impl Read + Seek),
    kind: ChecksumKind,
    max_inflated: u64,
    visitor: &mut impl Visitor,
) -> Result<Survey, ArchiveError> {
    let mut window = Window::new(file)?;
    let mut inflater = Inflater::new();
    let mut found = Survey::default();
    let (mut count, mut names) = (0, 0);
    loop {
        let name = read_name(&mut window)?;
        names += name.len();
        if names > LONGEST_NAMES {
            return Err(ArchiveError::LongNames);
        }
        let offset = window.offset();
        let left = max_inflated - found.inflated;
        let too_large = |error| match error {
            ArchiveError::TooLarge { .. } => ArchiveError::TooLarge { limit: max_inflated },
            other => other,
        };
        if name == METADATA_NAME {
            let mut metadata = Vec::new();
            found.inflated += inflater
                .run(&mut window, &name, left, &mut |bytes| {
                    if metadata.len() + bytes.len() > LONGEST_METADATA {
                        return Err(ArchiveError::LargeMetadata);
                    }
                    metadata.extend_from_slice(bytes);
                    Ok(())
                })
                .map_err(too_large)?;
            found.metadata = metadata;
        } else {
            visitor.begin(&name);
            let mut prover = Prover::new(kind);
            let size = inflater
                .run(&mut window, &name, left, &mut |bytes| {
                    prover.update(bytes);
                    visitor.piece(bytes);
                    Ok::<(), ArchiveError>(())
                })
                .map_err(too_large)?;
            found.inflated += size;
            let member = Member { offset, size, proof: prover.finish() };
            visitor.end(&member);
            found.members.insert(name.into(), member);
        }
        count += 1;
        if count > MOST_MEMBERS {
            return Err(ArchiveError::TooMany);
        }
        if !skip_separator(&mut window)? {
            return Ok(found);
        }
    }
}

/// Reads up to and with the path separator; returns the normalised name.
fn read_name<R: Read + Seek>(window: &mut Window<R>) -> Result<String, ArchiveError> {
    let mut raw = Vec::new();
    while !raw.ends_with(PATH_SEP) {
        let Some(byte) = window.fill()?.first().copied() else { return Err(ArchiveError::NoName) };
        window.consume(1);
        raw.push(byte);
        if raw.ends_with(FILE_SEP) {
            return Err(ArchiveError::NoName);
        }
        if raw.len() > LONGEST_NAME + PATH_SEP.len() {
            return Err(ArchiveError::LongName);
        }
    }
    raw.truncate(raw.len() - PATH_SEP.len());
    let name = String::from_utf8(raw)
        .map_err(|error| ArchiveError::NotUtf8(String::from_utf8_lossy(error.as_bytes()).into_owned()))?;
    path::normalise(&name).ok_or(ArchiveError::Unsafe(name))
}

/// Goes on to just after the next separator; `false` if the file ends before one.
fn skip_separator<R: Read + Seek>(window: &mut Window<R>) -> io::Result<bool> {
    let mut finder = Finder::default();
    loop {
        let bytes = window.fill()?;
        let (length, found) = (bytes.len(), finder.feed(bytes));
        window.consume(found.unwrap_or(length));
        if found.is_some() || length == 0 {
            return Ok(found.is_some());
        }
    }
}
