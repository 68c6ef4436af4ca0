//! Dates and durations as peers and log readers know them.

use std::time::{SystemTime, UNIX_EPOCH};

use time::{
    Date, OffsetDateTime, PrimitiveDateTime, Time, format_description::BorrowedFormatItem, macros::format_description,
};

const ISO: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// UTC with six digits of fraction, `2026-11-23T09:39:31.722052Z` (`spec/protocol.md` 13.6).
pub fn iso_utc(moment: SystemTime) -> String {
    OffsetDateTime::from(moment).format(&ISO).unwrap_or_else(|_| "n/a".to_owned())
}

/// The moment of such a text, with any number of digits of fraction, of which six count; none if it is no date.
pub fn from_iso_utc(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let micros = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let date = Date::from_calendar_date(year.into(), u8::try_from(month).ok()?.try_into().ok()?, small(day)?).ok()?;
    let time = Time::from_hms_micro(small(hour)?, small(minute)?, small(second)?, micros).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().into())
}

fn numbers(text: &str, separator: char) -> Option<[u16; 3]> {
    let parts: Option<Vec<u16>> = text.split(separator).map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

fn small(number: u16) -> Option<u8> {
    number.try_into().ok()
}

/// A moment as it stands in a JSON file of this daemon's own.
pub mod iso {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn serialize<S: Serializer>(moment: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::iso_utc(*moment))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is no date.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::from_iso_utc(&text).ok_or_else(|| D::Error::custom(format!("'{text}' is not a date")))
    }
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
        assert_eq!(from_iso_utc("2026-11-23T09:39:31.72205Z"), Some(moment));
        assert_eq!(from_iso_utc(&iso_utc(UNIX_EPOCH)), Some(UNIX_EPOCH));
        assert_eq!(utc(moment), "2026-11-23 09:39:31 UTC");
        assert_eq!(seconds_with_fraction(moment), "1795426771.72205");
        assert_eq!(seconds_with_fraction(UNIX_EPOCH), "0.0");
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "n/a", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00.éZ", "TZ", "1-1T1Z"]
        {
            assert_eq!(from_iso_utc(text), None, "{text}");
        }
    }
}
