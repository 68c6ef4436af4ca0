//! The `agent-db-read` thread: statements of other programs that only read, beside the work of the `agent-db` thread,
//! which they neither wait for nor hold up.
//!
//! The log that is written ahead makes that possible: who reads sees the rows as they were when his statement began. The
//! connection is there while it is used: it takes some hundred KiB.

use std::{
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, after, never, select};
use rusqlite::{Connection, OpenFlags, limits::Limit};

use super::{
    Answer,
    access::only_rows,
    answer::Failure,
    database::{BUSY, LONGEST, STEPS},
    limit::TimeLimit,
    sql,
    work::Work,
};
use crate::{
    logging::error,
    system::{memory, shutdown::Shutdown, thread::guard},
};

/// KiB of pages that are kept in memory.
const CACHE: i64 = 1024;

/// How long the connection stays open without a statement.
const IDLE: Duration = Duration::from_secs(30);

/// After a statement that took so long, what it kept from being written into the file is.
const LONG: Duration = Duration::from_millis(500);

/// What the thread owns.
pub(super) struct Reader {
    path: PathBuf,
    /// The inode of the file that the owner has made ready; 0 if it has none that can be read here.
    readable: Arc<AtomicU64>,
    /// With the inode of its file.
    open: Option<(Connection, u64)>,
    limit: TimeLimit,
}

impl Reader {
    pub(super) fn new(path: PathBuf, readable: Arc<AtomicU64>, order: Shutdown) -> Self {
        let limit = TimeLimit::default();
        limit.ends_with(order);
        Self { path, readable, open: None, limit }
    }

    /// The thread: runs until the order to stop, and has closed the file when it ends.
    pub(super) fn run(mut self, work: &Receiver<Work<Self>>, order: &Shutdown) {
        loop {
            let idle = if self.open.is_some() { after(IDLE) } else { never() };
            select! {
                recv(work) -> work => match work {
                    Ok(work) => self.work(work),
                    Err(_) => return,
                },
                recv(idle) -> _ => {
                    self.open = None;
                    memory::give_back();
                },
                recv(order.channel()) -> _ => return,
            }
        }
    }

    fn work(&mut self, work: Work<Self>) {
        if let Err(panic) = guard(|| work(Ok(self))) {
            error!("[Cluster] [Agent database]", "A request failed: {panic}. Please report this.");
            self.open = None;
        }
    }

    /// Does a statement; none if it is for the other thread: it writes, or nothing can be read here now.
    pub(super) fn read(&mut self, statement: &str) -> Option<Result<Answer, Failure>> {
        let inode = self.path.metadata().ok()?.ino();
        if inode != self.readable.load(Ordering::Acquire) {
            self.open = None;
            return None;
        }
        if self.open.as_ref().is_none_or(|(_, of)| *of != inode) {
            self.open = None;
            self.open = Some((self.connect().ok()?, inode));
        }
        let (connection, _) = self.open.as_ref()?;
        let begun = Instant::now();
        let answer = sql::read(connection, &self.limit, statement);
        if begun.elapsed() >= LONG {
            // One long statement after the other would let the log grow for ever. If it fails, the next may succeed.
            let _ = connection.query_row("PRAGMA wal_checkpoint", [], |_| Ok(()));
        }
        answer
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(0);
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST)?;
        let limit = self.limit.clone();
        connection.progress_handler(STEPS, Some(move || limit.passed()))?;
        connection.authorizer(Some(only_rows))?;
        Ok(connection)
    }
}
