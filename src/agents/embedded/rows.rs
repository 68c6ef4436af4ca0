//! Rows as JSON (`spec/agentdb.md` 3): members in the order of the columns, NULL left out, no blanks.

use std::fmt::Write;

use rusqlite::{Row, Rows, types::ValueRef};

use crate::system::json::push_text;

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

#[cfg(test)]
mod tests {
    use super::*;

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
