//! File metadata in the spelling of the stock daemon: blanks after `,` and `:`, everything beyond ASCII escaped.
//!
//! `spec/protocol.md` 10.2. The spelling is not needed by a reader; it makes our bytes comparable with captured ones.

use std::{
    io::{self, Write},
    num::NonZeroU64,
};

use crate::system::{hex, json};

/// Writes one `"path": {…}` of a metadata object. `mod_time` is in seconds and finite.
///
/// A content that comes as a delta, which only a node of ours is sent, has so many bytes when it is `made`.
///
/// `merged` is always false: merged files were a function that no version since 4.4 has, and a stock node that
/// reads `true` tries to split the file and fails for ever. A name with `.merged` is an ordinary file to us.
pub(super) fn write_entry(
    out: &mut impl Write,
    path: &str,
    mod_time: f64,
    key: &str,
    checksum: &[u8],
    made: Option<NonZeroU64>,
) -> io::Result<()> {
    json::write(&mut *out, path)?;
    write!(out, ": {{\"mod_time\": {mod_time:?}, \"cluster_item_key\": ")?;
    json::write(&mut *out, key)?;
    out.write_all(b", \"merged\": false, \"hash\": \"")?;
    hex::write(out, checksum)?;
    match made {
        None => out.write_all(b"\"}"),
        Some(size) => write!(out, "\", \"delta\": {size}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_captured_form() {
        let mut out = Vec::new();
        write_entry(&mut out, "etc/client.keys", 1_795_426_503.976_401_6, "etc/", &[0xab, 0x01], None).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""etc/client.keys": {"mod_time": 1795426503.9764016, "cluster_item_key": "etc/", "merged": false, "hash": "ab01"}"#
        );
        let mut whole = Vec::new();
        write_entry(&mut whole, "a", 5.0, "e/", &[], NonZeroU64::new(7)).unwrap();
        let whole = String::from_utf8(whole).unwrap();
        assert!(whole.contains("\"mod_time\": 5.0,"), "{whole}");
        assert!(whole.ends_with(r#""hash": "", "delta": 7}"#), "{whole}");
    }
}
