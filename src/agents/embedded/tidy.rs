//! The log that SQLite writes ahead of the file is kept short while nobody waits.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    Database,
    database::{SHORT, shorten},
};

/// Rows that have changed until the log is worth being written into the file.
const CHANGED: u64 = 1_000;

/// From one attempt to shorten the log to the next: whoever reads may be in its way.
const AGAIN: Duration = Duration::from_secs(1);

impl Database {
    /// Writes the log into the file if it has become long, and shortens it; for times when nobody waits, because this
    /// waits for the disk.
    pub fn tidy(&mut self) {
        let (changes, now) = (self.connection.total_changes(), Instant::now());
        let is_long = self.log() > SHORT && self.shortened.is_none_or(|before| now.duration_since(before) >= AGAIN);
        if changes - self.tidied < CHANGED && !is_long {
            return;
        }
        self.tidied = changes;
        // If it fails, the log goes on, and the next time it may succeed.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint", [], |_| Ok(()));
        if is_long {
            self.shortened = Some(now);
            let _ = self.as_own(shorten);
        }
    }

    /// The bytes of the log.
    fn log(&self) -> u64 {
        let mut path = self.path().as_os_str().to_owned();
        path.push("-wal");
        fs::metadata(path).map_or(0, |about| about.len())
    }
}
