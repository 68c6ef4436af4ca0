//! JSON in the two spellings of the stock daemon.
//!
//! The cluster daemon, and so [`text`] and [`write()`], puts `", "` and `": "` between the parts and escapes everything but
//! ASCII. The agent database puts nothing between them and escapes as little as JSON allows: [`push_text`].

use std::{fmt::Write as _, io};

use serde::Serialize;
use serde_json::ser::Formatter;

/// The text of `value` in the stock daemon's style.
pub fn text(value: &(impl Serialize + ?Sized)) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail, and no type of ours has keys that are not text.
    let written = write(&mut bytes, value);
    debug_assert!(written.is_ok());
    String::from_utf8(bytes).unwrap_or_default()
}

/// Writes `value` in the stock daemon's style.
///
/// # Errors
/// Those of the writer.
pub fn write(out: impl io::Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Style);
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// Appends a text in quotes, escaped as little as JSON allows.
pub fn push_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c.is_ascii_control()) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            // The only control character that JSON allows.
            0x7f => out.push('\x7f'),
            other => {
                let _ = write!(out, "\\u{other:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

struct Style;

impl Formatter for Style {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !c.is_ascii()) {
            let (plain, special) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let Some(c) = special.chars().next() else { break };
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &special[c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_escaped_as_little_as_json_allows() {
        let mut out = String::new();
        push_text(&mut out, "a/b \"c\" \\ \n\u{1} Grüße");
        assert_eq!(out, r#""a/b \"c\" \\ \n\u0001 Grüße""#);
    }

    #[test]
    fn text_is_that_of_the_original() {
        let value = json!({"a": [1, "é😀\n\""], "b": {"c": null, "d": 1.5}});
        assert_eq!(text(&value), r#"{"a": [1, "\u00e9\ud83d\ude00\n\""], "b": {"c": null, "d": 1.5}}"#);
        assert_eq!(text(&json!([])), "[]");
        assert_eq!(text(&json!({})), "{}");
    }

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_spelt_as_python_spells_them() {
        assert_eq!(string("a \"b\"\\/\x7f"), "\"a \\\"b\\\"\\\\/\x7f\"");
        assert_eq!(string("\n\r\t\x08\x0c\x01"), r#""\n\r\t\b\f\u0001""#);
        assert_eq!(string("ünï €𝄞"), r#""\u00fcn\u00ef \u20ac\ud834\udd1e""#);
    }
}
