//! Whether a file or folder is still what it was when it was read: the one rule for every cache whose key is a stamp.
//!
//! A stamp is what the file system says of a file. That it is the same as before does not show yet that the content is: file
//! systems count time in ticks, the coarsest of 2 s, and a change within the tick of another leaves the times as they are.
//! So what was read is believed to be there while the stamp is the same **and no change since the reading could have got one
//! of its two times**:
//!
//! ```text
//!  clock ──────────────┬── tick ──┬───────────────────┬── tick ──┬──────────►
//!                                 file is read        look
//!  a time of the stamp
//!      here: believed  │      here: read again        │          │ here: believed until the clock comes near
//! ```
//!
//! The clock is read just before each file is, because reading all of them may take long.
//!
//! The times are those of the file system's clock, which may be another than ours: that of a server, or ours before it was
//! set. So a time that is not yet `SKEW` old is believed only if the file was seen with the same stamp a tick before,
//! which our monotonic clock tells, whatever the other shows. Hence a clock that is ahead, one that is behind by less than
//! `SKEW`, and one that was set to another time hide nothing, and a file from the future is read twice and not for ever.
//! What remains is a server whose clock is further behind than that: of two changes of one file within one of its ticks, the
//! second may stay unseen until a cache reads everything anew, as the scan does each hour.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::sys::stat::FileStat;

#[cfg(test)]
pub(crate) mod fake;

/// Nanoseconds, of a span or since 1970; they fit until 2262.
type Nanos = i64;

const SECOND: Nanos = 1_000_000_000;

/// The coarsest tick of a file system: that of FAT, and of old servers.
const TICK: Nanos = 2 * SECOND;

/// How far the clock of a file system may be behind ours and deceive nobody.
const SKEW: Nanos = 8 * SECOND;

/// What changes when the content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    size: i64,
    /// When the content was changed, as far as nobody has set that.
    modified: Nanos,
    /// When content, name or mode were changed: nobody can set it.
    changed: Nanos,
    inode: u64,
    device: u64,
}

impl Stamp {
    /// Of what stands at `path`.
    ///
    /// # Errors
    /// When there is nothing, or a folder above may not be entered.
    pub fn of(path: &Path) -> io::Result<Self> {
        path.metadata().map(|about| Self::of_metadata(&about))
    }

    /// Of an open file, whatever its name is by now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|about| Self::of_metadata(&about))
    }

    /// Of a file about which the system was asked already.
    pub fn of_stat(about: &FileStat) -> Self {
        Self::seen(Self {
            size: about.st_size,
            modified: nanos(about.st_mtime, about.st_mtime_nsec),
            changed: nanos(about.st_ctime, about.st_ctime_nsec),
            inode: about.st_ino,
            device: about.st_dev,
        })
    }

    fn of_metadata(about: &Metadata) -> Self {
        Self::seen(Self {
            size: i64::try_from(about.size()).unwrap_or(i64::MAX),
            modified: nanos(about.mtime(), about.mtime_nsec()),
            changed: nanos(about.ctime(), about.ctime_nsec()),
            inode: about.ino(),
            device: about.dev(),
        })
    }

    #[cfg(not(test))]
    fn seen(self) -> Self {
        self
    }

    #[cfg(test)]
    fn seen(self) -> Self {
        fake::stamp(self)
    }

    /// Bytes.
    pub fn size(&self) -> i64 {
        self.size
    }

    /// Modification time in seconds since 1970, as manifests have it.
    #[allow(clippy::cast_precision_loss)] // what a float cannot hold, the original does not send either
    pub fn mod_time(&self) -> f64 {
        self.modified.div_euclid(SECOND) as f64 + 1e-9 * self.modified.rem_euclid(SECOND) as f64
    }

    /// Whether it is `other`, whatever its name is: that counts as a change, too.
    pub fn is_renamed(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }

    /// The same for every content of the file, and another when another file stands in its place.
    pub fn of_inode(&self) -> Self {
        Self { size: 0, modified: 0, changed: 0, ..*self }
    }

    fn times(&self) -> [Nanos; 2] {
        [self.modified, self.changed]
    }
}

/// An instant by both clocks of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: Nanos,
    /// Seconds of the monotonic clock, which nobody sets, since some instant of this process.
    up: u32,
}

impl Moment {
    /// The present one. It is the machine's, as that of the files is, and never that of a node under test.
    pub fn now() -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        #[cfg(test)]
        if let Some(now) = fake::now() {
            return now;
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let up = START.elapsed().as_secs();
        Self { wall: Nanos::try_from(wall).unwrap_or(Nanos::MAX), up: u32::try_from(up).unwrap_or(u32::MAX) }
    }

    /// Whole seconds from `up` until this; a second less than what has passed at the least, and one more at the most.
    fn since(self, up: u32) -> u32 {
        self.up.saturating_sub(up)
    }
}

/// The stamp of something that was read, and whether it shows that nothing has changed since.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    stamp: Stamp,
    /// Monotonic seconds: when it was read, if the stamp is settled; otherwise when it was first seen with this stamp.
    since: u32,
    settled: bool,
}

impl Seen {
    /// Of what is about to be read, first `now`, then its `stamp`; `before` is what was kept when it was last read.
    pub fn new(stamp: Stamp, now: Moment, before: Option<&Self>) -> Self {
        let since = before.filter(|before| before.stamp == stamp).map_or(now.up, |before| before.since);
        let stood = now.since(since).saturating_sub(1) >= (TICK / SECOND) as u32;
        // Whole seconds are counted: what is believed now is to be believed after the next look, too.
        let settled = outside(&stamp, now.wall.saturating_sub(2 * SECOND), now.wall)
            && (stood || stamp.times().iter().all(|time| *time < now.wall.saturating_sub(TICK + SKEW)));
        Self { stamp, since: if settled { now.up } else { since }, settled }
    }

