//! Dates as they come in the health of the cluster: `2026-11-23T09:39:31.722052Z`, or `n/a` for what never happened.

use std::fmt;

use serde::Deserialize;
use time::{Date, PrimitiveDateTime, Time};

use super::report::visible;

/// A date of the health, kept as it came.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub(super) struct Moment(String);

impl Default for Moment {
    fn default() -> Self {
        Self("n/a".to_owned())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible(&self.0))
    }
}

impl Moment {
    /// The date, unless it never happened or is no date.
    pub(super) fn time(&self) -> Option<PrimitiveDateTime> {
        let (date, time) = self.0.strip_suffix('Z')?.split_once('T')?;
        let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(clock, ':')?;
        let micros = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
        let date =
            Date::from_calendar_date(year.into(), u8::try_from(month).ok()?.try_into().ok()?, small(day)?).ok()?;
        let time = Time::from_hms_micro(small(hour)?, small(minute)?, small(second)?, micros).ok()?;
        Some(PrimitiveDateTime::new(date, time))
    }

    /// The time from here to `end`, as `0.003s`; `n/a` if one of them never happened. What still runs, so that `end` is
    /// of the time before, has no duration either.
    pub(super) fn duration_until(&self, end: &Self) -> String {
        match (self.time(), end.time()) {
            (Some(start), Some(end)) if end >= start => format!("{:.3}s", (end - start).as_seconds_f64()),
            _ => "n/a".to_owned(),
        }
    }
}

fn numbers(text: &str, separator: char) -> Option<[u16; 3]> {
    let parts: Option<Vec<u16>> = text.split(separator).map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

fn small(number: u16) -> Option<u8> {
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_to_milliseconds() {
        let cases = [
            ("2026-11-23T10:32:16.150432Z", "2026-11-23T10:32:16.153214Z", "0.003s"),
            ("2026-11-23T23:59:59.5Z", "2026-11-24T00:00:01Z", "1.500s"),
            ("2026-11-23T10:32:16.150432Z", "n/a", "n/a"),
            ("n/a", "2026-11-23T10:32:16.150432Z", "n/a"),
            ("2026-11-23T10:32:17Z", "2026-11-23T10:32:16Z", "n/a"),
        ];
        for (start, end, text) in cases {
            assert_eq!(Moment(start.into()).duration_until(&Moment(end.into())), text);
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "n/a", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00.éZ", "TZ", "1-1T1Z"]
        {
            assert_eq!(Moment(text.into()).time(), None, "{text}");
        }
    }
}
