use std::{collections::HashMap, io::Cursor};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::Value;

use super::{separator::collides, *};
use crate::files::checksum::{Checksum, ChecksumKind, ContentSum, Proof, one_md5, sum_of};

fn vector(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// All contents of an archive by name, read back through their offsets.
fn extract(archive: &[u8], kind: ChecksumKind) -> Result<HashMap<String, Vec<u8>>, ArchiveError> {
    let found = survey(&mut Cursor::new(archive), kind, MOST_INFLATED)?;
    let mut window = Window::new(Cursor::new(archive))?;
    let mut inflater = Inflater::new();
    let mut contents = HashMap::new();
    for (name, member) in &found.members {
        window.seek(member.offset)?;
        let mut content = Vec::new();
        let size = inflater.run(&mut window, name, u64::MAX, &mut |bytes| {
            content.extend_from_slice(bytes);
            Ok::<(), ArchiveError>(())
        })?;
        assert_eq!(size, member.size);
        assert_eq!(Proof::of(kind, &content), member.proof);
        contents.insert(name.to_string(), content);
    }
    if !found.metadata.is_empty() {
        contents.insert(METADATA_NAME.to_owned(), found.metadata);
    }
    Ok(contents)
}

/// What a stock reader makes of an archive: it cuts at every separator.
fn original(archive: &[u8]) -> HashMap<String, Vec<u8>> {
    let text: Vec<u8> = archive.to_vec();
    let mut contents = HashMap::new();
    let mut rest = &text[..];
    loop {
        let cut = rest.windows(8).position(|window| window == FILE_SEP);
        let part = &rest[..cut.unwrap_or(rest.len())];
        let path = part.windows(8).position(|window| window == PATH_SEP).expect("a path separator");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(&part[path + 8..]), &mut content).unwrap();
        contents.insert(String::from_utf8(part[..path].to_vec()).unwrap(), content);
        match cut {
            Some(cut) => rest = &rest[cut + 8..],
            None => return contents,
        }
    }
}

