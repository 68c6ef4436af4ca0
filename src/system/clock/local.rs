//! Local time for log lines and for files that people read.
#![allow(unsafe_code)]

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// `YYYY/MM/DD HH:MM:SS` in the local time of the machine (`spec/protocol.md` 15.5).
///
/// The rules of the time zone are applied to each moment, so a daemon that runs for years follows daylight saving.
pub fn log_time(moment: SystemTime) -> impl fmt::Display {
    LocalTime { tm: local(moment), separator: '/' }
}

/// `YYYY-MM-DD HH:MM:SS` in the local time of the machine (`spec/registration.md` 1).
pub fn local_date(moment: SystemTime) -> impl fmt::Display {
    LocalTime { tm: local(moment), separator: '-' }
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

struct LocalTime {
    tm: nix::libc::tm,
    separator: char,
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tm, separator } = self;
        let (year, month, day) = (tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
        write!(f, "{year:04}{separator}{month:02}{separator}{day:02} ")?;
        write!(f, "{:02}:{:02}:{:02}", tm.tm_hour, tm.tm_min, tm.tm_sec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn have_the_form_of_the_log_and_of_the_manager() {
        let form = |text: String| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
        assert_eq!(form(log_time(SystemTime::now()).to_string()), "0000/00/00 00:00:00");
        assert_eq!(form(local_date(SystemTime::now()).to_string()), "0000-00-00 00:00:00");
    }
}
