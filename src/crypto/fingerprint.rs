//! A short name for a key, by which people see that two nodes have the same one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::system::hex::hex;

/// Sets this use of the key apart from every other.
const SALT: &[u8] = b"threatlockdown cluster key fingerprint 1";

/// Makes each guess of a key cost as much as its own fingerprint, some 20 ms.
const ROUNDS: u32 = 100_000;

/// Bytes that are shown: enough to tell a handful of keys apart.
const LENGTH: usize = 4;

/// Eight hexadecimal digits that stand for `key`: the beginning of its PBKDF2-HMAC-SHA-256.
///
/// A random key, of 128 bits and more, cannot be found by them. They could confirm a guess of a key that a person has
/// thought up, and so can one recorded message of a link, for which a guess costs a few hashes. Here it costs 200 000, so
/// the fingerprint is the harder way; still it is told only at the control socket and between nodes, and never logged.
pub fn fingerprint(key: &[u8]) -> String {
    hex(&stretch(key, SALT, ROUNDS)[..LENGTH])
}

/// Whether `text` has the form of one.
pub fn is_fingerprint(text: &str) -> bool {
    text.len() == 2 * LENGTH && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The first block of PBKDF2 (RFC 8018, 5.2).
fn stretch(key: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    // A key of HMAC may have any length; there is nothing that could fail.
    let keyed = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    let mut block = keyed.clone().chain_update(salt).chain_update(1u32.to_be_bytes()).finalize().into_bytes();
    let mut sum = block;
    for _ in 1..rounds {
        block = keyed.clone().chain_update(block).finalize().into_bytes();
        sum.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pbkdf2_is_that_of_rfc_7914() {
        let known = |key: &str, salt: &str, rounds| hex(&stretch(key.as_bytes(), salt.as_bytes(), rounds));
        assert_eq!(known("passwd", "salt", 1), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
        assert_eq!(
            known("Password", "NaCl", 80_000),
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
        );
    }

    #[test]
    fn a_fingerprint_stays_the_same_from_version_to_version() {
        assert_eq!(fingerprint(b"c98b62a9b6169ac5f67dae55ae4a9088"), "69a9956f");
        assert!(is_fingerprint("69a9956f") && !is_fingerprint("69a9956F") && !is_fingerprint("69a9956"));
    }
}