#[test]
fn every_edge_case_ends_as_with_the_original() {
    // Differences, all for the better or elsewhere: the collision is survived, and the metadata is judged by its reader.
    let recovered = "incompressible member whose stored zlib block contains the file separator";
    for case in vector("archive_edge_cases")["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let expected = &case["genuine_4_14_7"];
        let found = extract(&bytes(&case["archive_b64"]), ChecksumKind::Blake2b);
        if name == recovered {
            let found = found.unwrap();
            assert!(found.contains_key("etc/shared/edge/collision.bin"));
            continue;
        }
        if name == "metadata is not JSON" {
            let metadata = &found.unwrap()[METADATA_NAME];
            assert!(crate::files::remote::RemoteManifest::parse(metadata, ChecksumKind::Blake2b).is_err());
            continue;
        }
        if expected["result"] == "error" {
            let error = found.expect_err(name);
            if expected["exception"] == "WazuhInternalError" {
                assert_eq!(error.code(), 3003, "{name}");
            }
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        let wanted: HashMap<String, Vec<u8>> = expected["extracted"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, content)| (path.clone(), bytes(content)))
            .collect();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn captured_archives_are_read_and_contents_have_their_checksums() {
    for name in ["archive_master_to_worker", "archive_worker_to_master", "archive_worker_to_master_insync"] {
        let vector = vector(name);
        let found =
            survey(&mut Cursor::new(bytes(&vector["archive_b64"])), ChecksumKind::Blake2b, MOST_INFLATED).unwrap();
        for member in vector["members_in_order"].as_array().unwrap() {
            let path = member["name"].as_str().unwrap();
            if path == METADATA_NAME {
                assert_eq!(found.metadata, bytes(&member["content_b64"]));
            } else {
                let checksum = Checksum::from_hex(ChecksumKind::Blake2b, member["blake2b"].as_str().unwrap()).unwrap();
                assert!(found.members[path].proof.fits(&checksum), "{path}");
            }
        }
    }
}

#[test]
fn our_archive_has_the_form_of_the_original() {
    let vector = vector("archive_master_to_worker");
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
    let mut metadata = Vec::new();
    for member in vector["members_in_order"].as_array().unwrap() {
        let content = bytes(&member["content_b64"]);
        match member["name"].as_str().unwrap() {
            METADATA_NAME => metadata = content,
            name => assert!(matches!(writer.add(name, &content).unwrap(), Added::Written { .. })),
        }
    }
    let archive = writer.finish(&metadata).unwrap();
    let theirs = bytes(&vector["archive_b64"]);
    assert_eq!(original(&archive), original(&theirs));
    assert_eq!(extract(&archive, ChecksumKind::Md5).unwrap(), original(&theirs));
    let start = PATH_SEP.len() + archive.windows(8).position(|window| window == PATH_SEP).unwrap();
    assert_eq!(archive[start..start + 2], [0x78, 0x01]);
}

/// Content that no compressor makes smaller, with separators in it.
fn hostile(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content: Vec<u8> = (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    for at in (100..length.saturating_sub(8)).step_by(10_007) {
        content[at..at + 8].copy_from_slice(FILE_SEP);
    }
    let end = content.len() - 7;
    content[end..].copy_from_slice(&FILE_SEP[..7]);
    content
}

#[test]
fn separators_in_incompressible_content_do_no_harm() {
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
    // Two that no compressor is tried on, and two in whose compressed streams it is found.
    let (small, large) = (hostile(100_000), hostile(5 << 20));
    let short = hostile(50_000);
    let mixed = [vec![0; 1 << 20], hostile(4 << 20), vec![0; 1 << 20]].concat();
    for (name, content) in [("small", &small), ("large", &large), ("short", &short), ("mixed", &mixed)] {
        writer.add_file(name, &mut Cursor::new(content), &sum_of(content), false, None).unwrap();
    }
    let compressible = b"abc".repeat(2 << 20);
    writer.add_file("plain", &mut Cursor::new(&compressible), &sum_of(&compressible), false, None).unwrap();
    let archive = writer.finish(b"{}").unwrap();
    let found = original(&archive);
    assert!(found["small"] == small && found["large"] == large && found["plain"] == compressible);
    assert!(found["short"] == short && found["mixed"] == mixed);
    assert!(extract(&archive, ChecksumKind::Md5).unwrap() == found);
}

/// The member of a content, in an archive of its own.
fn member(content: &[u8]) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
    writer.add_file("a", &mut Cursor::new(content), &sum_of(content), false, None).unwrap();
    let archive = writer.finish(b"{}").unwrap();
    assert!(original(&archive)["a"] == content);
    let end = archive.windows(8).rposition(|window| window == FILE_SEP).unwrap();
    archive[1 + PATH_SEP.len()..end].to_vec()
}

#[test]
fn what_does_not_become_shorter_is_stored_and_what_does_is_compressed() {
    for length in [64 << 10, 1 << 20, 5 << 20] {
        let noise = hostile(length);
        let stored = member(&noise);
        assert_eq!(stored[..3], [0x78, 0x01, 0], "a stored block");
        assert!(stored.len() < length + length / 1000, "{}", stored.len());
        // A sixteenth of it is worth the work.
        let mut text = noise.clone();
        text.chunks_mut(8).for_each(|chunk| chunk[0] = 0);
        text.chunks_mut(4096).for_each(|chunk| chunk[..1024].fill(b'x'));
        assert!(member(&text).len() < length - length / 8);
        assert!(member(&b"text ".repeat(length / 5)).len() < length / 50);
    }
}

#[test]
fn the_contents_have_a_limit_of_their_own() {
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED).with_contents_limit(5);
    assert!(matches!(writer.add("a", b"abc").unwrap(), Added::Written { .. }));
    assert_eq!(writer.add("b", b"abc").unwrap(), Added::Full);
    assert_eq!(writer.add("c", b"abcdef").unwrap(), Added::TooLarge);
    assert!(matches!(writer.add("d", b"ab").unwrap(), Added::Written { .. }));
    assert_eq!(original(&writer.finish(b"{}").unwrap()).len(), 3);
}

#[test]
fn the_limit_counts_whole_members() {
    let packed = 11; // zlib of three bytes
    let one = (1 + 8 + packed + 8) as u64;
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, 2 * one);
    let written = Added::Written { plain: 3, member: one };
    assert_eq!(writer.add("a", b"abc").unwrap(), written);
    assert_eq!(writer.add("b", &[7; 1000]).unwrap(), Added::TooLarge);
    assert_eq!(writer.add_file("c", &mut Cursor::new([7; 1000]), &[0; 32], false, None).unwrap(), Added::TooLarge);
    assert_eq!(writer.add("bb", b"abc").unwrap(), Added::Full);
    assert_eq!(writer.add("b", b"abc").unwrap(), written);
    let found = original(&writer.finish(b"{}").unwrap());
    assert_eq!(found.len(), 3);
}

