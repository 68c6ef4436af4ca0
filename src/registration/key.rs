//! Keys of agents (`spec/registration.md` 1).

use std::io;

use sha1::{Digest, Sha1};

use crate::system::{hex::hex, random};

/// Bytes of a new key; it has twice as many characters.
const BYTES: usize = 32;

/// The longest key, in characters.
const LONGEST: usize = 128;

/// A new key: 64 hexadecimal characters.
///
/// # Errors
/// When the kernel has no source of randomness.
pub(super) fn new() -> io::Result<String> {
    random::bytes::<BYTES>().map(|bytes| hex(&bytes))
}

/// Whether a key that somebody wishes can stand in client.keys.
pub(super) fn is_possible(key: &str) -> bool {
    (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// By which an agent proves that it has the key: 40 hexadecimal characters.
pub(super) fn hash(id: &str, name: &str, key: &str) -> String {
    let mut sum = Sha1::new();
    [id, name, key].iter().for_each(|part| sum.update(part));
    hex(&sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_original() {
        let key = "48a99873149358e48b13273c4ad07c44ed402bcb71fc94869f3e76b2f27637db";
        assert_eq!(hash("001", "test_user", key), "504f2f52d0e9d5fd9a12875aa86fa588dab2a43e");
        let key = "998bb619f50225fa0a4ec3b2a4888ae0a9b1d249189827462a5689d1d5586deb";
        assert_eq!(hash("001", "user1", key), "74ccacd341a6087b2d3a31656b07664a9c5bb307");
    }

    #[test]
    fn new_keys_differ_and_are_possible() {
        let (one, two) = (new().unwrap(), new().unwrap());
        assert_ne!(one, two);
        assert!(one.len() == 64 && is_possible(&one) && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        for bad in ["", "a b", "a\nb", "ä", &"k".repeat(129)] {
            assert!(!is_possible(bad), "{bad:?}");
        }
    }
}
