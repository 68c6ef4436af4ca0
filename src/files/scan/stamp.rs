//! What a file system says about a file: while it stays the same, the file need not be read again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::FileStat;

/// A change this short before or after the reading may leave the time stamps as they are: file systems count time in
/// ticks, the coarsest (FAT, old NFS) in 2 s.
const TICK: Duration = Duration::from_secs(2);

/// The cache key of a file and when it was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    size: i64,
    /// Nanoseconds since 1970.
    modified: i64,
    /// Nanoseconds since 1970 of the last change of content or inode: nobody can set it back.
    changed: i64,
    inode: u64,
    device: u64,
}

impl Stamp {
    pub(super) fn new(stat: &FileStat) -> Stamp {
        let nanos = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Stamp {
            size: stat.st_size,
            modified: nanos(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanos(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            device: stat.st_dev,
        }
    }

    pub(super) fn size(&self) -> i64 {
        self.size
    }

    /// Modification time in seconds, as the metadata has it.
    #[allow(clippy::cast_precision_loss)] // what a float cannot hold, the original does not send either
    pub(super) fn mod_time(&self) -> f64 {
        let (seconds, rest) = (self.modified.div_euclid(1_000_000_000), self.modified.rem_euclid(1_000_000_000));
        seconds as f64 + 1e-9 * rest as f64
    }

    /// Whether a change after `now` will certainly show in the stamp.
    pub(super) fn settled(&self, now: SystemTime) -> bool {
        let now = nanos_of(now);
        let tick = i64::try_from(TICK.as_nanos()).unwrap_or(i64::MAX);
        let near = |time: i64| now.saturating_sub(tick) <= time && time <= now.saturating_add(tick);
        !near(self.modified) && !near(self.changed)
    }
}

/// A stamp as the scanner keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) stamp: Stamp,
    /// When the file was read: seconds since 1970, which fit until 2106.
    pub(super) read_at: u32,
    /// Whether the stamp can be trusted from then on.
    pub(super) settled: bool,
}

impl Kept {
    /// Whether the file need not be read again: same stamp, trusted, and read within the last `full_every`.
    pub(super) fn holds(&self, stamp: &Stamp, now: SystemTime, full_every: Duration) -> bool {
        let now = seconds_of(now);
        // A clock that was set back makes the age unknown.
        let age = now.checked_sub(self.read_at);
        self.settled && self.stamp == *stamp && age.is_some_and(|age| u64::from(age) < full_every.as_secs())
    }
}

pub(super) fn seconds_of(time: SystemTime) -> u32 {
    u32::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(u32::MAX)
}

fn nanos_of(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: i64, changed: i64) -> Stamp {
        Stamp { size: 1, modified: modified * 1_000_000_000, changed: changed * 1_000_000_000, inode: 1, device: 1 }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn only_old_stamps_are_settled() {
        assert!(stamp(100, 100).settled(at(103)));
        assert!(!stamp(100, 100).settled(at(102)));
        assert!(!stamp(0, 100).settled(at(101)));
        // A modification time far in the future is nothing but a time that somebody set: the other time tells.
        assert!(stamp(5000, 100).settled(at(200)));
    }

    #[test]
    fn a_kept_stamp_holds_for_its_time() {
        let kept = Kept { stamp: stamp(1, 1), read_at: 1000, settled: true };
        let hour = Duration::from_secs(3600);
        assert!(kept.holds(&stamp(1, 1), at(1000), hour));
        assert!(!kept.holds(&stamp(1, 2), at(1000), hour));
        assert!(!kept.holds(&stamp(1, 1), at(4600), hour));
        assert!(!kept.holds(&stamp(1, 1), at(999), hour), "the clock was set back");
        assert!(!Kept { settled: false, ..kept }.holds(&stamp(1, 1), at(1000), hour));
    }

    #[test]
    fn mod_time_is_a_fraction_of_seconds() {
        let stamp = Stamp { modified: 1_795_426_503_976_401_600, ..stamp(0, 0) };
        assert_eq!(format!("{:?}", stamp.mod_time()), "1795426503.9764016");
    }
}
