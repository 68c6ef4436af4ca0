//! The log file: appends lines, closes it when its day or its size is over, and follows its path when somebody else has
//! moved or removed the file.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use nix::errno::Errno;
use parking_lot::{Mutex, RwLock};
use time::Date;

use super::{
    LogSettings,
    archive::{Closed, LOG},
    archiver::Archiver,
    room,
};
use crate::system::{clock::local_day, disk::Disk, user::Owner, wakeup::Wakeup};

/// Mode of the file (`spec/protocol.md` 15.3).
const MODE: u32 = 0o660;

/// Until what failed is tried again; what was opened before serves meanwhile.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
const ROTATE_AGAIN: Duration = Duration::from_secs(60);

/// The log file; cheap to clone.
#[derive(Clone)]
pub struct LogFile(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    path: PathBuf,
    settings: RwLock<LogSettings>,
    owner: Option<Owner>,
    disk: Disk,
    state: Mutex<LogState>,
    /// Wakes the archiver. Before it is set nothing is rotated: the file may be that of a daemon that runs.
    wakeup: OnceLock<Wakeup>,
}

#[derive(Default)]
struct LogState {
    open: Option<Open>,
    /// Lines that could not be written.
    lost: u64,
    opening: Trouble,
    writing: Trouble,
    rotating: Trouble,
}

struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    /// The local date of its lines.
    day: Date,
    /// Whether it ends with the beginning of a line that could not be written.
    torn: bool,
}

/// Something that fails. It is told once, and again only when it was good in between.
#[derive(Default)]
struct Trouble {
    told: bool,
    again: Option<Instant>,
}

impl LogFile {
    /// The log in the directory `logs`, not opened yet. It is archived at midnight and, if there is a `max_size`, before it
    /// has more bytes than that. `owner` gets the files.
    pub fn new(logs: PathBuf, settings: LogSettings, owner: Option<Owner>) -> Self {
        Self::on(Disk::new(), logs, settings, owner)
    }

    fn on(disk: Disk, logs: PathBuf, settings: LogSettings, owner: Option<Owner>) -> Self {
        let (path, settings, state) = (logs.join(LOG), RwLock::new(settings), Mutex::default());
        Self(Arc::new(Inner { directory: logs, path, settings, owner, disk, state, wakeup: OnceLock::new() }))
    }

    /// How it is written.
    pub fn settings(&self) -> LogSettings {
        *self.0.settings.read()
    }

    /// Has it written in this way from the next line on.
    pub fn change(&self, settings: LogSettings) {
        *self.0.settings.write() = settings;
    }

