//! What becomes of a log file that is closed: `logs/cluster/2026/Nov/cluster.log-23.gz` (`spec/protocol.md` 15.5), or
//! `cluster.log-23_2.gz` if the day has more than one.
//!
//! ```text
//! logs/cluster.log ──rename──► logs/cluster.log.2026-11-23_2.rotated ──compress──► temporary file ──rename──► archive
//! ```
//! The name of a closed file says what its archive will be called. So whatever a crash leaves is finished by doing all of
//! it again: nothing is lost, and nothing is archived twice.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use nix::{errno::Errno, fcntl::OFlag};
use time::{Date, Month};

use super::room;
use crate::system::{
    disk::Disk,
    user::{Owner, lasting_mode},
};

/// The log's name in its directory.
pub const LOG: &str = "cluster.log";

/// The ending of a closed file that is not archived yet.
const ENDING: &str = ".rotated";

/// Where archives stand, beside the log.
const FOLDER: &str = "cluster";

/// Modes of archives and their directories (`spec/protocol.md` 15.5).
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// Bytes that are compressed between two looks at the order to stop.
const PIECE: usize = 64 * 1024;

/// A log file that is closed: the day of its lines, and its number if the day has more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closed {
    day: Date,
    /// 0 for the one whose archive has no number.
    number: u32,
}

impl Closed {
    /// The next one of `day` in the directory `logs`. Numbers are given from `first` on, and never again.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn next(logs: &Path, day: Date, first: u32) -> io::Result<Self> {
        // In this order: one that is archived in between has its archive before it is gone.
        let closed = Self::all(logs)?;
        let archives = names(&logs.join(folder(day)))?;
        let archived = archives.iter().filter_map(|name| number_of_archive(name, day));
        let closed = closed.iter().filter(|closed| closed.day == day).map(|closed| closed.number);
        let last = archived.chain(closed).max();
        Ok(Self { day, number: last.map_or(first, |last| first.max(last.saturating_add(1))) })
    }

    /// All that wait in `logs` to be archived, the oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn all(logs: &Path) -> io::Result<Vec<Self>> {
        let mut all: Vec<_> = names(logs)?.iter().filter_map(|name| Self::parse(name)).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// Its name in `logs`.
    pub fn name(self) -> String {
        format!("{LOG}.{}{}{ENDING}", self.day, self.suffix())
    }

    /// The path of its archive below `logs`.
    pub fn archive(self) -> PathBuf {
        folder(self.day).join(self.archive_name())
    }

    fn archive_name(self) -> String {
        format!("{LOG}-{:02}{}.gz", self.day.day(), self.suffix())
    }

    fn suffix(self) -> String {
        if self.number == 0 { String::new() } else { format!("_{}", self.number) }
    }

    fn parse(name: &str) -> Option<Self> {
        let text = name.strip_prefix(LOG)?.strip_prefix('.')?.strip_suffix(ENDING)?;
        let (date, number) = text.split_once('_').unwrap_or((text, "0"));
        let mut parts = date.splitn(3, '-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
        let day = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
        let closed = Self { day, number: number.parse().ok()? };
        // Any other spelling is not ours: removing it under the right one would fail.
        (closed.name() == name).then_some(closed)
    }

    /// Archives it and removes it. If it was archived before the last crash, the same archive is made again.
    ///
    /// # Errors
    /// Those of the file system; it is then still there. [`io::ErrorKind::Interrupted`] if `stop` became true.
    pub fn finish(self, disk: &Disk, logs: &Path, owner: Option<Owner>, stop: impl Fn() -> bool) -> io::Result<()> {
        let logs = disk.directory(logs)?;
        let mut source = File::from(disk.look(&logs, self.name().as_str(), OFlag::O_RDONLY | OFlag::O_NOFOLLOW)?);
        let folder = make_folders(disk, &logs, &folder(self.day), owner)?;
        let (archive, temporary) = (self.archive_name(), format!(".{}.tmp", self.archive_name()));
        match disk.remove_file(&folder, &temporary) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let written = write(disk, &folder, &temporary, owner, |file| compress(&mut source, Target(disk, file), stop));
        if let Err(error) = written {
            // What is left of it would only take the room that it lacks.
            let _ = disk.remove_file(&folder, &temporary);
            return Err(error);
        }
        if let Err(error) = disk.rename(&folder, &temporary, &archive) {
            let _ = disk.remove_file(&folder, &temporary);
            return Err(error.into());
        }
        disk.sync(&folder)?;
        disk.remove_file(logs, &self.name())?;
        Ok(())
    }
}

