//! Text that may hold the key.

use std::{fmt, ops::Deref};

use zeroize::Zeroizing;

/// Wiped from memory when dropped, and so is what it leaves behind when it grows; its `Debug` text shows nothing of it.
#[derive(Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Without text, with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(String::with_capacity(bytes)))
    }

    /// Text that was read; bytes that are no UTF-8 become the replacement character.
    pub fn lossy(bytes: &[u8]) -> Self {
        let mut text = Self::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push_str("\u{fffd}");
            }
        }
        text
    }

    /// Appends `more`.
    pub fn push_str(&mut self, more: &str) {
        let length = self.0.len() + more.len();
        if length > self.0.capacity() {
            // A string that grows by itself leaves its old content where it was.
            let mut larger = Self::with_capacity(2 * length);
            larger.0.push_str(&self.0);
            *self = larger;
        }
        self.0.push_str(more);
    }

    /// The bytes, for whoever wipes them when they are sent.
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0).into_bytes()
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_like_a_string_and_shows_nothing() {
        let (mut secret, mut plain) = (Secret::default(), String::new());
        for part in ["a", "", "key", &"x".repeat(1000), "é"] {
            secret.push_str(part);
            plain.push_str(part);
            assert_eq!(&*secret, plain);
        }
        assert!(!format!("{secret:?}").contains("key"));
        assert_eq!(secret.into_bytes(), plain.into_bytes());
        for bytes in [&b"abc"[..], b"a\xffb\xe2\x82", b"\xff", b""] {
            assert_eq!(&*Secret::lossy(bytes), String::from_utf8_lossy(bytes));
        }
    }
}
