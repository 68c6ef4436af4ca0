//! The `agent-db` thread: the only one that touches the file. Others hand it work and wait for the result.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, select, select_biased};
use log::Level;

use super::{
    Answer, Database,
    answer::Failure,
    command::{self, Kind},
    info::LONGEST_OBJECT,
    reader::Reader,
    routes::route,
    server::Serve,
};
use crate::{
    agents::{Backend, Error, Pending, Reply},
    config::NodeType,
    logging::{Repeats, Scope, error, info, log, scope},
    sockets::frame::LONGEST,
    system::{
        clock::Clock,
        shutdown::Shutdown,
        thread::{Group, guard},
    },
};

/// Work that waits for the thread. More callers than this wait for room.
const QUEUE: usize = 64;

/// How long a caller waits until its work begins.
const PATIENCE: Duration = Duration::from_secs(40);

/// From one attempt to open the file to the next.
const PAUSE: Duration = Duration::from_secs(5);

/// How often is looked whether the file is still there.
const GLANCE: Duration = Duration::from_secs(1);

/// How long the end waits for a statement that reads to be interrupted.
const END: Duration = Duration::from_secs(5);

/// Work for the thread that owns a `D`.
pub(super) type Work<D> = Box<dyn FnOnce(Result<&mut D, &str>) + Send>;

/// The handle of the embedded database; cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    /// What the cluster needs, and what is soon done.
    queue: Sender<Work<Database>>,
    /// Statements of other programs that write.
    others: Sender<Work<Database>>,
    /// Those that only read.
    reads: Sender<Work<Reader>>,
    shutdown: Shutdown,
}

impl Embedded {
    /// The handle and the thread's part of the database in this file; nothing is opened yet, and work waits until
    /// [`Owner::start`]. `order` ends it, after those who use it.
    pub fn new(path: PathBuf, role: NodeType, clock: Clock, order: Shutdown) -> (Self, Owner) {
        let (queue, work) = bounded(QUEUE);
        let (others, statements) = bounded(QUEUE);
        let (reads, reading) = bounded(QUEUE);
        let owner = Owner {
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
            order: order.clone(),
        };
        (Self { queue, others, reads, shutdown: order }, owner)
    }

    /// Does `work` with the database, on its thread.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be used, the node stops, or the work was not begun in time; what is begun
    /// is waited for.
    pub fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Database) -> T + Send + 'static) -> Result<T, Error> {
        self.within(PATIENCE, work)
    }

    pub(super) fn within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Database) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.hand(&self.queue, patience, work)
    }

    /// Does what another program asks. What may take long is done beside the work of the cluster, or after it.
    fn ask(&self, request: String) -> Result<Result<Answer, Failure>, Error> {
        let queue = match command::kind(&request) {
            Kind::Short => &self.queue,
            Kind::Rests => &self.others,
            Kind::Sql(statement) => {
                let statement = statement.to_owned();
                match self.hand(&self.reads, PATIENCE, move |reader: &mut Reader| reader.read(&statement))? {
                    Some(answer) => return Ok(answer),
                    None => &self.others,
                }
            }
        };
        self.hand(queue, PATIENCE, move |database| database.try_answer(&request))
    }

    fn hand<D, T: Send + 'static>(
        &self,
        queue: &Sender<Work<D>>,
        patience: Duration,
        work: impl FnOnce(&mut D) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = bounded(1);
        // Either the thread begins the work, or the caller gives it up before: what was given out counts as sent, and
        // there must be somebody to take it.
        let taken = Arc::new(AtomicBool::new(false));
        let begun = taken.clone();
        let work: Work<D> = Box::new(move |database| {
            if begun.swap(true, Ordering::AcqRel) {
                return;
            }
            let result = match database {
                Ok(database) => Ok(work(database)),
                Err(reason) => Err(Error::Unavailable(reason.to_owned())),
            };
            // The caller waits: it has not given up.
            let _ = done.send(result);
        });
        let stops = || Error::Unavailable("this node stops".to_owned());
        let deadline = crossbeam_channel::after(patience);
        let late = || Error::Unavailable(format!("it has not answered for {} s", patience.as_secs_f64()));
        select! {
            send(queue, work) -> sent => sent.map_err(|_| stops())?,
            recv(self.shutdown.channel()) -> _ => return Err(stops()),
            recv(deadline) -> _ => return Err(late()),
        }
        let failed = |_| Error::Unavailable("the work failed; the log tells why".into());
        let given_up = select! {
            recv(result) -> result => return result.map_err(failed)?,
            // Work that came a moment too late stays in the queue of a thread that has ended.
            recv(self.shutdown.channel()) -> _ => stops(),
            recv(deadline) -> _ => late(),
        };
        if taken.swap(true, Ordering::AcqRel) { result.recv().map_err(failed)? } else { Err(given_up) }
    }
}

impl Serve for Embedded {
    fn answer(&self, request: String) -> Answer {
        match self.ask(request) {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => Answer::Err(failure.to_string()),
            Err(_) => Answer::Err("Couldn't open DB global".to_owned()),
        }
    }

    fn route(&self, method: &str, path: &str, body: String) -> (u16, String) {
        let (method, path) = (method.to_owned(), path.to_owned());
        let answer = self.with(move |database| route(database, &method, &path, &body));
        answer.unwrap_or((500, String::new()))
    }
}

impl Backend for Embedded {
    fn query(&self, request: &str) -> Result<Reply, Error> {
        let request = short(request)?;
        reply(self.with(move |database| command::run(database, &request))??)
    }

    fn command(&self, request: &str) -> Result<Reply, Error> {
        reply(self.ask(short(request)?)??)
    }

    fn take_pending(&self) -> Result<Pending, Error> {
        Ok(self.with(|database| database.take_pending(LONGEST_OBJECT))??)
    }

    fn store(&self, object: &str) -> Result<Option<usize>, Error> {
        let object = object.to_owned();
        Ok(Some(self.with(move |database| database.store(&object))??))
    }
}

/// The request, if it is one: read as JSON a longer one would take many times its length.
fn short(request: &str) -> Result<String, Error> {
    if request.len() > LONGEST {
        return Err(Error::Refused(format!("'{request:.32}' has {} bytes; {LONGEST} are the most", request.len())));
    }
    Ok(request.to_owned())
}

fn reply(answer: Answer) -> Result<Reply, Error> {
    match answer {
        Answer::Ok(payload) | Answer::Raw(payload) => Ok(Reply::Ok(payload)),
        Answer::Due(payload) => Ok(Reply::Due(payload)),
        Answer::Err(text) => Err(Error::Refused(text)),
        Answer::Rows(rows) => Ok(Reply::Ok(format!("[{}]", rows.join(",")))),
    }
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
        loop {
            select_biased! {
                recv(order.channel()) -> _ => break,
                recv(queue) -> work => match work {
                    Ok(work) => self.work(work),
                    Err(_) => break,
                },
                recv(statements) -> work => match work {
                    Ok(work) => self.statement(work),
                    Err(_) => break,
                },
            }
        }
        // Who waits already gets a result.
        while let Ok(work) = queue.try_recv() {
            self.work(work);
        }
        while let Ok(work) = statements.try_recv() {
            self.statement(work);
        }
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
