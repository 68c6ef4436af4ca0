//! `logs/cluster.log`, in the form that log readers know (`spec/protocol.md` 15.5):
//!
//! ```text
//! 2026/11/23 10:29:25 INFO: [Worker w1] [Integrity check] Starting.
//! ```
//! The two tags travel as the target of a record: `info!(target: &scope, …)` with a [`Scope`] made once by each task.

mod flood;

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use simplelog::{CombinedLogger, Config, SharedLogger};

use crate::system::clock::log_time;
use flood::{Flood, Verdict};

/// The longest line, in bytes: texts of peers may be of any length.
const LONGEST: usize = 8 * 1024;

/// Mode of the file (`spec/protocol.md` 15.3).
const MODE: u32 = 0o660;

/// Who speaks, `[Worker w1] [Integrity check]`.
pub type Scope = Arc<str>;

/// The scope of a tag and a subtag.
pub fn scope(tag: &str, subtag: &str) -> Scope {
    format!("[{tag}] [{subtag}]").into()
}

/// How often a fact that stays the same is told again.
const REMINDER: Duration = Duration::from_secs(600);

/// Facts that are remembered, the newest.
const FACTS: usize = 64;

/// Bytes of a fact that are remembered: the texts of peers may be of any length.
const FACT: usize = 1024;

/// What was told lately: the same again is for debugging only, until ten minutes have passed. A peer that is refused
/// every few seconds must not fill the log.
#[derive(Default)]
pub struct Repeats(Mutex<VecDeque<(String, Instant)>>);

impl Repeats {
    /// The level at which a fact is to be told: `level` if it is new or was told long ago. `fact` is what makes it the
    /// same: it leaves out what changes from time to time, such as a port.
    pub fn level(&self, level: Level, fact: &str, now: Instant) -> Level {
        let fact = &fact[..fact.floor_char_boundary(FACT)];
        let mut told = self.0.lock();
        told.retain(|(_, when)| now.saturating_duration_since(*when) < REMINDER);
        if told.iter().any(|(known, _)| known == fact) {
            return Level::Debug;
        }
        if told.len() == FACTS {
            told.pop_front();
        }
        told.push_back((fact.to_owned(), now));
        level
    }

    /// Forgets everything: what happens now is new.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

/// The log file, for opening it again after somebody else has moved it.
#[derive(Clone)]
pub struct LogFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    /// Opens or creates the file with mode 0660.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = Mutex::new(open(&path)?);
        Ok(Self(Arc::new(Inner { path, file })))
    }

    /// Gives the open file, whatever its path leads to by now, to this user and group.
    ///
    /// # Errors
    /// When this process may not.
    pub fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        std::os::unix::fs::fchown(&*self.0.file.lock(), Some(uid), Some(gid))
    }

    /// Goes on in a new file at the same path.
    ///
    /// # Errors
    /// When it cannot be opened; the log then goes on in the old one.
    pub fn reopen(&self) -> io::Result<()> {
        let new = open(&self.0.path)?;
        *self.0.file.lock() = new;
        Ok(())
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.nlink() != 1 {
        return Err(io::Error::other("it is not a file of its own"));
    }
    // The umask may have taken bits away. A file of somebody else that may be written is as good as it is.
    let _ = file.set_permissions(Permissions::from_mode(MODE));
    Ok(file)
}

