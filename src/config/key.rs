//! The cluster key: the one secret of the configuration.

use std::{fmt, io};

use zeroize::Zeroizing;

use super::published::is_placeholder;
use crate::{crypto::Fernet, system::random};

/// The 32 characters that all nodes of a cluster share. All clones, and the ciphers of all links, have them at one place
/// in memory, which is wiped with the last of them; its `Debug` text shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey(Fernet);

impl ClusterKey {
    /// Bytes of a key; as they are all ASCII, also its characters.
    pub const LENGTH: usize = 32;

    /// Takes a key that is 32 ASCII letters, digits or underscores. `None` for any other text: the stock daemon also lets
    /// non-ASCII letters pass here, and then fails at its first message, since they are more than 32 bytes
    /// (`spec/protocol.md` 15.1).
    pub fn new(text: &str) -> Option<Self> {
        let acceptable = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let bytes: &[u8; Self::LENGTH] = text.as_bytes().try_into().ok()?;
        acceptable.then(|| Self(Fernet::new(bytes)))
    }

    /// A new key. Each of its halves, of which one signs and one encrypts, is one of 2^95.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        const CHARACTERS: &[u8; 63] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
        let mut key = Zeroizing::new([0; Self::LENGTH]);
        for character in key.iter_mut() {
            // All are equally probable: one number of 64 stands for none.
            *character = loop {
                let [byte] = random::bytes()?;
                if let Some(character) = CHARACTERS.get(usize::from(byte % 64)) {
                    break *character;
                }
            };
        }
        Ok(Self(Fernet::new(&key)))
    }

    /// What keeps `text` from being a key, in words that show nothing of it.
    pub(super) fn fault(text: &str) -> String {
        match text.chars().count() {
            _ if is_placeholder(text) => "a placeholder of a template was not replaced".to_owned(),
            Self::LENGTH => "a character is not a letter from a to z, a digit or an underscore".to_owned(),
            count => format!("it has {count} characters"),
        }
    }

    /// Stands where a disabled cluster has no key. No configuration can name it, so no node of a cluster can have it.
    pub(super) fn unset() -> Self {
        Self(Fernet::new(&[0; Self::LENGTH]))
    }

    /// The part of the key that signs (`spec/protocol.md` 3).
    pub(super) fn signing_half(&self) -> &[u8] {
        &self.0.key()[..Self::LENGTH / 2]
    }

    /// What encrypts under this key.
    pub fn cipher(&self) -> &Fernet {
        &self.0
    }

    /// The key as text, for the one place that may show it: `get_config`, if `local.show_key` is set.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.0.key()).unwrap_or_default()
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_ascii_word_characters_make_a_key() {
        assert!(ClusterKey::new("abcdefghijklmnopqrstuvwxyz_01234").is_some());
        for text in ["", "short", &"a".repeat(31), &"a".repeat(33), &"-".repeat(32), &"é".repeat(32), &"é".repeat(16)]
        {
            assert!(ClusterKey::new(text).is_none(), "{text}");
        }
    }

    #[test]
    fn new_keys_are_keys_and_differ() {
        let keys: Vec<_> = (0..100).map(|_| ClusterKey::random().expect("randomness")).collect();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(ClusterKey::new(key.expose()).as_ref(), Some(key));
            assert!(!keys[..at].contains(key));
        }
        let all: std::collections::BTreeSet<_> = keys.iter().flat_map(|key| key.expose().chars()).collect();
        assert_eq!(all.len(), 63, "every character is used");
    }

    #[test]
    fn debug_shows_nothing() {
        let key = ClusterKey::new(&"k".repeat(32)).expect("a key");
        assert!(!format!("{key:?}").contains("kk"));
        assert_eq!(key.expose(), "k".repeat(32));
    }
}
