//! The file metadata of a peer (`spec/protocol.md` 10.2, 10.6): bytes as they come, and what this daemon writes.

use std::sync::Arc;

use clusterd::files::{
    Buckets, ChecksumKind, Entry, Manifest, RemoteManifest, compare, delta::Made, manifest::Protected, path,
    remote::RemoteUpdate, sum_of,
};

use super::{home::items, input::Input};

const KINDS: [ChecksumKind; 3] = [ChecksumKind::Md5, ChecksumKind::Md5Blake2b, ChecksumKind::Blake2b];

/// The first byte chooses the checksum, the second what the rest is.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let (kind, which) = (input.choice(&KINDS), input.byte() % 3);
    match which {
        0 => {
            if let Ok(claims) = RemoteManifest::parse(input.0, kind) {
                ordered(&claims);
                differences(&claims, kind);
            }
        }
        1 => {
            if let Ok(RemoteUpdate { create, update, delete }) = RemoteUpdate::parse(input.0, kind) {
                [create, update, delete].iter().for_each(ordered);
            }
        }
        _ => round_trip(input, kind),
    }
}

fn ordered(claims: &RemoteManifest) {
    let entries = claims.entries();
    assert!(entries.windows(2).all(|pair| pair[0].path < pair[1].path));
    for entry in entries {
        assert_eq!(claims.find(&entry.path), Some(entry));
        _ = claims.key_of(entry);
    }
}

/// A master that has one file of its own tells the worker of each that it claims, once.
fn differences(claims: &RemoteManifest, kind: ChecksumKind) {
    let own = manifest([("etc/shared/a".to_owned(), vec![1])].into_iter());
    let found = compare(&own, claims, kind, Buckets::ALL).expect("it has all checksums");
    let counts = found.counts();
    assert_eq!(counts.update + counts.delete + usize::from(found.is_empty()), claims.entries().len());
    let mut written = Vec::new();
    found.write_json(|_| false, &Made::default(), &mut written).expect("memory takes it");
    let read = RemoteUpdate::parse(&written, kind).expect("it is what a worker reads");
    let lengths = [&read.create, &read.update, &read.delete].map(|list| list.entries().len());
    assert_eq!(lengths, [counts.create, counts.update, counts.delete]);
}

/// Each part is a name below etc/shared/, and its content.
fn round_trip(mut input: Input<'_>, kind: ChecksumKind) {
    let mut files = Vec::new();
    while !input.is_over() && files.len() < 100 {
        let file = (format!("etc/shared/{}", input.text()), input.part().to_vec());
        files.extend(Some(file).filter(|(path, _)| path::check(path).is_ok()));
    }
    let own = manifest(files.into_iter());
    let (all, mut written) = (own.entries().iter().collect::<Vec<_>>(), Vec::new());
    own.to_json(&all, kind, &mut written).expect("memory takes it");
    let read = RemoteManifest::parse(&written, kind).expect("it is what a master reads");
    let same = read.entries().iter().zip(own.entries()).all(|(claim, entry)| {
        *claim.path == *entry.path
            // It is only shown, and may lose its last bit.
            && (claim.mod_time - entry.mod_time).abs() < 1e-6
            && read.key_of(claim) == own.key_of(entry)
            && claim.checksum.as_ref().map(|sum| sum.bytes()) == entry.checksum(kind)
    });
    assert!(same && read.entries().len() == own.entries().len() && read.unreadable().is_empty());
    assert!(compare(&own, &read, kind, Buckets::ALL).is_ok_and(|found| found.is_empty()));
}

fn manifest(files: impl Iterator<Item = (String, Vec<u8>)>) -> Manifest {
    let items = items();
    let item = items.id_of_key("etc/shared/").expect("it is a standard one");
    let entry = |(path, content): (String, Vec<u8>)| Entry {
        mod_time: content.len() as f64 / 3.0,
        sum: sum_of(&content),
        blake2b: Some(Arc::new([content.len() as u8; 64])),
        path: path.into(),
        item,
    };
    Manifest::new(items, files.map(entry).collect(), Protected::default())
}