#[test]
fn a_changed_file_is_not_added_and_the_cache_is_used() {
    let cache = MemberCache::new(1 << 20);
    let sum = sum_of(b"content");
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
    assert_eq!(writer.add_cached("a", &sum, &cache).unwrap(), None);
    let changed = writer.add_file("a", &mut Cursor::new(b"other"), &sum, false, Some(&cache)).unwrap();
    assert_eq!((changed, cache.bytes()), (Added::Changed, 0));
    writer.add_file("a", &mut Cursor::new(b"content"), &sum, false, Some(&cache)).unwrap();
    assert!(matches!(writer.add_cached("b", &sum, &cache).unwrap(), Some(Added::Written { plain: 7, .. })));
    let found = original(&writer.finish(b"{}").unwrap());
    assert_eq!(found["a"], found["b"]);
    assert_eq!(found["b"], b"content");
}

/// Case 6.8: neither the cache nor the check of a content takes one for another with its MD5, be it small or large.
#[test]
fn what_has_the_same_md5_is_not_sent_for_another() {
    for length in [0, 5 << 20] {
        let [old, new] = one_md5().map(|content| [content, vec![b'x'; length]].concat());
        let (cache, sum) = (MemberCache::new(1 << 20), sum_of(&new));
        let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
        assert!(matches!(
            writer.add_file("a", &mut Cursor::new(&old), &sum_of(&old), false, Some(&cache)),
            Ok(Added::Written { .. })
        ));
        assert_eq!(writer.add_cached("b", &sum, &cache).unwrap(), None);
        assert_eq!(writer.add_file("b", &mut Cursor::new(&old), &sum, false, Some(&cache)).unwrap(), Added::Changed);
        writer.add_file("b", &mut Cursor::new(&new), &sum, false, Some(&cache)).unwrap();
        let found = original(&writer.finish(b"{}").unwrap());
        assert!(found["a"] == old && found["b"] == new);
    }
}

/// A file of zeros that is `claimed` to be of another length, and that tells how often its end was come by, or is broken there.
struct Source {
    claimed: u64,
    held: Vec<u8>,
    at: usize,
    broken: bool,
    rewound: usize,
}

impl Source {
    fn new(claimed: usize, held: usize, broken: bool) -> Self {
        Self { claimed: claimed as u64, held: vec![0; held], at: 0, broken, rewound: 0 }
    }
}

impl std::io::Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = (&self.held[self.at..]).read(buffer)?;
        self.at += count;
        if count == 0 && self.broken { Err(std::io::Error::other("bad disk")) } else { Ok(count) }
    }
}

impl std::io::Seek for Source {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        if to == std::io::SeekFrom::Start(0) {
            (self.at, self.rewound) = (0, self.rewound + 1);
            return Ok(0);
        }
        Ok(self.claimed)
    }
}