fn folder(day: Date) -> PathBuf {
    let month = day.month().to_string();
    [FOLDER, &day.year().to_string(), &month[..3]].iter().collect()
}

/// The number of the archive `name`, if it is one of this day of the month.
fn number_of_archive(name: &str, day: Date) -> Option<u32> {
    let rest = name.strip_prefix(LOG)?.strip_prefix(&format!("-{:02}", day.day()))?.strip_suffix(".gz")?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('_')?.parse().ok() }
}

/// The names in a directory; none if it is not there.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
}

/// Makes the directories of `path` below `logs` that are missing; gives the last one.
fn make_folders(disk: &Disk, logs: &OwnedFd, path: &Path, owner: Option<Owner>) -> io::Result<OwnedFd> {
    let mut parent = logs.try_clone()?;
    for part in path {
        let name = part.to_string_lossy();
        let made = disk.make_directory(&parent, &name);
        let folder = match made {
            Ok(()) | Err(Errno::EEXIST) => disk.look(&parent, &*name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?,
            Err(error) => return Err(error.into()),
        };
        if made.is_ok() {
            disk.set_mode(&folder, lasting_mode(FOLDER_MODE))?;
            if let Some(owner) = owner {
                disk.set_owner(&folder, (owner.uid, owner.gid))?;
            }
            disk.sync(&parent)?;
        }
        parent = folder;
    }
    Ok(parent)
}

/// Makes a file with what `fill` writes, on the disk for good.
fn write(
    disk: &Disk,
    folder: &OwnedFd,
    name: &str,
    owner: Option<Owner>,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let file = disk.create(folder, name)?;
    disk.set_mode(&file, FILE_MODE)?;
    if let Some(owner) = owner {
        disk.set_owner(&file, (owner.uid, owner.gid))?;
    }
    fill(&file)?;
    Ok(disk.sync(&file)?)
}

fn compress(source: &mut File, target: Target<'_>, stop: impl Fn() -> bool) -> io::Result<()> {
    let mut encoder = GzEncoder::new(target, Compression::default());
    let mut piece = vec![0; PIECE];
    loop {
        let count = match source.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if count == 0 {
            return encoder.finish().map(drop);
        }
        encoder.write_all(&piece[..count])?;
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
}

/// A file that is written through the disk.
struct Target<'a>(&'a Disk, &'a File);

impl Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        room::check(self.1, true)?;
        self.0.write(self.1, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use flate2::read::MultiGzDecoder;

    use super::*;
    use crate::system::disk::faults::{ERRORS, HARMLESS, at_each, crash_at_each};

    fn day(day: u8) -> Date {
        Date::from_calendar_date(2026, Month::November, day).unwrap()
    }

    fn text_of(archive: &Path) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(File::open(archive).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn names_are_those_of_the_original() {
        let closed = Closed { day: day(3), number: 0 };
        assert_eq!(closed.archive().to_str(), Some("cluster/2026/Nov/cluster.log-03.gz"));
        assert_eq!(closed.name(), "cluster.log.2026-11-03.rotated");
        let second = Closed { number: 12, ..closed };
        assert_eq!(second.archive().to_str(), Some("cluster/2026/Nov/cluster.log-03_12.gz"));
        assert_eq!(Closed::parse(&second.name()), Some(second));
        for foreign in
            ["cluster.log.1", "cluster.log.2026-11-3.rotated", "cluster.log.2026-11-31.rotated", "cluster.log"]
        {
            assert_eq!(Closed::parse(foreign), None);
        }
    }

    #[test]
    fn no_number_is_given_twice() {
        let logs = tempfile::tempdir().unwrap();
        let next = |first| Closed::next(logs.path(), day(23), first).unwrap().number;
        assert_eq!((next(0), next(1)), (0, 1));
        fs::create_dir_all(logs.path().join(folder(day(23)))).unwrap();
        for (name, after) in [
            ("cluster/2026/Nov/cluster.log-23.gz", 1),
            ("cluster/2026/Nov/cluster.log-22_9.gz", 1),
            ("cluster.log.2026-11-23_4.rotated", 5),
            ("cluster.log.2026-10-23_8.rotated", 5),
            ("cluster/2026/Nov/cluster.log-23_7.gz", 8),
        ] {
            fs::write(logs.path().join(name), "").unwrap();
            assert_eq!((next(0), next(1)), (after, after), "{name}");
        }
    }

    /// The archive, after all that is left was archived, has all lines once, and nothing else is there.
    fn assert_archived(logs: &Path, closed: Closed, text: &str, context: &str) {
        for left in Closed::all(logs).unwrap() {
            left.finish(&Disk::new(), logs, None, || false).unwrap();
        }
        let archive = logs.join(closed.archive());
        assert_eq!(text_of(&archive), text, "{context}");
        assert_eq!(names(logs).unwrap(), [FOLDER], "{context}");
        assert_eq!(names(archive.parent().unwrap()).unwrap(), [closed.archive_name()], "{context}");
    }

    #[test]
    fn a_crash_at_any_instant_loses_nothing_and_doubles_nothing() {
        let text: String = (0..3_000).map(|n| format!("line {n}\n")).collect();
        let closed = Closed { day: day(23), number: 0 };
        let operations = crash_at_each(|disk, luck, context| {
            let logs = tempfile::tempdir().unwrap();
            fs::write(logs.path().join(closed.name()), &text).unwrap();
            disk.faults.watch(logs.path());
            let outcome = closed.finish(disk, logs.path(), None, || false);
            let archive = logs.path().join(closed.archive());
            if outcome.is_ok() {
                for (path, mode) in [(archive.as_path(), FILE_MODE), (archive.parent().unwrap(), FOLDER_MODE)] {
                    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
                }
            }
            disk.faults.cut_power(luck);
            assert!(!archive.exists() || text_of(&archive) == text, "a half archive: {context}");
            assert_archived(logs.path(), closed, &text, context);
        });
        assert!(operations > 15, "only {operations}");
    }

    #[test]
    fn what_fails_leaves_the_closed_file_and_what_is_harmless_is_not_noticed() {
        let closed = Closed { day: day(23), number: 0 };
        for fault in ERRORS.into_iter().chain(HARMLESS) {
            let mut failed = 0;
            at_each(fault, |disk, context| {
                let logs = tempfile::tempdir().unwrap();
                fs::write(logs.path().join(closed.name()), "line\n").unwrap();
                if closed.finish(disk, logs.path(), None, || false).is_err() {
                    failed += 1;
                    assert_eq!(Closed::all(logs.path()).unwrap(), [closed], "{context}");
                    let folder = names(&logs.path().join(folder(closed.day))).unwrap();
                    assert!(folder.is_empty() || folder == [closed.archive_name()], "{context}: {folder:?}");
                }
                assert_archived(logs.path(), closed, "line\n", context);
            });
            assert_eq!(failed == 0, HARMLESS.contains(&fault), "{fault:?}");
        }
    }

    #[test]
    fn the_order_to_stop_leaves_it_for_the_next_start() {
        let logs = tempfile::tempdir().unwrap();
        let closed = Closed { day: day(23), number: 0 };
        fs::write(logs.path().join(closed.name()), "line\n").unwrap();
        let error = closed.finish(&Disk::new(), logs.path(), None, || true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert!(names(&logs.path().join(folder(day(23)))).unwrap().is_empty());
        assert_eq!(Closed::all(logs.path()).unwrap(), [closed]);
    }
}
