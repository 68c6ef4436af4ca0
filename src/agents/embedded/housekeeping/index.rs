//! Which numbers stand in which chunks of client.keys: where some lines have changed, only the agents there are looked at.

use std::{collections::HashMap, fs::File, io, ops::RangeInclusive, os::unix::fs::FileExt, sync::Arc};

use super::keys::agent;
use crate::{
    agents::client_keys::{LONGEST_FILE, Lines},
    files::outline::{Chunk, Outline},
};

/// The most text that is looked at, in bytes; beyond, looking at all of the file costs little more.
const MOST: u64 = 1 << 20;

/// The numbers in each chunk of a version of the file.
pub(super) struct Index {
    outline: Arc<Outline>,
    /// The least and the greatest number of each chunk; none if it has no agent.
    spans: Vec<Option<(u32, u32)>>,
}

/// What differs between two versions of the file.
pub(super) struct Changed {
    /// The numbers that may be of other agents, or of none, apart from each other and in ascending order.
    pub(super) ids: Vec<RangeInclusive<i64>>,
    /// All lines with these numbers, and others.
    pub(super) text: Vec<u8>,
    /// Of the version that is there now.
    pub(super) index: Index,
}

impl Index {
    /// Of the whole file. None if it is not that of the outline, or not made of lines.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn of(file: &File, outline: Arc<Outline>) -> io::Result<Option<Self>> {
        Self::read(file, outline, &HashMap::new())
    }

    /// The numbers of chunks that are not `known`.
    fn read(
        file: &File,
        outline: Arc<Outline>,
        known: &HashMap<Chunk, Option<(u32, u32)>>,
    ) -> io::Result<Option<Self>> {
        if outline.size > LONGEST_FILE {
            return Ok(None);
        }
        let mut spans = Vec::with_capacity(outline.chunks().len());
        for (at, chunk) in places(&outline) {
            if let Some(span) = known.get(chunk) {
                spans.push(*span);
                continue;
            }
            let mut content = Vec::new();
            if !append(file, &outline, (at, chunk), &mut content)? {
                return Ok(None);
            }
            spans.push(span(&content)?);
        }
        Ok(Some(Self { outline, spans }))
    }

    /// Whether the file with this outline is the one of the index.
    pub(super) fn is_of(&self, outline: &Outline) -> bool {
        self.outline.sum == outline.sum
    }

    /// What differs in the file with this outline. None if it is not that, not made of lines, or differs in too much.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn changed(&self, file: &File, outline: Arc<Outline>) -> io::Result<Option<Changed>> {
        let known: HashMap<Chunk, _> = self.outline.chunks().iter().copied().zip(self.spans.iter().copied()).collect();
        let Some(index) = Self::read(file, outline, &known)? else { return Ok(None) };
        let there: HashMap<Chunk, _> =
            index.outline.chunks().iter().copied().zip(index.spans.iter().copied()).collect();
        let gone = known.iter().filter(|(chunk, _)| !there.contains_key(*chunk));
        let new = there.iter().filter(|(chunk, _)| !known.contains_key(*chunk));
        let ids = union(gone.chain(new).filter_map(|(_, span)| *span).collect());
        let mut text = Vec::new();
        for (place, span) in places(&index.outline).zip(&index.spans) {
            let is_in = |(first, last): &(u32, u32)| {
                let (first, last) = (i64::from(*first), i64::from(*last));
                ids.iter().any(|ids| *ids.start() <= last && first <= *ids.end())
            };
            if span.as_ref().is_some_and(is_in)
                && (text.len() as u64 + place.1.length() > MOST || !append(file, &index.outline, place, &mut text)?)
            {
                return Ok(None);
            }
        }
        Ok(Some(Changed { ids, text, index }))
    }
}

/// The chunks, each with where it begins.
fn places(outline: &Outline) -> impl Iterator<Item = (u64, &Chunk)> {
    let begin = |at: &mut u64, chunk| {
        let begin = *at;
        *at += Chunk::length(chunk);
        Some((begin, chunk))
    };
    outline.chunks().iter().scan(0, begin)
}

/// Reads a chunk; whether it is there, and made of lines. The last line of the file may have no end.
fn append(file: &File, outline: &Outline, (at, chunk): (u64, &Chunk), to: &mut Vec<u8>) -> io::Result<bool> {
    let (start, length) = (to.len(), chunk.length() as usize);
    // With the byte before it, which ends the line before.
    let before = u64::from(at > 0);
    let mut read = vec![0; length + before as usize];
    match file.read_exact_at(&mut read, at - before) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    let (end_before, content) = read.split_at(before as usize);
    let is_last = at + chunk.length() == outline.size;
    let is_of_lines = end_before.iter().all(|byte| *byte == b'\n') && (is_last || content.ends_with(b"\n"));
    to.extend_from_slice(content);
    Ok(is_of_lines && Chunk::of(&to[start..]) == *chunk)
}

/// The least and the greatest number.
fn span(content: &[u8]) -> io::Result<Option<(u32, u32)>> {
    let (mut lines, mut span) = (Lines::new(content), None);
    while let Some((line, is_whole)) = lines.read()? {
        let Some((id, _)) = agent(line, is_whole) else { continue };
        let (first, last) = span.unwrap_or((id, id));
        span = Some((first.min(id), last.max(id)));
    }
    Ok(span)
}

/// Spans that do not touch each other.
fn union(mut spans: Vec<(u32, u32)>) -> Vec<RangeInclusive<i64>> {
    spans.sort_unstable();
    let mut ids: Vec<RangeInclusive<i64>> = Vec::new();
    for (first, last) in spans.into_iter().map(|(first, last)| (i64::from(first), i64::from(last))) {
        match ids.last_mut() {
            Some(before) if first <= before.end() + 1 => {
                *before = *before.start()..=last.max(*before.end());
            }
            _ => ids.push(first..=last),
        }
    }
    ids
}
