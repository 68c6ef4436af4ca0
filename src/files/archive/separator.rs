//! Finding the member separator in bytes that come in pieces.

use super::FILE_SEP;

/// Remembers how much of the separator the bytes so far end with.
#[derive(Default)]
pub(super) struct Finder {
    matched: usize,
}

impl Finder {
    /// The place just after the first separator that ends in `bytes`, counted from their start.
    ///
    /// After a mismatch the only part of the separator that can be left over is its first byte: no longer start of
    /// `|@@//@@|` occurs in it again, except the `|` at its end.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.matched == 0 {
                match memchr::memchr(FILE_SEP[0], &bytes[at..]) {
                    Some(skip) => at += skip,
                    None => return None,
                }
            }
            self.matched = if bytes[at] == FILE_SEP[self.matched] {
                self.matched + 1
            } else {
                usize::from(bytes[at] == FILE_SEP[0])
            };
            at += 1;
            if self.matched == FILE_SEP.len() {
                self.matched = 1;
                return Some(at);
            }
        }
        None
    }

    /// Whether a separator that follows now would be recognised too early: the bytes so far end with its first seven,
    /// and its own first byte makes eight.
    pub(super) fn cut_early(&mut self) -> bool {
        self.feed(FILE_SEP) != Some(FILE_SEP.len())
    }
}

/// Whether a reader that cuts at every separator would cut inside this compressed member.
pub(super) fn collides(packed: &[u8]) -> bool {
    let mut finder = Finder::default();
    finder.feed(packed).is_some() || finder.cut_early()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn collisions_are_seen_inside_and_at_the_end() {
        assert!(collides(b"x|@@//@@|y"));
        assert!(collides(b"x||@@//@@|"));
        assert!(collides(b"x|@@//@@"), "the separator that follows completes it");
        assert!(!collides(b"x|@@//@"));
        assert!(!collides(b""));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_naive_search(text in "[|@/]{0,40}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let naive = bytes.windows(8).position(|window| window == FILE_SEP).map(|at| at + 8);
            prop_assert_eq!(Finder::default().feed(bytes), naive);
            let cut = cut.min(bytes.len());
            let mut finder = Finder::default();
            let found = finder.feed(&bytes[..cut]).or_else(|| finder.feed(&bytes[cut..]).map(|at| at + cut));
            prop_assert_eq!(found, naive);
            let mut whole = bytes.to_vec();
            whole.extend_from_slice(FILE_SEP);
            let first = whole.windows(8).position(|window| window == FILE_SEP).unwrap();
            prop_assert_eq!(collides(bytes), first != bytes.len());
        }
    }
}
