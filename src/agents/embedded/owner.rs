//! The `agent-db` thread: the only one that touches the file. Others hand it work and wait for the result.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::Level;

use super::{Database, reader::Reader, work::Work};
use crate::{
    config::NodeType,
    logging::{Repeats, Scope, error, info, log, scope},
    system::{
        clock::Clock,
        handover::serve,
        shutdown::Shutdown,
        thread::{Group, guard},
    },
};

/// Work that waits for the thread. More callers than this wait for room.
const QUEUE: usize = 64;

/// From one attempt to open the file to the next.
const PAUSE: Duration = Duration::from_secs(5);

/// How often is looked whether the file is still there.
const GLANCE: Duration = Duration::from_secs(1);

/// How long the end waits for a statement that reads to be interrupted.
const END: Duration = Duration::from_secs(5);

/// The ways to the threads; cheap to clone.
#[derive(Clone)]
pub(super) struct Queues {
    /// For what the cluster needs, and what is soon done.
    pub(super) own: Sender<Work<Database>>,
    /// For statements of other programs that write.
    pub(super) others: Sender<Work<Database>>,
    /// For those that only read.
    pub(super) reads: Sender<Work<Reader>>,
}

/// What the `agent-db` thread owns.
pub struct Owner {
    path: PathBuf,
    role: NodeType,
    shared: Option<PathBuf>,
    clock: Clock,
    /// The reason if it is not open.
    database: Result<Database, String>,
    /// When it was tried to open it.
    tried: Option<Instant>,
    /// Of the file that is open, if others can read it too; else 0.
    readable: Arc<AtomicU64>,
    /// Of the file that is open.
    inode: u64,
    looked: Instant,
    scope: Scope,
    told: Repeats,
    work: Receiver<Work<Database>>,
    statements: Receiver<Work<Database>>,
    reading: Receiver<Work<Reader>>,
    order: Shutdown,
}

impl Owner {
    /// The threads that [`Owner::start`] starts.
    pub const THREADS: usize = 2;

    pub(super) fn new(path: PathBuf, role: NodeType, clock: Clock, order: Shutdown) -> (Self, Queues) {
        let ((own, work), (others, statements), (reads, reading)) = (bounded(QUEUE), bounded(QUEUE), bounded(QUEUE));
        let owner = Self {
            path,
            role,
            shared: None,
            clock,
            database: Err("it has not been opened yet".to_owned()),
            tried: None,
            readable: Arc::default(),
            inode: 0,
            looked: Instant::now(),
            scope: scope("Cluster", "Agent database"),
            told: Repeats::default(),
            work,
            statements,
            reading,
            order,
        };
        (owner, Queues { own, others, reads })
    }

    /// Lets it know groups by their folders in `shared`, which is etc/shared, from the instant at which they are made.
    #[must_use]
    pub fn with_folders(self, shared: PathBuf) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Starts the thread, which opens the file, and the one that reads beside it. A file that cannot be opened is told in
    /// the log, and tried again.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self, threads: &Group) -> io::Result<()> {
        let (reader, reading, order) = (
            Reader::new(self.path.clone(), self.readable.clone(), self.order.clone()),
            self.reading.clone(),
            self.order.clone(),
        );
        let (ends, ended) = bounded::<()>(0);
        threads.spawn("agent-db-read", move || {
            reader.run(&reading, &order);
            drop(ends);
        })?;
        threads.spawn("agent-db", move || self.run(&ended))
    }

    fn run(mut self, reader_ended: &Receiver<()>) {
        self.open();
        let (queue, statements, order) = (self.work.clone(), self.statements.clone(), self.order.clone());
        serve(
            &order,
            &queue,
            &statements,
            |work, is_statement| {
                if is_statement { self.statement(work) } else { self.work(work) }
            },
        );
        // The file is one without a log only if nobody else has it open.
        let _ = reader_ended.recv_timeout(END);
        if let Ok(database) = self.database {
            database.close();
        }
    }

    /// Work of another program, which gives way to all other.
    fn statement(&mut self, work: Work<Database>) {
        if let Ok(database) = &self.database {
            database.limit.begin_others();
        }
        self.work(work);
        if let Ok(database) = &self.database {
            database.limit.end_others();
        }
    }

    fn work(&mut self, work: Work<Database>) {
        self.look_at_the_file();
        let database = self.database.as_mut().map_err(|reason| reason.as_str());
        if let Err(panic) = guard(|| work(database)) {
            error!(self.scope, "A request failed: {panic}. Please report this.");
            // What it left half done is not to become part of the next.
            self.close("a request failed");
        }
        self.clear_up();
    }

    /// Does what the caller of the work need not wait for.
    fn clear_up(&mut self) {
        let Ok(database) = &mut self.database else { return };
        if let Err(failure) = database.mark_told() {
            let text = format!("What the master is told of agents cannot be marked, and is sent again: {failure}");
            log!(self.scope, self.told.level(Level::Error, &text, Instant::now()), "{text}");
        }
        if self.work.is_empty() {
            database.tidy();
        }
    }

    fn close(&mut self, reason: &str) {
        self.readable.store(0, Ordering::Release);
        self.database = Err(reason.to_owned());
        self.tried = None;
    }

    /// Opens the file if it is not open, and anew if somebody has put another in its place.
    fn look_at_the_file(&mut self) {
        let now = Instant::now();
        if self.database.is_ok() && now.duration_since(self.looked) >= GLANCE {
            self.looked = now;
            if self.path.metadata().ok().is_none_or(|metadata| metadata.ino() != self.inode) {
                info!(self.scope, "{} was removed or replaced; it is opened anew.", self.path.display());
                self.close("the file was removed");
            } else if self.database.as_ref().is_ok_and(Database::has_new_room) {
                self.close("there is room on its disk again");
            }
        }
        if self.database.is_err() && self.tried.is_none_or(|tried| now.duration_since(tried) >= PAUSE) {
            self.open();
        }
    }

    fn open(&mut self) {
        self.tried = Some(Instant::now());
        self.database = Database::open(&self.path, self.role, self.clock.clone());
        match &mut self.database {
            Ok(database) => {
                database.shared.clone_from(&self.shared);
                let queue = self.work.clone();
                database.limit.ends_with(self.order.clone());
                database.limit.gives_way_if(move || !queue.is_empty());
                self.inode = self.path.metadata().map(|metadata| metadata.ino()).unwrap_or_default();
                self.looked = Instant::now();
                self.readable.store(if database.is_alone() { 0 } else { self.inode }, Ordering::Release);
                self.told.clear();
            }
            Err(reason) => {
                let level = self.told.level(Level::Error, reason, Instant::now());
                log!(self.scope, level, "{reason}.");
            }
        }
    }
}