/// What the debug level of the internal options shows: 0, 1 or 2.
pub fn level(debug: u8) -> LevelFilter {
    match debug {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// Makes `file`, and standard error if wanted, the log of the process.
pub fn install(file: LogFile, level: LevelFilter, stderr: bool) {
    let sink = |to| Box::new(Sink { level, to, flood: Mutex::default() });
    let mut sinks: Vec<Box<dyn SharedLogger>> = vec![sink(To::File(file))];
    if stderr {
        sinks.push(sink(To::Stderr));
    }
    // It fails only if a log was installed before, which a test may have done.
    let _ = CombinedLogger::init(sinks);
}

struct Sink {
    level: LevelFilter,
    to: To,
    flood: Mutex<Flood>,
}

enum To {
    File(LogFile),
    Stderr,
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut dropped = 0;
        if record.level() <= Level::Warn {
            match self.flood.lock().judge(record.target(), Instant::now()) {
                Verdict::Drop => return,
                Verdict::Write { dropped: before } => dropped = before,
            }
        }
        let mut line = line(record, SystemTime::now());
        if dropped > 0 {
            let text = format_args!("{dropped} warnings and errors like the next were left out.");
            let told = Record::builder().level(record.level()).target(record.target()).args(text).build();
            line.insert_str(0, &self::line(&told, SystemTime::now()));
        }
        // A log that cannot be written has nowhere to say so.
        let _ = match &self.to {
            To::File(file) => file.0.file.lock().write_all(line.as_bytes()),
            To::Stderr => io::stderr().lock().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

impl SharedLogger for Sink {
    fn level(&self) -> LevelFilter {
        self.level
    }

    fn config(&self) -> Option<&Config> {
        None
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}

/// One line, whatever the message contains: a peer must not be able to write lines of its own into the log.
fn line(record: &Record<'_>, now: SystemTime) -> String {
    let level = match record.level() {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "DEBUG2",
    };
    // A record of another crate has its module path for a target.
    let target = if record.target().starts_with('[') { record.target() } else { "[Cluster] [Main]" };
    let mut line = format!("{} {level}: {target} {}", log_time(now), record.args());
    if line.chars().any(char::is_control) {
        line = line.split_inclusive(char::is_control).map(show_control).collect();
    }
    if line.len() > LONGEST {
        let cut = line.len() - LONGEST;
        line.truncate(line.floor_char_boundary(LONGEST));
        line.push_str(&format!("… ({cut} more bytes)"));
    }
    line.push('\n');
    line
}

/// `part`, with a control character at its end replaced by its escape.
fn show_control(part: &str) -> String {
    match part.chars().next_back() {
        Some(last) if last.is_control() => {
            format!("{}{}", &part[..part.len() - last.len_utf8()], last.escape_default())
        }
        _ => part.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_told_once_and_again_after_a_while() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let level =
            |fact: &str, minutes: u64| repeats.level(Level::Error, fact, now + Duration::from_secs(60 * minutes));
        assert_eq!(level("a", 0), Level::Error);
        assert_eq!(level("a", 1), Level::Debug);
        assert_eq!(level("b", 1), Level::Error);
        assert_eq!(level("a", 9), Level::Debug);
        assert_eq!(level("a", 10), Level::Error);
        for fact in 0..1000 {
            assert_eq!(level(&fact.to_string(), 11), Level::Error);
        }
        assert_eq!(repeats.0.lock().len(), FACTS);
    }

    #[test]
    fn a_message_is_one_line_whatever_it_contains() {
        let make = |text: &str| {
            let target = scope("Worker w1", "Integrity check");
            let args = format_args!("{text}");
            line(&Record::builder().level(Level::Warn).target(&target).args(args).build(), SystemTime::now())
        };
        assert!(make("Grüße.").ends_with(" WARNING: [Worker w1] [Integrity check] Grüße.\n"));
        let forged = make("x\n2026/11/23 10:29:25 ERROR: [Master] [Main] forged\x1b[2J");
        assert_eq!(forged.matches('\n').count(), 1);
        assert!(forged.contains(r"\u{1b}"));
    }

    #[test]
    fn after_reopen_the_log_goes_on_at_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cluster.log");
        let file = LogFile::open(path.clone()).unwrap();
        std::fs::rename(&path, directory.path().join("old.log")).unwrap();
        file.reopen().unwrap();
        file.0.file.lock().write_all(b"line\n").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "line\n");
    }
}
