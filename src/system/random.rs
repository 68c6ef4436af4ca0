//! Randomness from the kernel.

use std::io;

use super::hex::hex;

/// `N` random bytes.
///
/// # Errors
/// When the kernel has no source of randomness; the daemon cannot encrypt then.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A number for purposes that need variety and not secrecy: counters, ids, jitter.
pub fn number() -> u32 {
    bytes().map_or_else(|_| std::process::id(), u32::from_ne_bytes)
}

/// A task id: the text of a random UUID, 36 characters (`spec/protocol.md` 8.4).
pub fn uuid() -> String {
    let mut b = bytes::<16>().unwrap_or_else(|_| u128::from(number()).to_ne_bytes());
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex = hex(&b);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_differ_and_have_the_form_of_a_uuid() {
        let (one, two) = (uuid(), uuid());
        assert_ne!(one, two);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
    }
}
