//! Making a delta.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
};

use super::{COPY, INSERT};
use crate::files::outline::{Chunk, Outline};

/// The most bytes that are inserted. A file that differs in more travels as a whole.
const MOST_INSERTED: u64 = 256 << 10;

/// A part of the content.
#[derive(Clone, Copy)]
enum Part {
    /// Found in the base.
    Old { from: u64, length: u64 },
    /// Of the new content.
    New { from: u64, length: u64 },
}

/// What makes the content `target` from the content `base`; `file` has the former. None if it has it no more, or if there
/// is too much of it that the base has not.
///
/// # Errors
/// When the file cannot be read.
pub fn make(base: &Outline, target: &Outline, file: &File) -> io::Result<Option<Vec<u8>>> {
    let parts = parts(base, target);
    let inserted: u64 = parts.iter().map(|part| if let Part::New { length, .. } = part { *length } else { 0 }).sum();
    if inserted > MOST_INSERTED.min(target.size / 2) {
        return Ok(None);
    }
    let mut delta = Vec::new();
    for part in parts {
        match part {
            Part::Old { from, length } => {
                delta.push(COPY);
                delta.extend_from_slice(&from.to_be_bytes());
                delta.extend_from_slice(&length.to_be_bytes());
            }
            Part::New { from, length } => {
                delta.push(INSERT);
                delta.extend_from_slice(&length.to_be_bytes());
                let start = delta.len();
                // Bounded above.
                delta.resize(start + length as usize, 0);
                match file.read_exact_at(&mut delta[start..], from) {
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                    read => read?,
                }
                if !has(target, from, &delta[start..]) {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(delta))
}

/// The parts of the target, neighbours together.
fn parts(base: &Outline, target: &Outline) -> Vec<Part> {
    let mut places: HashMap<Chunk, u64> = HashMap::with_capacity(base.chunks.len());
    let mut at = 0;
    for chunk in &base.chunks {
        places.entry(*chunk).or_insert(at);
        at += chunk.length();
    }
    let (mut parts, mut at) = (Vec::new(), 0);
    for chunk in &target.chunks {
        let more = chunk.length();
        match (parts.last_mut(), places.get(chunk).copied()) {
            (Some(Part::Old { from, length }), Some(place)) if *from + *length == place => *length += more,
            (_, Some(from)) => parts.push(Part::Old { from, length: more }),
            (Some(Part::New { length, .. }), None) => *length += more,
            (_, None) => parts.push(Part::New { from: at, length: more }),
        }
        at += more;
    }
    parts
}

/// Whether what was read of the target from there on is what its chunks have.
fn has(target: &Outline, from: u64, read: &[u8]) -> bool {
    let (mut at, mut rest) = (0, read);
    for chunk in &target.chunks {
        if at >= from && !rest.is_empty() {
            // A part is made of whole chunks.
            let (content, after) = rest.split_at(rest.len().min(chunk.length() as usize));
            if Chunk::of(content) != *chunk {
                return false;
            }
            rest = after;
        }
        at += chunk.length();
    }
    rest.is_empty()
}
