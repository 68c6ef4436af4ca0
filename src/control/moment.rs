//! Dates as they come in the health of the cluster: `2026-11-23T09:39:31.722052Z`, or `n/a` for what never happened.

use std::{fmt, time::SystemTime};

use serde::Deserialize;

use crate::system::clock::from_iso_utc;
use crate::system::visible::visible;

/// A date of the health in the words of people, `2026-11-23 09:39:31`; what is no date as it is.
pub(super) fn utc(date: &str) -> String {
    match from_iso_utc(date) {
        Some(_) => date.get(..19).unwrap_or(date).replace('T', " "),
        None => visible(date),
    }
}

/// A date of the health, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
    pub(super) fn time(&self) -> Option<SystemTime> {
        from_iso_utc(&self.0)
    }

    /// The time from here to `end`, as `0.003s`; `n/a` if one of them never happened. What still runs, so that `end` is
    /// of the time before, has no duration either.
    pub(super) fn duration_until(&self, end: &Self) -> String {
        match (self.time(), end.time()) {
            (Some(start), Some(end)) => match end.duration_since(start) {
                Ok(took) => format!("{:.3}s", took.as_secs_f64()),
                Err(_) => "n/a".to_owned(),
            },
            _ => "n/a".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_no_fraction() {
        assert_eq!(utc("2026-11-23T10:32:16.150432Z"), "2026-11-23 10:32:16");
        assert_eq!(utc("n/a\x1b"), "n/a\\u{1b}");
    }

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
}
