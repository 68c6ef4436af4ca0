//! While nobody waits: the log that SQLite writes ahead of the file is kept short, and memory is given back.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    Database,
    database::{SHORT, shorten},
};
use crate::system::memory;

/// Rows that have changed until the log is worth being written into the file.
const CHANGED: u64 = 1_000;

/// From one attempt to shorten the log to the next: whoever reads may be in its way.
const AGAIN: Duration = Duration::from_secs(1);

/// How long pages of the file stay in memory. Those that are used again come from the kernel, in microseconds; the others
/// would fill this process, in hours or days, up to the bound of the cache.
const PAGES_STAY: Duration = Duration::from_secs(60);

impl Database {
    /// Does what has to be done now and then; for times when nobody waits, because this waits for the disk.
    pub fn tidy(&mut self) {
        let now = Instant::now();
        self.tidy_log(now);
        if now.duration_since(self.emptied) >= PAGES_STAY {
            self.emptied = now;
            // What is being used stays, so nothing fails.
            let _ = self.connection.execute_batch("PRAGMA shrink_memory");
            memory::give_back();
        }
    }

    /// Writes the log into the file if it has become long, and shortens it.
    fn tidy_log(&mut self, now: Instant) {
        let changes = self.connection.total_changes();
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
