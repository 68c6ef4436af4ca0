//! Dates and durations as peers and log readers know them.

use std::time::{SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const ISO: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// UTC with six digits of fraction, `2026-11-23T09:39:31.722052Z` (`spec/protocol.md` 13.6).
pub fn iso_utc(moment: SystemTime) -> String {
    OffsetDateTime::from(moment).format(&ISO).unwrap_or_else(|_| "n/a".to_owned())
}

/// UTC for people, `2026-11-23 09:39:31 UTC`.
pub fn utc(moment: SystemTime) -> String {
    let text = iso_utc(moment).replace('T', " ");
    format!("{} UTC", text.split('.').next().unwrap_or_default())
}

/// Seconds since 1970 with up to six digits of fraction and no trailing zeroes, as in the names of archives
/// (`spec/protocol.md` 10.3).
pub fn seconds_with_fraction(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = format!("{}.{:06}", since.as_secs(), since.subsec_micros());
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_have_six_digits_and_names_no_trailing_zeroes() {
        let moment = UNIX_EPOCH + Duration::from_micros(1_795_426_771_722_050);
        assert_eq!(iso_utc(moment), "2026-11-23T09:39:31.722050Z");
        assert_eq!(utc(moment), "2026-11-23 09:39:31 UTC");
        assert_eq!(seconds_with_fraction(moment), "1795426771.72205");
        assert_eq!(seconds_with_fraction(UNIX_EPOCH), "0.0");
    }
}
