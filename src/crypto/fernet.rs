//! Fernet tokens under the cluster key (`spec/protocol.md` 3).
//!
//! ```text
//! token = base64url( 0x80 ‖ timestamp (8) ‖ IV (16) ‖ AES-128-CBC(PKCS#7) ‖ HMAC-SHA-256 (32) )   with '=' padding
//! ```
//! The key's first half signs, its second half encrypts. Both directions walk over the data once, in pieces that stay
//! in the processor's cache, and decrypt in the buffer that came from the socket.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use aes::{
    Aes128,
    cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, typenum::U16},
};
use base64::Engine as _;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::fingerprint::fingerprint;

const VERSION: u8 = 0x80;
const BLOCK: usize = 16;
/// Version, timestamp and IV.
const PREFIX: usize = 1 + 8 + 16;
const TAG: usize = 32;
/// Raw bytes worked on at a time: a multiple of three, so that every piece but the last is whole base64 groups.
const PIECE: usize = 12 * 1024;

type Block = Array<u8, U16>;

/// Why a token was refused. In each case the peer is at fault, and mostly because it has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not URL-safe base64 with padding.
    #[error("it is not base64 text")]
    Encoding,
    /// Too short, not whole blocks, or another version byte.
    #[error("it has not the form of a token")]
    Form,
    /// Signed with another key, or changed on the way.
    #[error("its signature does not fit the cluster key")]
    Signature,
    /// Signed with a key of ours, yet with wrong padding.
    #[error("its padding is wrong")]
    Padding,
}

/// Encrypts and decrypts under one cluster key; cheap to clone. Two are equal if their keys are. Its `Debug` text shows
/// nothing of the key.
#[derive(Clone)]
pub struct Fernet(
    /// Shared, so that moving or cloning it leaves no copy of the key; the last owner wipes it.
    Arc<Key>,
);

#[derive(Clone, Default)]
struct Key {
    /// The key that signs and the key that encrypts.
    halves: Zeroizing<[[u8; 16]; 2]>,
    fingerprint: OnceLock<String>,
}

/// The length of the token for `plain` bytes.
pub const fn token_length(plain: usize) -> usize {
    (PREFIX + TAG + BLOCK * (plain / BLOCK + 1)).div_ceil(3) * 4
}

