//! The open file.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};
use rusqlite::{
    Connection, OpenFlags,
    hooks::{Action, AuthContext, Authorization},
    limits::Limit,
};

use super::{
    access::only_rows,
    answer::Failure,
    changes::Changes,
    fault::{may_be_full, unusable},
    limit::TimeLimit,
    schema,
};
use crate::{
    config::NodeType,
    logging::Repeats,
    system::{clock::Clock, disk::Disk, random, user::lasting_mode},
};

/// How long another process may hold the file.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// Steps of SQLite's machine from one look at the time limit to the next: about a millisecond.
pub(super) const STEPS: i32 = 100_000;

/// Statements that stay prepared.
const STATEMENTS: usize = 128;

/// KiB of pages that are kept in memory: changes of a thousand agents in a hundred thousand fit.
const CACHE: i64 = 8 * 1024;

/// Pages of the log from which on that is not put off any more.
const PAGES: i64 = 10_000;

/// Bytes of a log that may stay beside the file when nobody waits. A short one is written over, which is faster than
/// beginning a new one.
pub(super) const SHORT: u64 = 4 * 1024 * 1024;

/// Bytes of the longest text. A statement of another program is not to take the memory of this one.
pub(super) const LONGEST: i32 = 4 * 1024 * 1024;

/// Mode of the file.
const MODE: u32 = 0o640;

/// The agent database of this node. One thread owns it.
pub struct Database {
    pub(super) connection: Connection,
    /// Whose file it is: a worker takes names from the master, and only a master tells others of groups.
    pub(super) role: NodeType,
    /// The folder of the groups' folders, for groups that have no row yet.
    pub(super) shared: Option<PathBuf>,
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
    /// Whether rows were made for agents whose keys have not come, since housekeeping asked last.
    pub(super) ahead: Cell<bool>,
    /// The hash of all assignments, while nothing has changed them.
    pub(super) group_hash: RefCell<Option<Option<String>>>,
    /// For statements of other programs.
    pub(super) limit: TimeLimit,
    /// Another one each time that a file is opened: what was known of the one before is not known of this.
    pub(super) instance: u32,
    clock: Clock,
    pub(super) complaints: Repeats,
    /// Whether the statement that is prepared is this daemon's, and may do anything.
    is_own: Arc<AtomicBool>,
    /// Whether it was opened on a full disk.
    pub(super) is_alone: bool,
    /// Changes of rows that are in the file, as SQLite counts them.
    pub(super) tidied: u64,
    /// When it was last tried to shorten the log.
    pub(super) shortened: Option<Instant>,
    /// When pages of the file were last given back to the kernel.
    pub(super) emptied: Instant,
}

impl Database {
    /// Opens the file, or creates it with mode 0640. On a full disk, one that is there can be read, and what has to be
    /// written fails until there is room and it is opened again (`has_new_room`).
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do.
    pub fn open(path: &Path, role: NodeType, clock: Clock) -> Result<Self, String> {
        let shown = path.display();
        create(path).map_err(|error| {
            format!("{shown} cannot be opened for writing: {error}. Its directory must exist and belong to this daemon's user")
        })?;
        let connect = |is_alone| Self::connect(path, role, &clock, is_alone);
        let database = connect(false).or_else(|error| {
            if !may_be_full(&error) {
                return Err(error);
            }
            // What a statement that never came to its end has left in the log is given back, and that may be enough.
            drop(connect(true).map_err(|_| error)?);
            connect(false).or_else(|_| connect(true))
        });
        let mut database = database.map_err(|error| unusable(path, &error))?;
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
        let is_own = database.is_own.clone();
        let access = move |context: AuthContext<'_>| {
            if is_own.load(Ordering::Relaxed) { Authorization::Allow } else { only_rows(context) }
        };
        database.connection.authorizer(Some(access)).map_err(|error| unusable(path, &error))?;
        Ok(database)
    }

    /// Alone, it needs no file beside the log, for which a full disk has no room; nobody else can read then.
    fn connect(path: &Path, role: NodeType, clock: &Clock, is_alone: bool) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut database = Self {
            connection: Connection::open_with_flags(path, flags)?,
            role,
            shared: None,
            info: Changes::default(),
            told: RefCell::default(),
            assignments: Changes::default(),
            connected: Changes::default(),
            named: RefCell::default(),
            ahead: Cell::default(),
            group_hash: RefCell::default(),
            limit: TimeLimit::default(),
            instance: random::number(),
            clock: clock.clone(),
            complaints: Repeats::default(),
            is_own: Arc::default(),
            is_alone,
            tidied: 0,
            shortened: None,
            emptied: Instant::now(),
        };
        database.prepare()?;
        Ok(database)
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        let now = self.now();
        let connection = &mut self.connection;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "foreign_keys", true)?;
        if self.is_alone {
            connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        }
        // One command is one transaction: without a log that is written ahead, each would wait for the disk.
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(error) if self.is_alone && may_be_full(&error) => (),
            done => done?,
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        connection.pragma_update(None, "wal_autocheckpoint", PAGES)?;
        connection.pragma_update_and_check(None, "journal_size_limit", SHORT as i64, |_| Ok(()))?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST)?;
        if self.is_alone {
            // If it fails, all is still there to be read.
            let _ = shorten(connection);
        }
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

    /// Whether it was opened on a full disk, where nobody else can read it.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Does what statements of other programs may not.
    pub(super) fn as_own<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        self.is_own.store(true, Ordering::Relaxed);
        let done = work(&self.connection);
        self.is_own.store(false, Ordering::Relaxed);
        done
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(self.connection.path().unwrap_or_default())
    }

    /// Unix time in seconds.
    pub(super) fn now(&self) -> i64 {
        self.clock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
    }

    /// Does `work` in one transaction. What it did stays even if it fails halfway, as in the stock daemon; what it is
    /// not to leave halfway it does in savepoints of its own.
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

    /// Closes the file and leaves it as one file without a log beside it, which the stock daemon can take over.
    pub fn close(self) {
        self.connection.flush_prepared_statement_cache();
        // This is not a statement of another program. If it fails, what is in the log is read at the next start.
        let leave =
            |connection: &Connection| connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()));
        let _ = self.as_own(leave);
    }
}

/// Creates the file if it is not there. One that is there is not opened: closing it would take the locks of a connection
/// of this process.
fn create(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => Err(Errno::ELOOP.into()),
        Ok(_) => Ok(access(path, AccessFlags::R_OK | AccessFlags::W_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let disk = Disk::new();
            let (directory, name) = disk.place(path)?;
            Ok(disk.set_mode(disk.create(directory, name)?, lasting_mode(MODE))?)
        }
        Err(error) => Err(error),
    }
}

/// Writes the log into the file and makes it empty, unless somebody is in the way.
pub(super) fn shorten(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(BUSY)?;
    done
}
