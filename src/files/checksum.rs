//! The checksums of a file: MD5, which is the system's, and BLAKE2b-512, which stock nodes exchange.

use std::{fmt, sync::Arc};

use md5::{Digest, Md5};

use crate::system::hex::unhex;

/// What this node knows a content by: its MD5, then the first 16 bytes of its BLAKE2b-512.
///
/// There are contents that somebody has made to have one MD5; the second half tells them apart.
pub type ContentSum = [u8; 32];

/// Which checksum a link uses (`spec/protocol.md` 10.2, `spec/native.md` 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumKind {
    /// 16 bytes; between two nodes of ours of which one does not take the next.
    Md5,
    /// A [`ContentSum`]; between two nodes of ours.
    Md5Blake2b,
    /// BLAKE2b with 64 bytes; on every link with a stock node.
    Blake2b,
}

/// The checksum of a file's content.
#[derive(Clone, PartialEq, Eq)]
pub enum Checksum {
    /// 16 bytes.
    Md5([u8; 16]),
    /// 32 bytes.
    Md5Blake2b(ContentSum),
    /// 64 bytes; behind a pointer, because a manifest holds ten thousands and most links do without.
    Blake2b(Arc<[u8; 64]>),
}

impl Checksum {
    /// Which one it is.
    pub fn kind(&self) -> ChecksumKind {
        match self {
            Self::Md5(_) => ChecksumKind::Md5,
            Self::Md5Blake2b(_) => ChecksumKind::Md5Blake2b,
            Self::Blake2b(_) => ChecksumKind::Blake2b,
        }
    }

    /// The 16, 32 or 64 bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Md5(bytes) => bytes,
            Self::Md5Blake2b(bytes) => bytes,
            Self::Blake2b(bytes) => bytes.as_slice(),
        }
    }

    /// Reads 32, 64 or 128 hexadecimal digits, either case. `None` if the length or a digit is wrong.
    pub fn from_hex(kind: ChecksumKind, text: &str) -> Option<Self> {
        match kind {
            ChecksumKind::Md5 => unhex(text.as_bytes()).map(Checksum::Md5),
            ChecksumKind::Md5Blake2b => unhex(text.as_bytes()).map(Checksum::Md5Blake2b),
            ChecksumKind::Blake2b => unhex(text.as_bytes()).map(|bytes| Self::Blake2b(Arc::new(bytes))),
        }
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a content is compared with a checksum by: the BLAKE2b-512 of it, and its MD5 only where the checksum is nothing
/// else. Of a [`ContentSum`] the second half alone tells contents apart, at half the cost of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// 16 bytes.
    Md5([u8; 16]),
    /// 64 bytes.
    Blake2b([u8; 64]),
}

impl Proof {
    /// Of a whole content, for checksums of this kind.
    pub fn of(kind: ChecksumKind, content: &[u8]) -> Self {
        let mut prover = Prover::new(kind);
        prover.update(content);
        prover.finish()
    }

    /// Whether the content is the one of this checksum.
    pub fn fits(&self, checksum: &Checksum) -> bool {
        match (self, checksum) {
            (Self::Md5(own), Checksum::Md5(wanted)) => own == wanted,
            (Self::Blake2b(_), Checksum::Md5Blake2b(wanted)) => self.fits_sum(wanted),
            (Self::Blake2b(own), Checksum::Blake2b(wanted)) => own == &**wanted,
            _ => false,
        }
    }

    /// Whether the content is the one of this sum.
    pub fn fits_sum(&self, sum: &ContentSum) -> bool {
        match self {
            Self::Md5(own) => own == &sum[..16],
            Self::Blake2b(own) => own[..16] == sum[16..],
        }
    }
}

/// Computes a [`Proof`] over content that comes in pieces.
pub struct Prover(ProverState);

enum ProverState {
    Md5(Md5),
    Blake2b(Box<blake2b_simd::State>),
}

