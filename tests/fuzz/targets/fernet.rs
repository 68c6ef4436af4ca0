//! Fernet tokens (`spec/protocol.md` 3): bytes as they come, tokens with a good signature and any content, and tokens of
//! this daemon, whole and changed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use clusterd::crypto::{Fernet, TokenError, token_length};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::input::Input;

const KEY: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

/// The first byte chooses what the rest is.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 3 {
        0 => _ = Fernet::new(&KEY).open(input.0.to_vec()),
        1 => signed(input.0),
        _ => sealed(input),
    }
}

/// Under the right signature anything may stand, if the one who made it holds the key.
fn signed(content: &[u8]) {
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY[..16]).expect("any length will do");
    mac.update(content);
    let token = URL_SAFE.encode([content, &mac.finalize().into_bytes()].concat());
    match Fernet::new(&KEY).open(token.into_bytes()) {
        Ok(plain) => assert!(plain.len() < content.len()),
        Err(TokenError::Form | TokenError::Padding) => {}
        Err(other) => panic!("a good signature, and yet: {other}"),
    }
}

/// What is sealed is opened, by this key alone, and not if one character of it is another.
fn sealed(mut input: Input<'_>) {
    let (at, by) = (usize::from(input.byte()) * 257 + usize::from(input.byte()), input.byte());
    let plain = input.0;
    let (own, other) = (Fernet::new(&KEY), Fernet::new(&[7; 32]));
    let mut token = Vec::new();
    own.seal(plain, 1, [by; 16], &mut token);
    assert_eq!(token.len(), token_length(plain.len()));
    assert_eq!(other.open(token.clone()), Err(TokenError::Signature));
    let keys = [other, own];
    let (key, opened) = Fernet::open_any(&keys, token.clone()).expect("it is whole");
    assert!(*key == keys[1] && opened == plain);
    let at = at % token.len();
    let changed = token[at] ^ (1 << (by % 8));
    token[at] = changed;
    assert!(Fernet::open_any(&keys, token).is_err(), "byte {at} is {changed}, and nobody sees it");
}
