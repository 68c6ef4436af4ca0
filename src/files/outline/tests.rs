use std::sync::Arc;

use proptest::prelude::*;

use super::{cut::LONGEST, *};
use crate::{files::checksum::sum_of, system::stamp::Stamp};

/// Lines as client.keys has them.
pub(in crate::files) fn keys(ids: impl Iterator<Item = u32>) -> Vec<u8> {
    let line = |id: u32| {
        let key = blake2b_simd::blake2b(&id.to_le_bytes()).to_hex();
        format!("{id:03} agent-{id} any {}\n", &key[..64])
    };
    ids.map(line).collect::<String>().into_bytes()
}

pub(in crate::files) fn course(content: &[u8], before: Option<Arc<Course>>) -> Arc<Course> {
    let mut outliner = Outliner::new(before);
    content.chunks(100_003).for_each(|piece| outliner.update(piece));
    Arc::new(outliner.finish())
}

/// Whether it is the outline of this content.
fn is_of(course: &Course, content: &[u8]) -> bool {
    let outline = course.outline();
    let chunks: u64 = outline.chunks.iter().map(Chunk::length).sum();
    outline.sum == sum_of(content)
        && outline.blake2b == *blake2b_simd::blake2b(content).as_array()
        && (outline.size, chunks) == (content.len() as u64, content.len() as u64)
}

#[test]
fn a_line_more_or_less_changes_few_chunks() {
    let all = keys(0..20_000);
    let before = course(&all, None);
    assert!(is_of(&before, &all));
    let count = before.outline().chunks.len();
    assert!((all.len() / LONGEST..all.len() / (4 << 10)).contains(&count), "{count}");
    for (less, more) in [(0, 0), (7_000, 0), (19_999, 0), (0, 20_000), (12_345, 20_000)] {
        let content = keys((0..20_000).filter(|id| *id != less).chain((more > 0).then_some(more)));
        let after = course(&content, Some(before.clone()));
        assert!(is_of(&after, &content), "{less} {more}");
        let new = after.outline().chunks.iter().filter(|chunk| !before.outline().chunks.contains(chunk)).count();
        assert!(new <= 2, "{less} {more}: {new}");
        assert_eq!(after.outline().chunks, course(&content, None).outline().chunks);
    }
}

#[test]
fn what_is_known_to_be_the_same_need_not_be_given() {
    let all = keys(0..20_000);
    let before = course(&all, None);
    let longer = keys(0..20_001);
    let (mut outliner, known) = Outliner::after(before.clone(), all.len() as u64);
    assert!(all.len() - known as usize <= (512 << 10), "{known}");
    outliner.update(&longer[known as usize..]);
    let after = Arc::new(outliner.finish());
    assert!(is_of(&after, &longer) && after.milestones.len() >= before.milestones.len());
    // And so on.
    let (mut outliner, known) = Outliner::after(after, longer.len() as u64);
    outliner.update(&longer[known as usize..]);
    assert!(is_of(&Arc::new(outliner.finish()), &longer));
    assert_eq!(Outliner::after(before, 10).1, 0);
}

#[test]
fn a_content_without_lines_has_chunks_too() {
    for content in [vec![0; 1 << 20], b"\n".repeat(300_000), vec![b'x'; 1], Vec::new()] {
        let course = course(&content, None);
        assert!(is_of(&course, &content));
        assert!(course.outline().chunks.iter().all(|chunk| chunk.length() <= LONGEST as u64));
    }
}

#[test]
fn the_same_content_has_the_same_outline() {
    let content = keys(0..10_000);
    let before = course(&content, None);
    let (after, again) = (course(&content, Some(before.clone())), course(&content, Some(before.clone())));
    assert!(Arc::ptr_eq(before.outline(), after.outline()));
    assert_eq!(after.milestones.len(), before.milestones.len());
    let longer = keys(0..10_001);
    assert!(is_of(&course(&longer, Some(again)), &longer));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever came before, the checksum is that of the content.
    #[test]
    fn the_checksum_is_that_of_the_content(
        edits in prop::collection::vec((0usize..700_000, 0usize..3000, prop::collection::vec(any::<u8>(), 0..300)), 1..5),
        base in 0u32..8_000,
    ) {
        let mut content = keys(0..base);
        let mut before: Option<Arc<Course>> = None;
        for (at, less, more) in edits {
            let at = at.min(content.len());
            content.splice(at..(at + less).min(content.len()), more);
            if let Some(before) = &before {
                // All that is before the edit need not be given.
                let (mut outliner, known) = Outliner::after(before.clone(), at as u64);
                prop_assert!(known <= at as u64);
                outliner.update(&content[known as usize..]);
                let after = outliner.finish();
                prop_assert!(is_of(&after, &content));
                prop_assert_eq!(&after.outline.chunks, &course(&content, None).outline.chunks);
            }
            let course = course(&content, before);
            prop_assert!(is_of(&course, &content));
            before = Some(course);
        }
    }
}

fn stamp() -> Stamp {
    Stamp::of("/".as_ref()).unwrap()
}

#[test]
fn what_was_written_is_told_once_and_only_of_the_file_with_its_stamp() {
    let (outlines, path) = (Outlines::new(1), "etc/client.keys");
    let (course, other) = (course(&keys(0..10), None), Stamp::of("/proc".as_ref()).unwrap());
    for (written, looked, is_told) in
        [(Some(stamp()), stamp(), true), (Some(stamp()), other, false), (None, stamp(), false)]
    {
        outlines.written(path, course.clone(), written);
        assert_eq!([0, 1].map(|_| outlines.take_written(path, &looked).is_some()), [is_told, false]);
    }
    outlines.keep(&path.into(), course, stamp());
    assert!(outlines.take_written(path, &stamp()).is_none(), "it was read");
}

#[test]
fn so_many_versions_are_kept_and_not_more_bytes() {
    let outlines = Outlines::new(3);
    let path: Arc<str> = "etc/client.keys".into();
    let versions: Vec<_> = (0..5).map(|n| course(&keys(0..6_000 + n), outlines.last(&path))).collect();
    for version in &versions {
        outlines.keep(&path, version.clone(), stamp());
    }
    let has = |n: usize| outlines.find(&path, &versions[n].outline().sum).is_some();
    assert_eq!([0, 1, 2, 3, 4].map(has), [false, false, true, true, true]);
    assert!(outlines.find("etc/other", &versions[4].outline().sum).is_none());
    // It becomes again what it was.
    outlines.keep(&path, course(&keys(0..6_002), outlines.last(&path)), stamp());
    assert_eq!([0, 1, 2, 3, 4].map(has), [false, false, true, true, true]);
    assert_eq!(outlines.last(&path).unwrap().outline().sum, versions[2].outline().sum);
    for n in 0..2000 {
        outlines.keep(&format!("etc/lists/{n}").into(), versions[4].clone(), stamp());
    }
    assert!(outlines.bytes() <= 1 << 20 && outlines.last(&path).is_none() && outlines.last("etc/lists/1999").is_some());
    outlines.forget("etc/lists/1999");
    assert!(outlines.last("etc/lists/1999").is_none());
}