impl Fernet {
    /// A cipher under the 32 raw bytes of `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        let mut fernet = Self(Arc::default());
        Arc::make_mut(&mut fernet.0).halves.as_flattened_mut().copy_from_slice(key);
        fernet
    }

    /// The 32 bytes of the key.
    pub(crate) fn key(&self) -> &[u8] {
        self.0.halves.as_flattened()
    }

    /// Eight hexadecimal digits by which people see whether two keys are the same, and that are safe to show to whoever may
    /// use the control socket. They take some 20 ms the first time.
    pub fn fingerprint(&self) -> &str {
        self.0.fingerprint.get_or_init(|| fingerprint(self.key()))
    }

    /// Appends the token of `plain` to `out`. `timestamp` is in seconds since 1970, by the wall clock; no receiver
    /// checks it. `iv` must be new and random for each token.
    pub fn seal(&self, plain: &[u8], timestamp: u64, iv: [u8; 16], out: &mut Vec<u8>) {
        let length = token_length(plain.len());
        out.reserve(length);
        // Not on the stack: what a thread has once touched of that it keeps, and most tokens are short.
        let raw = vec![0; PIECE.min(length)];
        let mut writer = TokenWriter { mac: self.mac(), raw, filled: 0, out };
        writer.push(&[VERSION]);
        writer.push(&timestamp.to_be_bytes());
        writer.push(&iv);
        let mut cipher = cbc::Encryptor::<Aes128>::new((&self.0.halves[1]).into(), &iv.into());
        let (whole, rest) = plain.split_at(plain.len() / BLOCK * BLOCK);
        let mut left = whole;
        while !left.is_empty() {
            let (piece, after) = left.split_at(left.len().min(writer.room() / BLOCK * BLOCK));
            writer.push_with(piece, |copy| cipher.encrypt_blocks(Block::slice_as_chunks_mut(copy).0));
            left = after;
        }
        let padding = BLOCK - rest.len();
        let mut last = Block::from([padding as u8; BLOCK]);
        last[..rest.len()].copy_from_slice(rest);
        cipher.encrypt_block(&mut last);
        writer.push(&last);
        writer.finish();
        last.zeroize();
    }

    /// Decrypts a token in its own buffer, which becomes the plaintext. The signature is verified before anything is
    /// decrypted, in constant time; the age of the token does not matter.
    ///
    /// # Errors
    /// [`TokenError`]; the peer is at fault, and the connection cannot go on.
    pub fn open(&self, token: Vec<u8>) -> Result<Vec<u8>, TokenError> {
        Self::open_any(std::slice::from_ref(self), token).map(|(_, plain)| plain)
    }

    /// [`Fernet::open`] under whichever of `keys` has signed the token; gives that one, too. Their first halves, which
    /// sign, are to differ. All of them are tried, so that the time tells nobody which one fits.
    ///
    /// # Errors
    /// As [`Fernet::open`].
    pub fn open_any(keys: &[Self], token: Vec<u8>) -> Result<(&Self, Vec<u8>), TokenError> {
        let mut buffer = token;
        let length = decode_in_place(&mut buffer)?;
        buffer.truncate(length);
        let signed = length.checked_sub(TAG).ok_or(TokenError::Form)?;
        let encrypted = signed.checked_sub(PREFIX).ok_or(TokenError::Form)?;
        if buffer[0] != VERSION || encrypted == 0 || !encrypted.is_multiple_of(BLOCK) {
            return Err(TokenError::Form);
        }
        let (data, tag) = buffer.split_at(signed);
        let mut fits = None;
        for key in keys {
            let verified = key.mac().chain_update(data).verify_slice(tag).is_ok();
            fits = if verified { Some(key) } else { fits };
        }
        let key = fits.ok_or(TokenError::Signature)?;
        key.decrypt(buffer, signed).map(|plain| (key, plain))
    }

    /// Decrypts the verified token in `buffer`, whose first `signed` bytes are whole blocks behind the prefix.
    fn decrypt(&self, mut buffer: Vec<u8>, signed: usize) -> Result<Vec<u8>, TokenError> {
        let mut iv = [0; BLOCK];
        iv.copy_from_slice(&buffer[9..PREFIX]);
        let mut cipher = cbc::Decryptor::<Aes128>::new((&self.0.halves[1]).into(), &iv.into());
        cipher.decrypt_blocks(Block::slice_as_chunks_mut(&mut buffer[PREFIX..signed]).0);
        let padding = usize::from(buffer[signed - 1]);
        let plain = (signed - PREFIX).checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding));
        let plain = plain.ok_or(TokenError::Padding)?;
        if buffer[PREFIX + plain..signed].iter().any(|byte| usize::from(*byte) != padding) {
            return Err(TokenError::Padding);
        }
        buffer.copy_within(PREFIX..PREFIX + plain, 0);
        buffer.truncate(plain);
        Ok(buffer)
    }

    fn mac(&self) -> Hmac<Sha256> {
        // The generated array has the length that the type demands; there is nothing that could fail.
        <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0.halves[0]).unwrap_or_else(|_| unreachable!())
    }
}

impl PartialEq for Fernet {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Fernet {}

impl fmt::Debug for Fernet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fernet(hidden)")
    }
}

/// Takes raw token bytes, signs them and turns them to base64 in pieces.
struct TokenWriter<'a> {
    mac: Hmac<Sha256>,
    /// As long as the token, and not longer than [`PIECE`].
    raw: Vec<u8>,
    filled: usize,
    out: &'a mut Vec<u8>,
}

impl TokenWriter<'_> {
    fn room(&self) -> usize {
        self.raw.len() - self.filled
    }

    fn push(&mut self, bytes: &[u8]) {
        self.push_with(bytes, |_| ());
    }

    /// Copies `bytes`, which fit or nearly fit, lets `change` work on the copy, signs it.
    fn push_with(&mut self, bytes: &[u8], change: impl FnOnce(&mut [u8])) {
        if bytes.len() > self.room() || self.room() < BLOCK {
            self.encode();
        }
        let copy = &mut self.raw[self.filled..self.filled + bytes.len()];
        copy.copy_from_slice(bytes);
        change(copy);
        self.mac.update(copy);
        self.filled += bytes.len();
        if self.room() < BLOCK {
            self.encode();
        }
    }

    /// Writes the whole groups of three bytes and keeps the rest.
    fn encode(&mut self) {
        let whole = self.filled / 3 * 3;
        encode_to(&self.raw[..whole], self.out);
        self.raw.copy_within(whole..self.filled, 0);
        self.filled -= whole;
    }

    fn finish(mut self) {
        let tag = self.mac.clone().finalize().into_bytes();
        self.push(&tag);
        encode_to(&self.raw[..self.filled], self.out);
    }
}

fn encode_to(raw: &[u8], out: &mut Vec<u8>) {
    let (start, length) = (out.len(), raw.len().div_ceil(3) * 4);
    out.resize(start + length, 0);
    // The slice has exactly the length of the text, so the engine has nothing to complain of.
    let written = engine().encode_slice(raw, &mut out[start..]).unwrap_or_default();
    debug_assert_eq!(written, length);
}

