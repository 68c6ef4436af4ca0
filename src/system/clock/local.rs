//! Local time for log lines.
#![allow(unsafe_code)]

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// `YYYY/MM/DD HH:MM:SS` in the local time of the machine (`spec/protocol.md` 15.5).
///
/// The rules of the time zone are applied to each moment, so a daemon that runs for years follows daylight saving.
pub fn log_time(moment: SystemTime) -> impl fmt::Display {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = nix::libc::time_t::try_from(seconds).unwrap_or(nix::libc::time_t::MAX);
    // SAFETY: `tm` is plain old data for which all zeroes is a valid value, and `localtime_r` writes only into the
    // structure it is given. The environment variable TZ, which it reads, is never changed by this program.
    let tm = unsafe {
        let mut tm = std::mem::zeroed::<nix::libc::tm>();
        nix::libc::localtime_r(&raw const seconds, &raw mut tm);
        tm
    };
    LogTime(tm)
}

struct LogTime(nix::libc::tm);

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tm = &self.0;
        let (year, month) = (tm.tm_year + 1900, tm.tm_mon + 1);
        write!(f, "{year:04}/{month:02}/{:02} {:02}:{:02}:{:02}", tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_form_of_the_log() {
        let text = log_time(SystemTime::now()).to_string();
        let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000/00/00 00:00:00");
    }
}
