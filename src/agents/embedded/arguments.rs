//! What stands behind the name of a command, as the stock daemon reads it.

use super::answer::Failure;
use crate::sockets::json::Json;

/// The argument of a command that takes JSON.
pub(super) fn json(arguments: &str) -> Result<Json, Failure> {
    Json::parse(arguments).ok_or_else(|| Failure::Json(arguments.to_owned()))
}

/// A decimal number read as C's `atoi` does: blanks before it and anything behind it are skipped, nothing is 0.
pub(super) fn integer(text: &str) -> i64 {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = digits
        .bytes()
        .take_while(u8::is_ascii_digit)
        .fold(0_i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_leniently() {
        let cases = [("1", 1), (" 019x", 19), ("-1", -1), ("", 0), ("x", 0), ("99999999999999999999", i64::MAX)];
        for (text, number) in cases {
            assert_eq!(integer(text), number, "{text}");
        }
    }
}