    /// Opens it, or goes on in a new file at the same path; what could not be archived is tried again.
    ///
    /// # Errors
    /// When it cannot be opened for writing. A log that was open goes on as it was.
    pub fn open(&self) -> io::Result<()> {
        self.0.wake_archiver();
        let (opened, mut state) = (self.0.open(SystemTime::now()), self.0.state.lock());
        match opened {
            Ok(open) => state.set(open),
            Err(error) => {
                // Whoever called tells it.
                let _ = state.opening.met(OPEN_AGAIN, String::new);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Starts to rotate, and archives what an earlier run left. The thread that does it calls `tell` whenever it is woken,
    /// and again after a moment as long as that gives true.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn rotate(&self, tell: impl Fn() -> bool + Send + 'static) -> io::Result<Archiver> {
        let wakeup = Wakeup::default();
        let archiver = Archiver::start(self.0.directory.clone(), self.0.owner, wakeup.clone(), tell)?;
        let _ = self.0.wakeup.set(wakeup);
        Ok(archiver)
    }

    /// Has that thread look at once.
    pub(super) fn wake(&self) {
        self.0.wake_archiver();
    }

    /// Appends a line that is written `now`, by the wall clock; an `urgent` one also when there is little room. Gives what
    /// a person must know, as sentences.
    pub fn append(&self, line: &str, urgent: bool, now: SystemTime) -> Vec<String> {
        let max_size = self.settings().max_size;
        let (log, mut state, mut news) = (&*self.0, self.0.state.lock(), Vec::new());
        // One look at the path answers all: whether it still leads to the open file, and how long that is.
        let about = fs::symlink_metadata(&log.path).ok();
        let length = about.as_ref().map_or(0, Metadata::len);
        if state.open.as_ref().map(|open| open.identity) != about.as_ref().map(identity) || state.open.is_none() {
            state.follow(log, now, &mut news);
        } else if log.wakeup.get().is_some() {
            let full = max_size > 0 && length + line.len() as u64 > max_size;
            news.extend(state.rotate_if_due(log, length == 0, full, now));
        }
        state.write(log, line, urgent, &mut news);
        news
    }
}

impl Inner {
    fn open(&self, now: SystemTime) -> io::Result<Open> {
        let file = self.disk.append(self.disk.directory(&self.directory)?, LOG, MODE)?;
        let about = file.metadata()?;
        if !about.is_file() || about.nlink() != 1 {
            return Err(io::Error::other("it is not a file of its own"));
        }
        // The umask may have taken bits away. A file of somebody else that may be written is as good as it is.
        let _ = self.disk.set_mode(&file, MODE);
        let _ = self.owner.map(|owner| self.disk.set_owner(&file, (owner.uid, owner.gid)));
        let last_line = if about.len() == 0 { now } else { about.modified()? };
        Ok(Open { file, identity: identity(&about), day: local_day(last_line), torn: false })
    }

    fn wake_archiver(&self) {
        // One that is awake already looks once more when it is done.
        let _ = self.wakeup.get().map(Wakeup::wake);
    }

    fn problem(&self, what: &str, error: &io::Error, then: &str) -> String {
        let directory = self.directory.display();
        format!(
            "{} cannot be {what}: {error}. {then}; see whether {directory} may be written and has room.",
            self.path.display()
        )
    }
}

impl LogState {
    fn set(&mut self, open: Open) {
        self.open = Some(open);
        self.opening = Trouble::default();
    }

    /// Opens what is at the path now; somebody else has moved or removed the file.
    fn follow(&mut self, log: &Inner, now: SystemTime, news: &mut Vec<String>) {
        if self.opening.rests() {
            return;
        }
        match log.open(now) {
            Ok(open) => self.set(open),
            Err(error) => {
                let then = match self.open {
                    Some(_) => "The log goes on in the file that was there before",
                    None => "The daemon goes on without it",
                };
                news.extend(self.opening.met(OPEN_AGAIN, || log.problem("opened", &error, then)));
            }
        }
    }

    /// Begins a new file if the day of this one is over or, unless it `is_empty`, it `is_full`; gives what a person must know.
    fn rotate_if_due(&mut self, log: &Inner, is_empty: bool, is_full: bool, now: SystemTime) -> Option<String> {
        let (open, date) = (self.open.as_mut()?, local_day(now));
        if open.day.previous_day().is_some_and(|before| date < before) {
            // The clock was wrong by days and was put right: midnight is to count again.
            open.day = date;
        }
        if is_empty {
            open.day = open.day.max(date);
        }
        // A clock that was set back over midnight is a day behind until it gets there again, and that is no new day.
        if is_empty || !(is_full || date > open.day) || self.rotating.rests() {
            return None;
        }
        match rotate(log, is_full, open, date) {
            Ok(()) => {
                self.rotating = Trouble::default();
                None
            }
            Err(error) => {
                let problem = || log.problem("rotated", &error, "The log goes on in this file");
                self.rotating.met(ROTATE_AGAIN, problem)
            }
        }
    }

    fn write(&mut self, log: &Inner, line: &str, urgent: bool, news: &mut Vec<String>) {
        match self.try_write(&log.disk, line, urgent) {
            // There may still be no room for others; the next of them shows it.
            Ok(()) if urgent => {}
            Ok(()) => {
                self.writing = Trouble::default();
                if self.lost > 0 {
                    news.push(format!("{} lines before this could not be written.", std::mem::take(&mut self.lost)));
                }
            }
            Err(error) => {
                self.lost += 1;
                // Why there is no file was told already.
                if self.open.is_some() {
                    news.extend(self.writing.met(Duration::ZERO, || log.problem("written", &error, "Lines are lost")));
                }
            }
        }
    }

    fn try_write(&mut self, disk: &Disk, line: &str, urgent: bool) -> io::Result<()> {
        let open = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        room::check(&open.file, urgent)?;
        let line = if open.torn { format!("\n{line}") } else { line.to_owned() };
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            rest = &rest[disk.write_some(&open.file, rest)?..];
            open.torn = !rest.is_empty();
        }
        Ok(())
    }
}

/// Closes the file under the name that its archive will have, and goes on in a new one. No line is written meanwhile, so
/// each is in one of the two.
fn rotate(log: &Inner, full: bool, open: &mut Open, date: Date) -> io::Result<()> {
    // As in the stock daemon, the archives of a log that reaches its limit are numbered, and that of midnight alone is
    // not.
    let first = u32::from(full);
    let closed = Closed::next(&log.directory, open.day, first)?.name();
    let directory = log.disk.directory(&log.directory)?;
    match log.disk.rename(&directory, LOG, &closed) {
        // Somebody else has just moved it; the next line follows.
        Err(Errno::ENOENT) => return Ok(()),
        renamed => renamed?,
    }
    match log.open(SystemTime::now()) {
        Ok(new) => *open = Open { day: open.day.max(date), ..new },
        Err(error) => {
            log.disk.rename(&directory, &closed, LOG)?;
            return Err(error);
        }
    }
    log.wake_archiver();
    Ok(())
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

impl Trouble {
    fn rests(&self) -> bool {
        self.again.is_some_and(|again| Instant::now() < again)
    }

    /// It failed, and is not to be tried for the time of `rest`; gives what is to be told.
    fn met(&mut self, rest: Duration, text: impl FnOnce() -> String) -> Option<String> {
        self.again = Some(Instant::now() + rest);
        (!std::mem::replace(&mut self.told, true)).then(text)
    }
}

#[cfg(test)]
mod tests;