    /// The same, of something that was changed while it was read.
    pub fn torn(self) -> Self {
        Self { settled: false, ..self }
    }

    /// What was read.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether what has this `stamp` `now` need not be read again.
    pub fn holds(&self, stamp: &Stamp, now: Moment) -> bool {
        self.stamp == *stamp && self.is_settled(now)
    }

    /// Whether a change since the reading would show in the stamp.
    pub fn is_settled(&self, now: Moment) -> bool {
        // By the clock as it goes now: it may have been set since.
        let read = now.wall.saturating_sub((i64::from(now.since(self.since)) + 1) * SECOND);
        self.settled && outside(&self.stamp, read, now.wall)
    }

    /// How long ago it was read, if the stamp is settled.
    pub fn age(&self, now: Moment) -> Duration {
        Duration::from_secs(now.since(self.since).into())
    }
}

/// Whether no change from `begin` to `end` can have got one of the times of `stamp`.
fn outside(stamp: &Stamp, begin: Nanos, end: Nanos) -> bool {
    let (begin, end) = (begin.saturating_sub(TICK), end.saturating_add(TICK));
    stamp.times().iter().all(|time| *time < begin || *time > end)
}

/// Stands between two steps of who reads files; a test does something there.
pub(crate) fn step() {
    #[cfg(test)]
    fake::step();
}

fn nanos(seconds: i64, rest: i64) -> Nanos {
    seconds.saturating_mul(SECOND).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: i64, changed: i64) -> Stamp {
        Stamp { size: 1, modified: modified * SECOND, changed: changed * SECOND, inode: 1, device: 1 }
    }

    /// So many seconds after the start of a clock that shows `wall` then.
    fn at(wall: i64, up: u32) -> Moment {
        Moment { wall: wall * SECOND, up }
    }

    #[test]
    fn an_old_stamp_is_believed_at_once_and_a_young_one_when_it_has_stood_for_a_tick() {
        let old = Seen::new(stamp(0, 100), at(111, 1), None);
        assert!(old.holds(&stamp(0, 100), at(111, 1)) && old.holds(&stamp(0, 100), at(9111, 9001)));
        assert!(!old.holds(&stamp(0, 101), at(112, 2)));
        let mut young = Seen::new(stamp(0, 100), at(101, 1), None);
        for (wall, up, settled) in [(102, 2, false), (103, 3, false), (104, 4, false), (105, 5, true)] {
            young = Seen::new(stamp(0, 100), at(wall, up), Some(&young));
            assert_eq!(young.settled, settled, "{wall}");
        }
        assert!(!young.torn().holds(&stamp(0, 100), at(200, 100)));
        let other = Seen::new(stamp(0, 105), at(106, 6), Some(&young));
        assert!(!other.settled, "another stamp has not stood");
    }

    #[test]
    fn a_server_whose_clock_is_another_hides_nothing_and_costs_two_readings() {
        for skew in [-8, -3, -1, 1, 3, 30, 4000] {
            let changed = stamp(1000 + skew, 1000 + skew);
            // It was changed and read within one tick.
            let first = Seen::new(changed, at(1000, 1), None);
            assert!(!first.holds(&changed, at(1008, 9)), "{skew}");
            let (mut seen, mut readings) = (first, 1);
            for step in 1..1000 {
                let now = at(1000 + 8 * step, 1 + 8 * step as u32);
                if !seen.holds(&changed, now) {
                    (seen, readings) = (Seen::new(changed, now, Some(&seen)), readings + 1);
                }
            }
            // One more when our clock comes to the time that the server's showed.
            assert!(readings <= if skew < 0 { 2 } else { 4 }, "{skew}: {readings}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_believed_until_the_clock_comes_near() {
        // Somebody has set the modification time; or the clock was wrong, and both are in the future.
        for future in [stamp(5000, 100), stamp(5000, 5000)] {
            let first = Seen::new(future, at(200, 100), None);
            assert!(!first.holds(&future, at(208, 108)), "it may be the clock of a server");
            let second = Seen::new(future, at(208, 108), Some(&first));
            assert!(second.holds(&future, at(4997, 4897)));
            assert!(!second.holds(&future, at(4998, 4898)));
            assert!(!second.holds(&future, at(6000, 5900)), "it has come to that time since");
            let third = Seen::new(future, at(6000, 5900), Some(&second));
            assert!(third.holds(&future, at(90_000, 89_900)));
        }
    }

    #[test]
    fn a_clock_that_is_set_is_noticed() {
        let seen = Seen::new(stamp(100, 100), at(120, 20), None);
        assert!(seen.holds(&stamp(100, 100), at(130, 30)));
        // It was set back: 100 is to come again, or came again between the reading and now.
        assert!(!seen.holds(&stamp(100, 100), at(99, 30)));
        assert!(!seen.holds(&stamp(100, 100), at(104, 30)));
        // It was set forward: what was not settled then is not for that.
        let young = Seen::new(stamp(100, 100), at(101, 1), None);
        assert!(!young.holds(&stamp(100, 100), at(5000, 2)));
        assert!(Seen::new(stamp(100, 100), at(5000, 2), Some(&young)).settled, "it is read once more");
    }

    #[test]
    fn mod_time_is_a_fraction_of_seconds() {
        let stamp = Stamp { modified: 1_795_426_503_976_401_600, ..stamp(0, 0) };
        assert_eq!(format!("{:?}", stamp.mod_time()), "1795426503.9764016");
    }
}
