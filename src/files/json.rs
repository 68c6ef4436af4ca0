//! File metadata in the spelling of the original: blanks after `,` and `:`, everything beyond ASCII escaped.
//!
//! `spec/protocol.md` 10.2. The spelling is not needed by a reader; it makes our bytes comparable with captured ones.

use std::io::{self, Write};

/// Writes `text` as a JSON string of ASCII characters.
pub(super) fn write_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if matches!(character, ' '..='~' | '\x7f') && character != '"' && character != '\\' {
            continue;
        }
        out.write_all(&text.as_bytes()[plain..at])?;
        plain = at + character.len_utf8();
        match character {
            '"' => out.write_all(b"\\\"")?,
            '\\' => out.write_all(b"\\\\")?,
            '\n' => out.write_all(b"\\n")?,
            '\r' => out.write_all(b"\\r")?,
            '\t' => out.write_all(b"\\t")?,
            '\x08' => out.write_all(b"\\b")?,
            '\x0c' => out.write_all(b"\\f")?,
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
    }
    out.write_all(&text.as_bytes()[plain..])?;
    out.write_all(b"\"")
}

/// Writes one `"path": {…}` of a metadata object. `mod_time` is in seconds and finite.
///
/// `merged` is always false: merged files were a function that no version since 4.4 has, and an original node that
/// reads `true` tries to split the file and fails for ever. A name with `.merged` is an ordinary file to us.
pub(super) fn write_entry(
    out: &mut impl Write,
    path: &str,
    mod_time: f64,
    key: &str,
    checksum: &[u8],
) -> io::Result<()> {
    write_string(out, path)?;
    write!(out, ": {{\"mod_time\": {mod_time:?}, \"cluster_item_key\": ")?;
    write_string(out, key)?;
    out.write_all(b", \"merged\": false, \"hash\": \"")?;
    write_hex(out, checksum)?;
    out.write_all(b"\"}")
}

fn write_hex(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 128];
    for chunk in bytes.chunks(64) {
        for (pair, byte) in text.chunks_exact_mut(2).zip(chunk) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        out.write_all(&text[..2 * chunk.len()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_spelt_as_python_spells_them() {
        assert_eq!(string("a \"b\"\\/\x7f"), "\"a \\\"b\\\"\\\\/\x7f\"");
        assert_eq!(string("\n\r\t\x08\x0c\x01"), r#""\n\r\t\b\f\u0001""#);
        assert_eq!(string("ünï €𝄞"), r#""\u00fcn\u00ef \u20ac\ud834\udd1e""#);
    }

    #[test]
    fn an_entry_has_the_captured_form() {
        let mut out = Vec::new();
        write_entry(&mut out, "etc/client.keys", 1_795_426_503.976_401_6, "etc/", &[0xab, 0x01]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""etc/client.keys": {"mod_time": 1795426503.9764016, "cluster_item_key": "etc/", "merged": false, "hash": "ab01"}"#
        );
        let mut whole = Vec::new();
        write_entry(&mut whole, "a", 5.0, "e/", &[]).unwrap();
        assert!(String::from_utf8(whole).unwrap().contains("\"mod_time\": 5.0,"));
    }
}
