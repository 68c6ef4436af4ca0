//! `logs/cluster.log`, in the form that log readers know (`spec/protocol.md` 15.5):
//!
//! ```text
//! 2026/11/23 10:29:25 INFO: [Worker w1] [Integrity check] Starting.
//! ```
//! or as one JSON object on each line, and its archives.

mod archive;
mod archiver;
mod file;
mod flood;
mod line;
mod repeats;
mod room;
mod scope;
mod settings;

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Instant, SystemTime},
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use simplelog::{CombinedLogger, Config, SharedLogger};

use crate::system::service_manager;
pub use archiver::Archiver;
pub use file::LogFile;
use flood::{Flood, LeftOut, Verdict};
use line::line;
pub use repeats::Repeats;
pub use scope::{Scope, scope};
pub(crate) use scope::{debug, error, info, log, warn};
pub use settings::{LogFormat, LogSettings};

/// Who speaks of the process.
const MAIN: &str = "[Cluster] [Main]";

/// Shows what belongs to this debug level of the internal options, 0, 1 or 2, from now on.
pub fn set_level(debug: u8) {
    log::set_max_level(match debug {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
}

/// Makes `file`, and standard error if wanted, the log of the process, with this debug level.
pub fn install(file: LogFile, debug: u8, stderr: bool) -> Output {
    let journal = stderr && service_manager::stderr_is_journal();
    let output = Output(Arc::new(Shared { file, stderr, journal, flood: Mutex::new(Flood::new(Instant::now())) }));
    // It fails only if a log was installed before, which a test may have done.
    let _ = CombinedLogger::init(vec![Box::new(output.clone())]);
    set_level(debug);
    output
}

/// The log of the process; cheap to clone.
#[derive(Clone)]
pub struct Output(Arc<Shared>);

struct Shared {
    file: LogFile,
    stderr: bool,
    /// Standard error is the journal: each line begins with its priority.
    journal: bool,
    flood: Mutex<Flood>,
}

impl Output {
    /// Its file.
    pub fn file(&self) -> &LogFile {
        &self.0.file
    }

    /// Starts the thread that rotates the file, archives what an earlier run left, and tells how many lines were left out
    /// of a kind that is quiet. Only the daemon that has locked the home may do this.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(&self) -> io::Result<Archiver> {
        let output = self.clone();
        self.file().rotate(move || output.tell_left_out(false))
    }

    /// Tells what was left out of the kinds that have been quiet for a while, or of all at the `end`; whether there is more
    /// to tell later.
    fn tell_left_out(&self, end: bool) -> bool {
        let (told, more) = self.0.flood.lock().left_out(Instant::now(), end);
        let (now, format) = (SystemTime::now(), self.file().settings().format);
        for LeftOut { level, scope, lines } in told {
            let text = format_args!("{lines} lines like the last ones were left out, because there were too many.");
            self.write(
                level,
                &line(format, &Record::builder().level(level).target(&scope).args(text).build(), now),
                now,
            );
        }
        more
    }

    fn write(&self, level: Level, text: &str, now: SystemTime) {
        let news = self.file().append(text, level <= Level::Warn, now);
        if self.0.stderr {
            let priority = if self.0.journal { priority(level) } else { "" };
            let lines: String = text.split_inclusive('\n').flat_map(|line| [priority, line]).collect();
            // There is nowhere to say that this cannot be written.
            let _ = io::stderr().lock().write_all(lines.as_bytes());
        }
        // This comes back at most once for each kind of trouble, because each is told once.
        news.iter().for_each(|news| error!(MAIN, "{news}"));
    }
}

/// What the journal takes for the priority of a line (`sd-daemon(3)`).
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

impl Log for Output {
    /// What is not to be shown does not come here ([`set_level`]).
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let now = SystemTime::now();
        let format = self.file().settings().format;
        let mut text = line(format, record, now);
        let verdict = self.0.flood.lock().judge(record.level(), record.target(), text.len(), Instant::now());
        match verdict {
            Verdict::Drop { first: false } => return,
            Verdict::Drop { first: true } => return self.file().wake(),
            Verdict::Write { dropped: 0 } => {}
            Verdict::Write { dropped } => {
                let told = format_args!("{dropped} lines like the next were left out, because there were too many.");
                let told = Record::builder().level(record.level()).target(record.target()).args(told).build();
                text.insert_str(0, &line(format, &told, now));
            }
        }
        self.write(record.level(), &text, now);
    }

    /// The end of the process: what was left out is told now.
    fn flush(&self) {
        self.tell_left_out(true);
    }
}

impl SharedLogger for Output {
    fn level(&self) -> LevelFilter {
        LevelFilter::Trace
    }

    fn config(&self) -> Option<&Config> {
        None
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}
