//! JSON as the original writes it: `", "` and `": "` between the parts, everything but ASCII escaped.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// The text of `value` in the original's style.
pub fn text(value: &(impl Serialize + ?Sized)) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail, and no type of ours has keys that are not text.
    let written = write(&mut bytes, value);
    debug_assert!(written.is_ok());
    String::from_utf8(bytes).unwrap_or_default()
}

/// Writes `value` in the original's style.
///
/// # Errors
/// Those of the writer.
pub fn write(out: impl io::Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Style);
    value.serialize(&mut serializer).map_err(io::Error::from)
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
    fn text_is_that_of_the_original() {
        let value = json!({"a": [1, "é😀\n\""], "b": {"c": null, "d": 1.5}});
        assert_eq!(text(&value), r#"{"a": [1, "\u00e9\ud83d\ude00\n\""], "b": {"c": null, "d": 1.5}}"#);
        assert_eq!(text(&json!([])), "[]");
        assert_eq!(text(&json!({})), "{}");
    }
}
