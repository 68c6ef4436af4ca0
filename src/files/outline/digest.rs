//! The digest of a chunk: the values of a polynomial at two points that nobody knows.
//!
//! The coefficients are the words of the content, seven bytes each, and the arithmetic is modulo the prime 2⁶¹ − 1. Of two
//! contents of one length these are different polynomials, whose values agree at no more points than there are words. So
//! whoever makes contents without knowing the points finds two with one digest by luck only, of 1 in 2⁹⁵ where chunks are
//! longest, however much is calculated for that. The points are drawn when the process needs them first, and neither they
//! nor a digest leave it. It costs a third of a hash that needs no secret.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// The modulus.
const PRIME: u64 = (1 << 61) - 1;

/// Bytes of a word: the most that are less than the modulus.
const WORD: usize = 7;

/// Words of a block, between which nothing is reduced: the sum of so many products and one more fits.
const WORDS: usize = 16;

const BLOCK: usize = WORD * WORDS;

static POINTS: LazyLock<[Powers; 2]> = LazyLock::new(|| {
    let secret = RandomState::new();
    [0, 1].map(|number: u8| Powers::of(reduce(secret.hash_one(number).into())))
});

/// What a point is multiplied with, of one block.
struct Powers {
    /// Of each word; the last is counted once.
    words: [u64; WORDS],
    /// Of the value of all that was before.
    before: u64,
}

impl Powers {
    fn of(point: u64) -> Self {
        let (mut words, mut power) = ([0; WORDS], 1);
        for word in words.iter_mut().rev() {
            *word = power;
            power = reduce(u128::from(power) * u128::from(point));
        }
        Self { words, before: power }
    }

    /// The value with another block.
    #[inline]
    fn step(&self, value: u64, words: &[u64; WORDS]) -> u64 {
        let before = u128::from(value) * u128::from(self.before);
        let products = words.iter().zip(&self.words).map(|(word, power)| u128::from(*word) * u128::from(*power));
        reduce(before + products.sum::<u128>())
    }
}

/// The digest of a content that is not longer than a chunk may be. Contents of different lengths may have the same.
pub(super) fn digest(content: &[u8]) -> [u8; 16] {
    let [one, two] = values(&POINTS, content).map(u64::to_le_bytes);
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&one);
    digest[8..].copy_from_slice(&two);
    digest
}

fn values(points: &[Powers; 2], content: &[u8]) -> [u64; 2] {
    let (blocks, rest) = content.as_chunks::<BLOCK>();
    let mut values = [0; 2];
    let mut step = |block: &[u8; BLOCK]| {
        let words = words(block);
        values = [points[0].step(values[0], &words), points[1].step(values[1], &words)];
    };
    blocks.iter().for_each(&mut step);
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    step(&last);
    values
}

#[inline]
fn words(block: &[u8; BLOCK]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<WORD>().0) {
        let mut all = [0; 8];
        all[..WORD].copy_from_slice(bytes);
        *word = u64::from_le_bytes(all);
    }
    words
}

/// The remainder of a division by the modulus.
#[inline]
fn reduce(number: u128) -> u64 {
    let part = |number: u128| (number & u128::from(PRIME)) + (number >> 61);
    // Below 2^68, and then not above 2^61 + 2^7.
    let number = part(part(number)) as u64;
    if number < PRIME { number } else { number - PRIME }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(one: u64, two: u64) -> [Powers; 2] {
        [one, two].map(|point| Powers::of(point % PRIME))
    }

    /// The same, one word after the other.
    fn slowly(point: u64, content: &[u8]) -> u64 {
        let mut padded = content.to_vec();
        padded.resize((content.len() / BLOCK + 1) * BLOCK, 0);
        padded.chunks(WORD).fold(0, |value, bytes| {
            let word = bytes.iter().rev().fold(0, |word: u128, byte| word << 8 | u128::from(*byte));
            ((u128::from(value) * u128::from(point % PRIME) + word) % u128::from(PRIME)) as u64
        })
    }

    proptest! {
        #[test]
        fn it_is_the_value_of_the_polynomial(
            content in prop::collection::vec(any::<u8>(), 0..3 * BLOCK),
            one in any::<u64>(),
            two in any::<u64>(),
        ) {
            prop_assert_eq!(values(&points(one, two), &content), [slowly(one, &content), slowly(two, &content)]);
        }

        #[test]
        fn a_remainder_is_that_of_a_division(number in any::<u128>()) {
            prop_assert_eq!(u128::from(reduce(number)), number % u128::from(PRIME));
        }

        #[test]
        fn another_content_has_another_digest(
            content in prop::collection::vec(any::<u8>(), 1..3 * BLOCK),
            at in any::<prop::sample::Index>(),
            by in 1..=u8::MAX,
        ) {
            let mut other = content.clone();
            other[at.index(content.len())] ^= by;
            prop_assert_ne!(digest(&content), digest(&other));
            prop_assert_eq!(digest(&content), digest(&content.clone()));
        }
    }

    #[test]
    fn the_largest_numbers_have_room() {
        let content = [0xff; 2 * BLOCK + 5];
        assert_eq!(
            values(&points(PRIME - 1, PRIME - 2), &content),
            [PRIME - 1, PRIME - 2].map(|point| slowly(point, &content))
        );
        for number in [0, u128::MAX, u128::from(PRIME), u128::from(PRIME) - 1, u128::from(PRIME) << 61] {
            assert_eq!(u128::from(reduce(number)), number % u128::from(PRIME), "{number}");
        }
    }

    #[test]
    fn both_points_count_and_are_secret() {
        let [one, two] = &*POINTS;
        assert!(one.before != two.before && one.words[..WORDS - 1] != two.words[..WORDS - 1]);
        assert_ne!(digest(b"a")[..8], digest(b"a")[8..]);
    }
}