/// Decodes base64 text in its own buffer; returns the number of raw bytes, which stand at its beginning.
fn decode_in_place(buffer: &mut [u8]) -> Result<usize, TokenError> {
    const TEXT: usize = PIECE / 3 * 4;
    if buffer.is_empty() || !buffer.len().is_multiple_of(4) {
        return Err(TokenError::Encoding);
    }
    let engine = engine();
    let (mut read, mut written) = (0, 0);
    let mut raw = vec![0; PIECE.min(buffer.len())];
    while read < buffer.len() {
        let end = buffer.len().min(read + TEXT);
        let length = engine.decode_slice(&buffer[read..end], &mut raw).map_err(|_| TokenError::Encoding)?;
        // Padding ends a text: before the end it would silently join two texts.
        if end < buffer.len() && length != PIECE {
            return Err(TokenError::Encoding);
        }
        buffer[written..written + length].copy_from_slice(&raw[..length]);
        (read, written) = (end, written + length);
    }
    Ok(written)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn engine() -> base64::engine::Simd {
    base64::engine::Simd::url_safe(base64::engine::general_purpose::PAD)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn engine() -> base64::engine::GeneralPurpose {
    base64::engine::general_purpose::URL_SAFE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/vectors/fernet.json")).unwrap()
    }

    fn key(case: &Value) -> Fernet {
        Fernet::new(case["key"].as_str().unwrap().as_bytes().try_into().unwrap())
    }

    fn standard(text: &Value) -> Vec<u8> {
        base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
    }

    #[test]
    fn the_tokens_of_original_nodes_are_made_and_read() {
        for case in vectors()["valid"].as_array().unwrap() {
            let (plain, token) = (standard(&case["plaintext_b64"]), case["token"].as_str().unwrap());
            let iv = (0..16).map(|i| u8::from_str_radix(&case["iv_hex"].as_str().unwrap()[2 * i..][..2], 16).unwrap());
            let mut made = Vec::new();
            let iv: Vec<u8> = iv.collect();
            key(case).seal(&plain, case["timestamp"].as_u64().unwrap(), iv.try_into().unwrap(), &mut made);
            assert_eq!(String::from_utf8(made).unwrap(), token);
            assert_eq!(token.len(), token_length(plain.len()));
            assert_eq!(key(case).open(token.as_bytes().to_vec()).unwrap(), plain);
        }
    }

    #[test]
    fn what_the_original_refuses_is_refused() {
        for case in vectors()["invalid"].as_array().unwrap() {
            let text = case["token"].as_str().map(|text| text.as_bytes().to_vec());
            let token = text.unwrap_or_else(|| standard(&case["token_b64_of_raw_bytes"]));
            assert!(key(case).open(token).is_err(), "{}", case["case"]);
        }
    }

    #[test]
    fn the_key_that_signed_is_found_among_several() {
        let keys = [[1; 32], [2; 32], [3; 32]].map(|key| Fernet::new(&key));
        for key in &keys {
            let mut token = Vec::new();
            key.seal(b"hello", 1, [7; 16], &mut token);
            let (found, plain) = Fernet::open_any(&keys, token.clone()).unwrap();
            assert_eq!((found, &plain[..]), (key, &b"hello"[..]));
            assert_eq!(Fernet::open_any(&[Fernet::new(&[4; 32])], token.clone()), Err(TokenError::Signature));
            assert_eq!(Fernet::open_any(&[], token), Err(TokenError::Signature));
        }
        assert_eq!(keys[0].fingerprint(), Fernet::new(&[1; 32]).fingerprint());
        assert!(!format!("{keys:?}").contains('1'));
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plain in prop::collection::vec(any::<u8>(), 0..60_000), iv: [u8; 16], seed: [u8; 32]) {
            let fernet = Fernet::new(&seed);
            let mut token = Vec::new();
            fernet.seal(&plain, 0, iv, &mut token);
            prop_assert_eq!(token.len(), token_length(plain.len()));
            prop_assert_eq!(fernet.open(token).unwrap(), plain);
        }

        #[test]
        fn one_changed_byte_is_noticed(plain in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, to: u8) {
            let fernet = Fernet::new(b"c98b62a9b6169ac5f67dae55ae4a9088");
            let mut token = Vec::new();
            fernet.seal(&plain, 1, [7; 16], &mut token);
            let at = at.index(token.len());
            prop_assume!(token[at] != to);
            token[at] = to;
            prop_assert!(fernet.open(token).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40_000)) {
            prop_assert!(Fernet::new(&[9; 32]).open(bytes).is_err());
        }
    }
}
