//! Archives (`spec/protocol.md` 10.3): bytes as they come, members that a peer makes, and what this daemon writes.

use std::{collections::BTreeMap, io::Cursor};

use clusterd::files::{
    ArchiveError, ArchiveWriter, ChecksumKind,
    archive::{Added, LEVEL, Survey},
    checksum::Proof,
    path, survey,
};

use super::{home, input::Input};

/// The most content that is taken here.
const MOST: u64 = 1 << 20;

const KIND: ChecksumKind = ChecksumKind::Blake2b;

/// The first byte chooses what the rest is.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 3 {
        0 => _ = read(input.0),
        1 => made(&members(input)),
        _ => written(members(input)),
    }
}

/// Each part is a name and a content.
fn members(mut input: Input<'_>) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    while !input.is_over() && members.len() < 50 {
        members.push((input.text(), input.part().to_vec()));
    }
    members
}

/// What a peer makes, with any names: the last content of each is the one that counts.
fn made(members: &[(String, Vec<u8>)]) {
    let pieces: Vec<_> = members.iter().map(|(name, content)| home::member(name, content)).collect();
    let Ok(found) = read(&pieces.join(&home::FILE_SEP[..])) else { return };
    if members.iter().any(|(name, _)| name.contains('|')) {
        // Part of it may be a separator.
        return;
    }
    let named = |(name, content)| (path::normalise(name).expect("an unsafe name is refused"), content);
    let mut last: BTreeMap<String, &Vec<u8>> = members.iter().map(|(name, content)| named((name, content))).collect();
    last.remove("files_metadata.json");
    assert_eq!(found.members.len(), last.len());
    for (name, content) in last {
        let member = &found.members[&*name];
        assert!(member.size == content.len() as u64 && member.proof == Proof::of(KIND, content));
    }
}

fn read(archive: &[u8]) -> Result<Survey, ArchiveError> {
    let found = survey(&mut Cursor::new(archive), KIND, MOST)?;
    assert!(found.inflated <= MOST);
    for (name, member) in &found.members {
        assert_eq!(path::normalise(name).as_deref(), Some(&**name), "a name has one spelling");
        assert!(member.offset <= archive.len() as u64 && member.size <= found.inflated);
    }
    Ok(found)
}

/// What is written is read; and a reader that cuts at every separator, as stock nodes do, cuts at the right ones.
fn written(members: Vec<(String, Vec<u8>)>) {
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST);
    let mut taken = BTreeMap::new();
    for (name, content) in members {
        let added = writer.add(&name, &content);
        assert_eq!(added.is_ok(), path::check(&name).is_ok(), "{name:?}");
        if matches!(added, Ok(Added::Written { .. })) && name != "files_metadata.json" {
            taken.insert(name, content);
        }
    }
    let archive = writer.finish(b"{}").expect("memory takes it");
    let found = read(&archive).expect("it is what a node reads");
    assert_eq!(found.members.len(), taken.len());
    assert!(taken.iter().all(|(name, content)| found.members[&**name].proof == Proof::of(KIND, content)));
}