/// Whatever happens to a long file while it is sent, the archive is one, and the metadata need only leave it out.
#[test]
fn a_long_file_is_read_once_and_spoils_no_archive() {
    let long = 5 << 20;
    let whole = sum_of(&vec![0; long]);
    let add = |mut source: Source, expected: &ContentSum| {
        let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
        let added = writer.add_file("long", &mut source, expected, false, None).map_err(|error| error.to_string());
        writer.add("after", b"content").unwrap();
        let archive = writer.finish(b"{}").unwrap();
        let found = original(&archive);
        assert!(found["after"] == b"content" && found[METADATA_NAME] == b"{}");
        assert_eq!(extract(&archive, ChecksumKind::Md5).unwrap(), found);
        (added, found["long"].len(), source.rewound)
    };
    let (added, held, rewound) = add(Source::new(long, long, false), &whole);
    assert!(matches!(added, Ok(Added::Written { plain, .. }) if plain == long as u64));
    assert_eq!((held, rewound), (long, 1));
    // It was changed, it has shrunk, it grows, it cannot be read to its end.
    assert_eq!(add(Source::new(long, long, false), &[0; 32]), (Ok(Added::Changed), long, 1));
    assert_eq!(add(Source::new(long, 3 << 20, false), &whole), (Ok(Added::Changed), 3 << 20, 1));
    assert_eq!(add(Source::new(long - 1, long, false), &whole), (Ok(Added::Changed), long - 1, 1));
    let (broken, held, _) = add(Source::new(long, 3 << 20, true), &whole);
    assert!(broken.unwrap_err().contains("'long' cannot be read: bad disk"));
    assert_eq!(held, 3 << 20);
}

/// Only a reading tells how much shorter a content becomes, so it is measured first where that decides.
#[test]
fn what_may_not_fit_is_measured_before_it_is_sent() {
    let long = 5 << 20;
    let whole = sum_of(&vec![0; long]);
    let limited = |limit: u64, before: &[u8], content: &[u8]| {
        let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, limit);
        writer.add("before", before).unwrap();
        let added = writer.add_file("long", &mut Cursor::new(content), &sum_of(content), false, None).unwrap();
        (added, original(&writer.finish(b"{}").unwrap()).contains_key("long"))
    };
    let zeros = vec![0; long];
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, long as u64 + 100);
    let mut source = Source::new(long, long, false);
    assert!(matches!(writer.add_file("long", &mut source, &whole, false, None), Ok(Added::Written { .. })));
    assert_eq!(source.rewound, 2, "it may have been stored");
    assert!(matches!(limited(long as u64 + 1000, b"x", &zeros), (Added::Written { .. }, true)));
    let noise = hostile(long);
    assert_eq!(limited(long as u64 + 100, b"x", &noise), (Added::Full, false));
    let mut alone = ArchiveWriter::new(Vec::new(), LEVEL, long as u64 + 100);
    assert_eq!(
        alone.add_file("long", &mut Cursor::new(&noise), &sum_of(&noise), false, None).unwrap(),
        Added::TooLarge
    );
    // What has to be stored and is full of separators becomes longer than any other: it is cut off where it passes the limit.
    let separators: Vec<u8> = noise.chunks(64).flat_map(|noise| [noise, &FILE_SEP[..]].concat()).collect();
    let most = super::stream::longest(separators.len() as u64) + 100;
    assert_eq!(limited(most, b"x", &separators), (Added::Full, true));
}

#[test]
fn a_source_that_fails_leaves_the_archive_whole() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("bad disk"))
        }
    }
    impl std::io::Seek for Broken {
        fn seek(&mut self, _: std::io::SeekFrom) -> std::io::Result<u64> {
            Ok(3)
        }
    }
    let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
    writer.add("a", b"a").unwrap();
    assert!(!writer.add_file("b", &mut Broken, &[0; 32], false, None).unwrap_err().spoils());
    assert!(!writer.add("../b", b"b").unwrap_err().spoils());
    assert_eq!(original(&writer.finish(b"{}").unwrap()).len(), 2);
}

