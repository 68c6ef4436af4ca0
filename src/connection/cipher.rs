//! What a connection is encrypted with.

use std::sync::OnceLock;

use crate::crypto::{Fernet, TokenError};

/// The cipher of one connection.
pub enum Cipher {
    /// None: the control socket.
    Plain,
    /// The one that the first message of the peer, or this side, has chosen for good.
    Chosen(OnceLock<Fernet>),
}

/// What the first message may be encrypted with; forgotten when it has chosen.
pub struct Candidates(Vec<Fernet>);

impl Cipher {
    /// One of `ciphers`, for a peer that may choose; none if there are none.
    pub fn of(ciphers: Vec<Fernet>) -> (Self, Candidates) {
        match &ciphers[..] {
            [] => (Self::Plain, Candidates(ciphers)),
            [only] => (Self::Chosen(OnceLock::from(only.clone())), Candidates(Vec::new())),
            _ => (Self::Chosen(OnceLock::new()), Candidates(ciphers)),
        }
    }

    /// The chosen one.
    pub fn chosen(&self) -> Option<&Fernet> {
        match self {
            Self::Plain => None,
            Self::Chosen(chosen) => chosen.get(),
        }
    }

    /// Decrypts a body; the first one chooses.
    ///
    /// # Errors
    /// As [`Fernet::open`].
    pub fn open(&self, candidates: &mut Candidates, body: Vec<u8>) -> Result<Vec<u8>, TokenError> {
        let Self::Chosen(chosen) = self else { return Ok(body) };
        if let Some(cipher) = chosen.get() {
            return cipher.open(body);
        }
        let (cipher, plain) = Fernet::open_any(&candidates.0, body)?;
        // Only the reader sets it.
        let _ = chosen.set(cipher.clone());
        candidates.0 = Vec::new();
        Ok(plain)
    }
}
