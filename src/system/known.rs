//! A file of which this process knows the content, because it has read or written it.
//!
//! While its stamp tells nothing ([`super::stamp`]), as in the moments after it was written, the content tells: a sum of it
//! is compared. It is a CRC-32, which costs a tenth of what reading does; it is to notice what people do by chance, and
//! whoever may write the file needs no collision.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use flate2::{Crc, CrcReader};

use super::stamp::{Moment, Seen, Stamp};

/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// While a file changes all the time it is not read after each change.
const FRESH: Duration = Duration::from_secs(2);

/// By what the time grows from one reading to the next.
const RARELY: u64 = 16;

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    seen: Seen,
    sum: u32,
    /// Seconds from when it was first seen until it was last read.
    read: u64,
}

impl Known {
    /// Of what `read` reads from the file, to its end.
    ///
    /// # Errors
    /// Those of the file and of `read`.
    pub fn read<T>(file: &File, read: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> io::Result<(Self, T)> {
        // Of before it is read: what is added meanwhile shows in the stamp.
        let now = Moment::now();
        let seen = Seen::new(Stamp::of_file(file)?, now, None);
        let mut reader = CrcReader::new(file);
        let content = read(&mut reader)?;
        Ok((Self { seen, sum: reader.crc().sum(), read: 0 }, content))
    }

    /// Of a file that has this `stamp` since these pieces were written.
    pub fn written<'a>(stamp: Stamp, pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut sum = Crc::new();
        pieces.for_each(|piece| sum.update(piece));
        Self { seen: Seen::new(stamp, Moment::now(), None), sum: sum.sum(), read: 0 }
    }

    /// The stamp that it had.
    pub fn stamp(&self) -> &Stamp {
        self.seen.stamp()
    }

    /// Whether it was read or written less than a tick ago and what stands there has the same `stamp`. What that does not
    /// show yet, whoever looks again finds.
    pub fn is_fresh(&self, stamp: &Stamp) -> bool {
        stamp == self.stamp() && self.seen.age(Moment::now()) <= FRESH
    }

    /// Whether `path` is still this file with this content. It is read only while the stamp does not tell, ever more rarely,
    /// and when it begins to tell.
    ///
    /// # Errors
    /// Those of the file.
    pub fn is_at(&mut self, path: &Path) -> io::Result<bool> {
        let now = Moment::now();
        let stamp = Stamp::of(path)?;
        if self.seen.holds(&stamp, now) {
            return Ok(true);
        }
        if stamp != *self.stamp() {
            return Ok(false);
        }
        let (age, seen) = (self.seen.age(now).as_secs(), Seen::new(stamp, now, Some(&self.seen)));
        if age < RARELY * self.read && !seen.is_settled(now) {
            return Ok(true);
        }
        if sum(path)? != self.sum {
            return Ok(false);
        }
        (self.seen, self.read) = (seen, age);
        Ok(true)
    }

    /// Whether `path` has this content, and is the same file apart from its name.
    pub fn is_renamed_to(&self, path: &Path) -> bool {
        let is_same = |stamp: Stamp| stamp.is_renamed(self.stamp());
        Stamp::of(path).is_ok_and(is_same)
            && (self.seen.is_settled(Moment::now()) || sum(path).is_ok_and(|sum| sum == self.sum))
    }

    /// Whether both are the same file with the same content.
    pub fn is(&self, other: &Self) -> bool {
        self.stamp() == other.stamp() && self.sum == other.sum
    }
}

fn sum(path: &Path) -> io::Result<u32> {
    let mut reader = CrcReader::new(File::open(path)?);
    let mut piece = vec![0; PIECE];
    while reader.read(&mut piece)? > 0 {}
    Ok(reader.crc().sum())
}

#[cfg(test)]
mod tests {
    use std::{fs, rc::Rc};

    use super::*;
    use crate::system::stamp::fake;

    /// Case 6.6, for all who keep a file.
    #[test]
    fn a_change_that_leaves_no_trace_in_the_stamp_is_noticed_and_a_settled_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        fake::on(Rc::new(fake::Coarse::new(60)), || {
            let (mut known, _) =
                Known::read(&File::open(&path).unwrap(), |file| io::copy(file, &mut io::sink())).unwrap();
            assert!(known.is_at(&path).unwrap());
            fs::write(&path, "two").unwrap();
            assert_eq!(Stamp::of(&path).unwrap(), *known.stamp(), "nothing shows it");
            assert!(!known.is_at(&path).unwrap() && !known.is_renamed_to(&path));
            known = Known::written(Stamp::of(&path).unwrap(), [&b"t"[..], b"wo"].into_iter());
            assert!(known.is_at(&path).unwrap() && known.is_renamed_to(&path));
        });
        let mut known = Known::written(Stamp::of(&path).unwrap(), [&b"two"[..]].into_iter());
        let mut at = |seconds| fake::on(Rc::new(fake::Later(seconds)), || known.is_at(&path));
        assert!(at(20).unwrap());
        known.sum = 0;
        let mut at = |seconds| fake::on(Rc::new(fake::Later(seconds)), || known.is_at(&path));
        assert!(at(21).unwrap(), "it is not read");
        fs::remove_file(&path).unwrap();
        assert!(at(22).is_err());
    }

    #[test]
    fn a_young_file_is_read_ever_more_rarely() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let start = Known::written(Stamp::of(&path).unwrap(), [&b"one"[..]].into_iter());
        let reads = |ages: std::ops::Range<u32>| {
            let mut known = start;
            let mut is_read = |age| {
                let (before, sum) = (known, std::mem::take(&mut known.sum));
                let is_read = !fake::on(Rc::new(fake::Later(age)), || known.is_at(&path)).unwrap();
                known = before;
                known.sum = sum;
                fake::on(Rc::new(fake::Later(age)), || known.is_at(&path)).unwrap();
                is_read
            };
            ages.filter(|age| is_read(*age)).count()
        };
        assert!((1..=3).contains(&reads(0..10)), "{}", reads(0..10));
        assert_eq!(reads(20..30), 1, "then the stamp tells");
    }
}