#[test]
fn the_sum_of_contents_is_bounded() {
    let mut writer = ArchiveWriter::new(Vec::new(), 9, MOST_INFLATED);
    for name in ["a", "b"] {
        writer.add(name, &vec![0; 600_000]).unwrap();
    }
    let mut archive = Cursor::new(writer.finish(b"{}").unwrap());
    let error = survey(&mut archive, ChecksumKind::Md5, 1_000_000).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (3053, "the archive holds more than 1000000 bytes of content".into())
    );
    assert_eq!(survey(&mut archive, ChecksumKind::Md5, 1_200_002).unwrap().inflated, 1_200_002);
    assert!(survey(&mut archive, ChecksumKind::Md5, 1_200_001).is_err());
}

/// Case 5.7.
#[test]
fn names_are_bounded_in_all() {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"x").unwrap();
    let content = encoder.finish().unwrap();
    let archive = |count: usize| {
        let member = |n: usize| [format!("{n:0>8000}").as_bytes(), PATH_SEP, &content, FILE_SEP].concat();
        let mut archive: Vec<u8> = (0..count).flat_map(member).collect();
        archive.truncate(archive.len() - FILE_SEP.len());
        survey(&mut Cursor::new(archive), ChecksumKind::Md5, MOST_INFLATED)
    };
    assert_eq!(archive(LONGEST_NAMES / 8000).unwrap().members.len(), LONGEST_NAMES / 8000);
    assert!(matches!(archive(LONGEST_NAMES / 8000 + 1), Err(ArchiveError::LongNames)));
}

#[test]
fn endless_names_are_refused() {
    let error = survey(&mut Cursor::new(vec![b'a'; 100_000]), ChecksumKind::Md5, MOST_INFLATED).unwrap_err();
    assert!(matches!(error, ArchiveError::LongName));
}

proptest! {
    #[test]
    fn what_is_written_is_read(contents in proptest::collection::vec(
        prop_oneof!["[|@/x]{0,60}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..400)], 0..8),
        level in 0u32..10, metadata in "[|@/{}]{0,30}") {
        let mut writer = ArchiveWriter::new(Vec::new(), level, MOST_INFLATED);
        let mut wanted = HashMap::new();
        for (at, content) in contents.iter().enumerate() {
            let name = format!("etc/shared/{at}|@@/");
            let name = name.trim_end_matches('/');
            writer.add(name, content).unwrap();
            wanted.insert(name.to_owned(), content.clone());
        }
        let archive = writer.finish(metadata.as_bytes()).unwrap();
        prop_assert_eq!(original(&archive).remove(METADATA_NAME).unwrap(), metadata.as_bytes());
        let mut found = extract(&archive, ChecksumKind::Blake2b).unwrap();
        found.remove(METADATA_NAME);
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn any_bytes_end_in_an_answer(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..600, start in any::<bool>()) {
        if start {
            let mut writer = ArchiveWriter::new(Vec::new(), LEVEL, MOST_INFLATED);
            writer.add("a/b", &bytes).unwrap();
            let mut archive = writer.finish(b"{}").unwrap();
            let at = at % archive.len();
            archive[at] = archive[at].wrapping_add(1);
            bytes = archive;
        }
        if let Ok(found) = survey(&mut Cursor::new(&bytes), ChecksumKind::Md5, 10_000) {
            prop_assert!(found.inflated <= 10_000);
            prop_assert!(found.members.values().all(|member| matches!(member.proof, Proof::Md5(_))));
        }
    }
}

#[test]
fn a_collision_is_what_we_think_it_is() {
    assert!(collides(FILE_SEP));
}
