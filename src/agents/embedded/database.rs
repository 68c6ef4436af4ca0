//! The open file.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant, UNIX_EPOCH},
};

use log::Level;
use rusqlite::{
    Connection, OpenFlags,
    hooks::{Action, AuthContext, Authorization},
    limits::Limit,
};

use super::{
    Answer,
    access::only_rows,
    answer::Failure,
    changes::Changes,
    command,
    fault::{blames_the_request, unusable},
    limit::TimeLimit,
    schema,
};
use crate::{
    config::NodeType,
    logging::Repeats,
    system::{clock::Clock, random},
};

/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(2);

/// Steps of SQLite's machine from one look at the time limit to the next: about a millisecond.
const STEPS: i32 = 100_000;

/// Statements that stay prepared.
const STATEMENTS: usize = 128;

/// KiB of pages that are kept in memory: changes of a thousand agents in a hundred thousand fit.
const CACHE: i64 = 8 * 1024;

/// Rows that have changed until the log is worth being written into the file.
const CHANGED: u64 = 1_000;

/// Pages of the log from which on that is not put off any more.
const LOG: i64 = 10_000;

/// Bytes of the longest text. A statement of another program is not to take the memory of this one.
const LONGEST: i32 = 4 * 1024 * 1024;

/// Mode of the file.
const MODE: u32 = 0o640;

/// The agent database of this node. One thread owns it.
pub struct Database {
    pub(super) connection: Connection,
    /// Whose file it is: a worker takes names from the master, and only a master tells others of groups.
    pub(super) role: NodeType,
    /// For what must go to the master.
    pub(super) info: Changes,
    /// Agents that were given out for the master and are not marked so yet.
    pub(super) told: RefCell<Vec<i64>>,
    /// For assignments to groups that workers do not know yet.
    pub(super) assignments: Changes,
    /// For agents that connect for the first time.
    pub(super) connected: Changes,
    /// How the master called agents whose rows have another name, when it assigned them to groups.
    pub(super) named: RefCell<BTreeMap<i64, String>>,
    /// The hash of all assignments, while nothing has changed them.
    pub(super) group_hash: RefCell<Option<Option<String>>>,
    /// For statements of other programs.
    pub(super) limit: TimeLimit,
    /// Another one each time that a file is opened: what was known of the one before is not known of this.
    pub(super) instance: u32,
    clock: Clock,
    complaints: Repeats,
    /// Changes of rows that are in the file, as SQLite counts them.
    tidied: u64,
}

impl Database {
    /// Opens the file, or creates it with mode 0640.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do.
    pub fn open(path: &Path, role: NodeType, clock: Clock) -> Result<Self, String> {
        let shown = path.display();
        create(path).map_err(|error| {
            format!("{shown} cannot be opened for writing: {error}. Its folder must be there and belong to this daemon's user")
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| unusable(path, &error))?;
        let mut database = Self {
            connection,
            role,
            info: Changes::default(),
            told: RefCell::default(),
            assignments: Changes::default(),
            connected: Changes::default(),
            named: RefCell::default(),
            group_hash: RefCell::default(),
            limit: TimeLimit::default(),
            instance: random::number(),
            clock,
            complaints: Repeats::default(),
            tidied: 0,
        };
        database.prepare().map_err(|error| unusable(path, &error))?;
        let version: Option<String> = database
            .connection
            .query_row("SELECT value FROM metadata WHERE key = 'db_version'", [], |row| row.get(0))
            .map_err(|error| unusable(path, &error))?;
        if version.as_deref() != Some(schema::VERSION) {
            return Err(format!(
                "{shown} has the schema version {}, this daemon knows {} only. Let the manager of 4.13 or later upgrade \
                 it, or move it away: a new one is then made",
                version.as_deref().unwrap_or("none"),
                schema::VERSION
            ));
        }
        database.connection.authorizer(Some(only_rows)).map_err(|error| unusable(path, &error))?;
        Ok(database)
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        let now = self.now();
        let connection = &mut self.connection;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "foreign_keys", true)?;
        // One command is one transaction: without a log that is written ahead, each would wait for the disk.
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST)?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        if tables == 0 {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute_batch(schema::TABLES)?;
            transaction.execute(schema::MANAGER, [now])?;
            transaction.commit()?;
        }
        let limit = self.limit.clone();
        connection.progress_handler(STEPS, Some(move || limit.passed()))?;
        let lists = [self.info.clone(), self.assignments.clone(), self.connected.clone()];
        connection.update_hook(Some(move |action: Action, _: &str, table: &str, row: i64| {
            if table == "agent" && action != Action::SQLITE_DELETE {
                lists.iter().for_each(|list| list.note(row));
            }
        }))
    }

    /// Unix time in seconds.
    pub(super) fn now(&self) -> i64 {
        self.clock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
    }

    /// Does what a request of another program says.
    pub fn answer(&mut self, request: &str) -> Answer {
        command::run(self, request).unwrap_or_else(|failure| {
            self.complain(&failure);
            Answer::Err(failure.to_string())
        })
    }

    /// Tells the log what a person must see to: the program that asked can do nothing about a full disk.
    fn complain(&self, failure: &Failure) {
        if let Failure::Sql(error) = failure
            && !blames_the_request(error)
        {
            let text = unusable(Path::new(self.connection.path().unwrap_or_default()), error);
            let level = self.complaints.level(Level::Error, &text, Instant::now());
            log::log!(target: "[Cluster] [Agent database]", level, "{text}.");
        }
    }

    /// Does `work` in one transaction. What it did stays even if it fails halfway, as in the original; what it is not to
    /// leave halfway it does in savepoints of its own.
    pub(super) fn transaction<T>(&self, work: impl FnOnce(&Self) -> Result<T, Failure>) -> Result<T, Failure> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let result = work(self);
        self.end(result)
    }

    /// Does all of `work` or nothing: what is given out and marked as sent must not be lost with an error.
    pub(super) fn whole<T>(&self, work: impl FnOnce(&Self) -> Result<T, Failure>) -> Result<T, Failure> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        match work(self) {
            Err(failure) => {
                self.roll_back();
                Err(failure)
            }
            done => self.end(done),
        }
    }

    fn end<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        // Some failures, such as a full disk, have ended the transaction already.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("COMMIT")
        {
            self.roll_back();
            return result.and(Err(error.into()));
        }
        result
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // It fails only if there is nothing to roll back.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.forget();
    }

    /// What is known beside the file may be wrong from now on.
    fn forget(&self) {
        self.group_hash.take();
        [&self.info, &self.assignments, &self.connected].into_iter().for_each(Changes::reset);
    }

    /// Writes the log into the file, if it has become long; for times when nobody waits, because this waits for the disk.
    pub fn tidy(&mut self) {
        let changes = self.connection.total_changes();
        if changes - self.tidied >= CHANGED {
            self.tidied = changes;
            // If it fails, the log goes on, and the next time it may succeed.
            let _ = self.connection.query_row("PRAGMA wal_checkpoint", [], |_| Ok(()));
        }
    }

    /// Closes the file and leaves it as one file without a log beside it, which the original's daemon can take over.
    pub fn close(mut self) {
        self.connection.flush_prepared_statement_cache();
        // This is not a statement of another program. If it fails, what is in the log is read at the next start.
        let _ = self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>);
        let _ = self.connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()));
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path).map(drop)
}
