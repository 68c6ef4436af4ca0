//! The cluster key: the one secret of the configuration.

use std::fmt;
use zeroize::Zeroize;

/// The 32 characters that all nodes of a cluster share. Wiped from memory when dropped; its `Debug` text shows nothing
/// of it.
#[derive(Clone)]
pub struct ClusterKey(
    /// Boxed, so that moving the key leaves no copy on a stack.
    Box<[u8; Self::LENGTH]>,
);

impl ClusterKey {
    /// Bytes of a key; as they are all ASCII, also its characters.
    pub const LENGTH: usize = 32;

    /// Takes a key that is 32 ASCII letters, digits or underscores. `None` for any other text: the original also lets
    /// non-ASCII letters pass here, and then fails at its first message, since they are more than 32 bytes
    /// (`spec/protocol.md` 15.1).
    pub fn new(text: &str) -> Option<Self> {
        let acceptable = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !acceptable || text.len() != Self::LENGTH {
            return None;
        }
        // Straight to its place: an array that is moved leaves a copy.
        let mut key = Self::unset();
        key.0.copy_from_slice(text.as_bytes());
        Some(key)
    }

    /// Stands where a disabled cluster has no key. No configuration can name it, so no node of a cluster can have it.
    pub(super) fn unset() -> Self {
        Self(Box::new([0; Self::LENGTH]))
    }

    /// The key as the cipher takes it.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The key as text, for the one place that may show it: `get_config`, if `local.show_key` is set.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.0.as_slice()).unwrap_or_default()
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(hidden)")
    }
}

impl Drop for ClusterKey {
    fn drop(&mut self) {
        self.0.zeroize();
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
    fn debug_shows_nothing() {
        let key = ClusterKey::new(&"k".repeat(32)).expect("a key");
        assert!(!format!("{key:?}").contains("kk"));
        assert_eq!(key.expose().as_bytes(), key.as_bytes());
    }
}
