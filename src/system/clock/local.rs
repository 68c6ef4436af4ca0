//! Local time, for the lines and archives of the log and for files that people read.
#![allow(unsafe_code)]

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use time::{Date, Month};

/// `YYYY/MM/DD HH:MM:SS` in the local time of the machine (`spec/protocol.md` 15.5).
///
/// The rules of the time zone are applied to each moment, so a daemon that runs for years follows daylight saving.
pub fn log_time(moment: SystemTime) -> impl fmt::Display {
    LocalTime { tm: local(moment), date: '/', between: ' ' }
}

/// `YYYY-MM-DD HH:MM:SS` in the local time of the machine (`spec/registration.md` 1).
pub fn local_date(moment: SystemTime) -> impl fmt::Display {
    LocalTime { tm: local(moment), date: '-', between: ' ' }
}

/// `YYYY-MM-DDTHH:MM:SS.mmm±HH:MM` in the local time of the machine (RFC 3339).
pub fn rfc3339(moment: SystemTime) -> impl fmt::Display {
    let milliseconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
    Rfc3339(LocalTime { tm: local(moment), date: '-', between: 'T' }, milliseconds)
}

/// The day on which this moment falls in the local time of the machine.
pub fn local_day(moment: SystemTime) -> Date {
    let tm = local(moment);
    let part = |number: i32| u8::try_from(number).unwrap_or_default();
    let month = Month::try_from(part(tm.tm_mon + 1)).unwrap_or(Month::January);
    // The kernel's clock cannot reach a year that does not fit.
    Date::from_calendar_date(tm.tm_year + 1900, month, part(tm.tm_mday)).unwrap_or(Date::MIN)
}

fn local(moment: SystemTime) -> nix::libc::tm {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = nix::libc::time_t::try_from(seconds).unwrap_or(nix::libc::time_t::MAX);
    // SAFETY: `tm` is plain old data for which all zeroes is a valid value, and `localtime_r` writes only into the
    // structure it is given. The environment variable TZ, which it reads, is never changed by this program.
    unsafe {
        let mut tm = std::mem::zeroed::<nix::libc::tm>();
        nix::libc::localtime_r(&raw const seconds, &raw mut tm);
        tm
    }
}

/// With what stands between the parts of the date, and between date and time.
struct LocalTime {
    tm: nix::libc::tm,
    date: char,
    between: char,
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tm, date, between } = self;
        let (year, month, day) = (tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
        write!(f, "{year:04}{date}{month:02}{date}{day:02}{between}")?;
        write!(f, "{:02}:{:02}:{:02}", tm.tm_hour, tm.tm_min, tm.tm_sec)
    }
}

/// With milliseconds.
struct Rfc3339(LocalTime, u32);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time, milliseconds) = self;
        let offset = time.tm.tm_gmtoff;
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
        write!(f, "{time}.{milliseconds:03}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_forms_of_the_log_and_of_the_manager() {
        let form = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
        let now = SystemTime::now();
        let (text, precise) = (log_time(now).to_string(), rfc3339(now).to_string());
        assert_eq!(form(&text), "0000/00/00 00:00:00");
        assert_eq!(form(&local_date(now).to_string()), "0000-00-00 00:00:00");
        assert_eq!(form(&precise).replace('-', "+"), "0000+00+00T00:00:00.000+00:00");
        assert_eq!(precise[..19].replace('T', " ").replace('-', "/"), text);
        assert_eq!(local_day(now).to_string().replace('-', "/"), text[..10]);
    }
}