impl Prover {
    /// For checksums of this kind; it has read nothing.
    pub fn new(kind: ChecksumKind) -> Self {
        Self(match kind {
            ChecksumKind::Md5 => ProverState::Md5(Md5::new()),
            ChecksumKind::Md5Blake2b | ChecksumKind::Blake2b => {
                ProverState::Blake2b(Box::new(blake2b_simd::State::new()))
            }
        })
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            ProverState::Md5(state) => state.update(piece),
            ProverState::Blake2b(state) => {
                state.update(piece);
            }
        }
    }

    /// Of all pieces.
    pub fn finish(self) -> Proof {
        match self.0 {
            ProverState::Md5(state) => Proof::Md5(state.finalize().into()),
            ProverState::Blake2b(state) => Proof::Blake2b(*state.finalize().as_array()),
        }
    }
}

/// Computes the [`ContentSum`] over content that comes in pieces, and the BLAKE2b-512 of which that has the beginning.
#[derive(Clone, Default)]
pub struct ContentHasher {
    md5: Md5,
    blake2b: blake2b_simd::State,
}

impl ContentHasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.md5.update(piece);
        self.blake2b.update(piece);
    }

    /// The sum of all pieces, and their whole BLAKE2b-512.
    pub fn finish(self) -> (ContentSum, [u8; 64]) {
        let blake2b = *self.blake2b.finalize().as_array();
        let mut sum = [0; 32];
        let (first, second) = sum.split_at_mut(16);
        first.copy_from_slice(&self.md5.finalize());
        second.copy_from_slice(&blake2b[..16]);
        (sum, blake2b)
    }
}

/// The [`ContentSum`] of a whole content.
pub fn sum_of(content: &[u8]) -> ContentSum {
    let mut hasher = ContentHasher::default();
    hasher.update(content);
    hasher.finish().0
}

/// The MD5 of a whole content.
pub fn md5_of(content: &[u8]) -> [u8; 16] {
    Md5::digest(content).into()
}

/// The published pair of Wang, Feng, Lai and Yu (2004): two contents of 128 bytes with one MD5.
#[cfg(test)]
pub(super) fn one_md5() -> [Vec<u8>; 2] {
    let mut pair = include_str!("../../tests/fixtures/one_md5.txt").lines();
    let mut next = || unhex::<128>(pair.next().unwrap().as_bytes()).unwrap().to_vec();
    [next(), next()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_md5_has_two_sums() {
        let [a, b] = one_md5();
        assert!(a != b && md5_of(&a) == md5_of(&b));
        assert_ne!(sum_of(&a), sum_of(&b));
        let proof = Proof::of(ChecksumKind::Md5Blake2b, &a);
        assert!(proof.fits_sum(&sum_of(&a)) && !proof.fits_sum(&sum_of(&b)));
    }

    #[test]
    fn pieces_prove_the_known_values() {
        for (kind, expected) in [
            (ChecksumKind::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (ChecksumKind::Md5Blake2b, "900150983cd24fb0d6963f7d28e17f72ba80a53f981c4d0d6a2797b69f12f6e9"),
            (
                ChecksumKind::Blake2b,
                "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1\
                 7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
            ),
        ] {
            let checksum = Checksum::from_hex(kind, &expected.to_uppercase()).unwrap();
            assert_eq!((checksum.kind(), checksum.to_string()), (kind, expected.to_owned()));
            let mut prover = Prover::new(kind);
            prover.update(b"a");
            prover.update(b"bc");
            let proof = prover.finish();
            assert_eq!(proof, Proof::of(kind, b"abc"));
            assert!(proof.fits(&checksum) && proof.fits_sum(&sum_of(b"abc")), "{expected}");
            assert!(!Proof::of(kind, b"abd").fits(&checksum) && !proof.fits_sum(&sum_of(b"abd")), "{expected}");
        }
    }

    #[test]
    fn wrong_digits_are_no_checksum() {
        for bad in ["", "90", "900150983cd24fb0d6963f7d28e17f7g", "+00150983cd24fb0d6963f7d28e17f72"] {
            assert_eq!(Checksum::from_hex(ChecksumKind::Md5, bad), None);
        }
    }
}
