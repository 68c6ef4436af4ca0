//! Other processes of this machine.

use std::time::{Duration, SystemTime};

use nix::{
    errno::Errno,
    sys::signal::kill,
    time::{ClockId, clock_gettime},
    unistd::{Pid, SysconfVar, sysconf},
};

/// Where the time of the start stands among the words behind the name, `proc_pid_stat(5)`.
const START: usize = 19;

/// The name of a process, at most 15 bytes, and when it started, never later than it did; none if there is none, or it
/// does not show itself.
pub fn started(pid: i32, now: SystemTime) -> Option<(String, SystemTime)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = sysconf(SysconfVar::CLK_TCK).ok()??;
    let (name, start) = parse(&stat, ticks as f64)?;
    // The clock that the kernel notes starts by. That of /proc/uptime is another one in some containers.
    let uptime = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    let age = uptime.saturating_sub(Duration::try_from_secs_f64(start).ok()?);
    Some((name, now.checked_sub(age)?))
}

/// The name, which may hold blanks and parentheses of its own, and the start in seconds, cut to whole ticks.
fn parse(stat: &str, ticks: f64) -> Option<(String, f64)> {
    let (before, rest) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let start: f64 = rest.split_whitespace().nth(START)?.parse().ok()?;
    Some((name.to_owned(), start / ticks))
}

/// Whether there is such a process.
pub fn lives(pid: i32) -> bool {
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_shows_its_name_and_start() {
        let before = SystemTime::now();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let (pid, after) = (child.id() as i32, SystemTime::now());
        // For an instant it has the name of its parent.
        let (name, began) = loop {
            let seen = started(pid, SystemTime::now()).unwrap();
            if seen.0 == "sleep" {
                break seen;
            }
        };
        assert_eq!(name, "sleep");
        let off = began.duration_since(before).unwrap_or_else(|error| error.duration());
        assert!(off < Duration::from_secs(2), "{off:?}");
        assert!(began <= after);
        assert!(lives(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!lives(pid) && !lives(0) && !lives(-1));
        assert_eq!(started(pid, SystemTime::now()), None);
    }

    #[test]
    fn names_may_be_anything() {
        let stat = "77 (a) (b c) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4200 0 0";
        assert_eq!(parse(stat, 100.0), Some(("a) (b c".to_owned(), 42.0)));
        assert_eq!(parse("77 sleep S", 100.0), None);
        assert_eq!(parse("77 (sleep) S 1", 100.0), None);
    }
}
