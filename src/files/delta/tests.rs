use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::files::outline::tests::{course, keys};

/// What a delta makes of a base; it comes in pieces of this length.
fn carry_out(delta: &[u8], base: &[u8], size: u64, piece: usize) -> Result<Vec<u8>, Fault> {
    let (mut steps, mut made) = (Steps::new(size), Vec::new());
    for piece in delta.chunks(piece.max(1)) {
        steps.take(piece, |step| {
            match step {
                Step::Insert(bytes) => made.extend_from_slice(bytes),
                Step::Copy { from, length } => {
                    let end = from.checked_add(length).ok_or(Fault::TooShort)?;
                    let range = usize::try_from(from).unwrap()..usize::try_from(end).unwrap();
                    made.extend_from_slice(base.get(range).ok_or(Fault::TooShort)?);
                }
            }
            Ok::<_, Fault>(())
        })?;
    }
    steps.finish().map(|()| made)
}

fn delta(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(target).unwrap();
    let before = course(base, None);
    let after = course(target, Some(before.clone()));
    make(before.outline(), after.outline(), &file).unwrap()
}

#[test]
fn a_line_more_or_less_makes_a_short_delta() {
    let base = keys(0..20_000);
    for (less, more) in [(0, 20_000), (7_000, 20_000), (19_999, 0), (12_345, 0)] {
        let target = keys((0..20_000).filter(|id| *id != less).chain((more > 0).then_some(more)));
        let delta = delta(&base, &target).unwrap();
        assert!(delta.len() < 130_000, "{less} {more}: {}", delta.len());
        assert_eq!(carry_out(&delta, &base, target.len() as u64, 1000).unwrap(), target);
    }
    let turned = [&base[base.len() / 2..], &base[..base.len() / 2]].concat();
    let delta = delta(&base, &turned).unwrap();
    assert_eq!(carry_out(&delta, &base, base.len() as u64, 7).unwrap(), turned);
}

#[test]
fn what_differs_in_too_much_or_has_changed_since_has_no_delta() {
    let (base, other) = (keys(0..5_000), keys(10_000..15_000));
    assert_eq!(delta(&base, &other), None);
    let (before, after) = (course(&base, None), course(&keys(0..5_001), None));
    let mut file = tempfile::tempfile().unwrap();
    assert_eq!(make(before.outline(), after.outline(), &file).unwrap(), None, "it is shorter now");
    file.write_all(&other).unwrap();
    file.write_all(&other).unwrap();
    assert_eq!(make(before.outline(), after.outline(), &file).unwrap(), None);
}

fn insert(bytes: &[u8]) -> Vec<u8> {
    [&[INSERT][..], &(bytes.len() as u64).to_be_bytes(), bytes].concat()
}

fn copy(from: u64, length: u64) -> Vec<u8> {
    [&[COPY][..], &from.to_be_bytes(), &length.to_be_bytes()].concat()
}

/// As the specification has it.
#[test]
fn a_delta_is_what_the_specification_says() {
    let example = [copy(0, 4), insert(b"new "), copy(4, 4)].concat();
    assert_eq!(carry_out(&example, b"one two\n", 12, 5).unwrap(), b"one new two\n");
    let hex = "0100000000000000000000000000000004\
               0000000000000000046e657720\
               0100000000000000040000000000000004";
    assert_eq!(crate::system::hex::hex(&example), hex);
}

#[test]
fn what_makes_more_or_less_than_was_said_is_refused() {
    let four = insert(b"four");
    for (delta, size, fault) in [
        (vec![], 1, Fault::TooShort),
        (four.clone(), 5, Fault::TooShort),
        (four.clone(), 3, Fault::TooLong),
        (four[..12].to_vec(), 4, Fault::TooShort),
        (four[..5].to_vec(), 4, Fault::TooShort),
        (copy(0, u64::MAX), 4, Fault::TooLong),
        (copy(u64::MAX, 4), 4, Fault::TooShort),
        ([copy(0, 4), copy(0, 4)].concat(), 7, Fault::TooLong),
        ([four.clone(), four[..3].to_vec()].concat(), 4, Fault::TooShort),
        (copy(0, 0), 0, Fault::Empty),
        (insert(b""), 0, Fault::Empty),
        (vec![2], 0, Fault::Unknown),
    ] {
        for piece in [1, 100] {
            assert_eq!(carry_out(&delta, b"a base", size, piece), Err(fault), "{delta:?}");
        }
    }
    assert_eq!(carry_out(&[], b"", 0, 1), Ok(vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_made_is_the_target(
        edits in prop::collection::vec((0usize..600_000, 0usize..3000, prop::collection::vec(any::<u8>(), 0..300)), 0..6),
        piece in 1usize..70_000,
    ) {
        let base = keys(0..6_000);
        let mut target = base.clone();
        for (at, less, more) in edits {
            let at = at.min(target.len());
            target.splice(at..(at + less).min(target.len()), more);
        }
        if let Some(delta) = delta(&base, &target) {
            prop_assert!(delta.len() as u64 <= LONGEST);
            prop_assert_eq!(carry_out(&delta, &base, target.len() as u64, piece).unwrap(), target);
        }
    }
}

proptest! {
    /// Of any bytes no more is made than was said, and the same however they come.
    #[test]
    fn no_bytes_make_more_than_was_said(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| insert(&bytes)),
            (0u64..20, 0u64..20).prop_map(|(from, length)| copy(from, length)),
        ], 0..8),
        size in 0u64..60,
        piece in 1usize..50,
    ) {
        let (delta, base) = (parts.concat(), [7; 24]);
        let made = carry_out(&delta, &base, size, piece);
        prop_assert_eq!(&made, &carry_out(&delta, &base, size, usize::MAX));
        prop_assert!(made.is_err() || made.is_ok_and(|made| made.len() as u64 == size));
    }
}
