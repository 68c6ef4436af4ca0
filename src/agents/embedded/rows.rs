//! Rows as JSON (`spec/agentdb.md` 3): members in the order of the columns, NULL left out, no blanks.

use std::fmt::Write;

use rusqlite::{Row, Rows, types::ValueRef};

/// Appends one row as an object.
pub(super) fn push_row(out: &mut String, row: &Row<'_>) -> rusqlite::Result<()> {
    out.push('{');
    let statement = row.as_ref();
    let mut first = true;
    for column in 0..statement.column_count() {
        let value = row.get_ref(column)?;
        if value == ValueRef::Null {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        push_text(out, statement.column_name(column)?);
        out.push(':');
        push_value(out, value);
    }
    out.push('}');
    Ok(())
}

/// All rows as an array, which stops growing beyond `limit` bytes: nobody would get the rest.
pub(super) fn array(mut rows: Rows<'_>, limit: usize) -> rusqlite::Result<String> {
    let mut out = "[".to_owned();
    while let Some(row) = rows.next()? {
        if out.len() > 1 {
            out.push(',');
        }
        push_row(&mut out, row)?;
        if out.len() > limit {
            return Ok(out);
        }
    }
    out.push(']');
    Ok(out)
}

/// Appends a value that is not NULL.
pub(super) fn push_value(out: &mut String, value: ValueRef<'_>) {
    let written = match value {
        ValueRef::Null => out.write_str("null"),
        ValueRef::Integer(number) => write!(out, "{number}"),
        ValueRef::Real(number) if number.fract() == 0.0 && number.abs() < 1e15 => write!(out, "{number:.0}"),
        ValueRef::Real(number) => write!(out, "{number}"),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            push_text(out, &String::from_utf8_lossy(bytes));
            Ok(())
        }
    };
    // Writing to memory cannot fail.
    debug_assert!(written.is_ok());
}

/// Appends a text in quotes.
pub(super) fn push_text(out: &mut String, text: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_little_as_json_allows() {
        let mut out = String::new();
        push_text(&mut out, "a/b \"c\" \\ \n\u{1} Grüße");
        assert_eq!(out, r#""a/b \"c\" \\ \n\u0001 Grüße""#);
    }

    #[test]
    fn rows_leave_out_null_and_print_numbers_without_a_fraction() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement =
            connection.prepare("SELECT 253402300799 AS a, NULL AS b, 'x' AS c, 2.0 AS d, 2.5 AS e").unwrap();
        assert_eq!(array(statement.query([]).unwrap(), 1000).unwrap(), r#"[{"a":253402300799,"c":"x","d":2,"e":2.5}]"#);
        let mut none = connection.prepare("SELECT 1 WHERE 0").unwrap();
        assert_eq!(array(none.query([]).unwrap(), 1000).unwrap(), "[]");
    }
}
