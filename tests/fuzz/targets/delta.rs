//! A delta of a master (`spec/native.md` 2.9): it never makes more than was said, and the same however it comes.

use clusterd::files::delta::{Fault, Step, Steps};

use super::input::Input;

/// What it is made from.
const BASE: &[u8] = b"001 a any first\n002 b any second\n003 c any third\n";

/// The first byte is the size that was said, the second the length of the pieces in which the rest comes.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let (size, piece) = (usize::from(input.byte()), usize::from(input.byte()).max(1));
    let made = make(input.0, size, piece);
    assert_eq!(made, make(input.0, size, usize::MAX));
    assert!(made.is_err() || made.is_ok_and(|made| made.len() == size));
}

fn make(delta: &[u8], size: usize, piece: usize) -> Result<Vec<u8>, Fault> {
    let (mut steps, mut made) = (Steps::new(size as u64), Vec::new());
    for piece in delta.chunks(piece) {
        steps.take(piece, |step| {
            match step {
                Step::Insert(bytes) => made.extend_from_slice(bytes),
                Step::Copy { from, length } => {
                    let range = usize::try_from(from).ok().zip(usize::try_from(from.saturating_add(length)).ok());
                    let copied = range.and_then(|(from, to)| BASE.get(from..to));
                    made.extend_from_slice(copied.ok_or(Fault::TooShort)?);
                }
            }
            assert!(made.len() <= size, "more than was said");
            Ok::<_, Fault>(())
        })?;
    }
    steps.finish().map(|()| made)
}
