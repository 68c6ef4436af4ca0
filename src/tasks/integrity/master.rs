//! The master's half: grants checks, compares, and sends what differs.
//!
//! Each connected worker has one [`Integrity`]. A check runs on a thread of its own from `syn_i_w_m` until its last
//! message, so a slow worker delays nobody. At most one runs for a worker at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::{debug, error, info, warn};
use parking_lot::Mutex;

use super::{
    archive_limit::ArchiveLimit,
    archive_path,
    sending::UpdateWriter,
    status::{Counts, Span, Status},
};
use crate::{
    connection::{Connection, FileSender, ReceivedFile, RequestError},
    files::{ChecksumKind, Difference, Manifest, MemberCache, RemoteManifest, compare, survey},
    logging::{Scope, scope},
    node::Node,
    system::{memory, random, thread::guard},
    tasks::local_integrity::LocalIntegrity,
    wire::{Command, ErrorObject},
};

/// The longest manifest that a worker may send, in bytes of JSON.
const MANIFEST_LIMIT: u64 = 256 * 1024 * 1024;

/// What the checks of all workers share.
pub struct Shared {
    /// The node.
    pub node: Arc<Node>,
    /// The master's manifest.
    pub local: Arc<LocalIntegrity>,
    /// Compressed files that several workers may need.
    pub members: MemberCache,
}

/// The checks of one worker, as long as it is connected.
pub struct Integrity {
    shared: Arc<Shared>,
    worker: String,
    connection: Connection,
    check_scope: Scope,
    sync_scope: Scope,
    state: Mutex<State>,
}

struct State {
    /// The turn in which this worker asked last.
    asked: Option<u64>,
    running: Option<Running>,
    /// The archive and the manifest of the last check that found no difference: the same two cannot differ.
    in_sync: Option<([u8; 32], Arc<Manifest>)>,
    limit: ArchiveLimit,
    status: Status,
}

struct Running {
    task: String,
    since: Instant,
    arrived: Sender<Arrived>,
    /// Set to stop the sending of this synchronisation, which the worker knows under the name.
    sending: Option<(String, Arc<AtomicBool>)>,
}

/// How the worker's sending of its manifest ended.
enum Arrived {
    File(String, ReceivedFile),
    Failed,
}

impl Integrity {
    /// For a worker that has just been accepted.
    pub fn new(shared: Arc<Shared>, worker: &str, connection: Connection) -> Arc<Self> {
        let tag = format!("Worker {worker}");
        let limit = ArchiveLimit::new(&shared.node.settings.communication);
        Arc::new(Self {
            shared,
            worker: worker.to_owned(),
            connection,
            check_scope: scope(&tag, "Integrity check"),
            sync_scope: scope(&tag, "Integrity sync"),
            state: Mutex::new(State { asked: None, running: None, in_sync: None, limit, status: Status::default() }),
        })
    }

    /// `syn_i_w_m_p`: whether the worker may begin a check now. It may once in each turn of the local integrity thread,
    /// and not while a check of its own is running.
    pub fn permission(&self, kind: ChecksumKind) -> bool {
        // Before the first run, or without the checksums of this link, nothing could be compared.
        if self.shared.local.manifest(kind).is_none() {
            return false;
        }
        let turn = self.shared.local.turn();
        let mut state = self.state.lock();
        let first = state.asked.replace(turn) != Some(turn);
        first && self.break_old_lock(&mut state)
    }

    /// `syn_i_w_m`: begins a check; gives its task id.
    ///
    /// # Errors
    /// When one is running, or no thread can be started.
    pub fn start(self: &Arc<Self>, kind: ChecksumKind) -> Result<String, ErrorObject> {
        let (arrived, arrives) = bounded(1);
        let task = random::uuid();
        {
            let mut state = self.state.lock();
            if !self.break_old_lock(&mut state) {
                return Err(ErrorObject::unexpected("an integrity check of this worker is running already"));
            }
            let since = self.shared.node.clock.now();
            state.running = Some(Running { task: task.clone(), since, arrived, sending: None });
        }
        let (this, id) = (self.clone(), task.clone());
        let run = move || this.run(&id, &arrives, kind);
        self.shared.node.requests.spawn("integrity", run).map_err(|error| {
            self.state.lock().running = None;
            ErrorObject::unexpected(format!("no thread can be started: {error}"))
        })?;
        Ok(task)
    }

    /// Whether the manifest of a check is on its way, so that a file may be received.
    pub fn expects_file(&self) -> bool {
        self.state.lock().running.as_ref().is_some_and(|running| running.sending.is_none())
    }

    /// `syn_i_w_m_e`: the manifest of this check has come, unless no such check is waiting.
    pub fn arrived(&self, task: &str, path: String, file: ReceivedFile) {
        self.deliver(task, Arrived::File(path, file));
    }

    /// `syn_i_w_m_r`: the worker could not send its manifest or, without a task, could not apply what it got.
    pub fn failed(&self, task: &str, error: &ErrorObject) {
        error!(target: &*self.check_scope, "Received error from worker: '{error}'");
        self.deliver(task, Arrived::Failed);
    }

    /// Whether a check with this task id waits for its manifest.
    pub fn knows(&self, task: &str) -> bool {
        self.state.lock().running.as_ref().is_some_and(|running| running.task == task)
    }

    /// `cancel_task`: stops the sending of this synchronisation between two chunks.
    pub fn cancel(&self, task: &str, error: &ErrorObject) {
        error!(target: &*self.sync_scope, "The worker cancelled the task: '{error}'");
        let state = self.state.lock();
        let sending = state.running.as_ref().and_then(|running| running.sending.as_ref());
        if let Some((_, cancelled)) = sending.filter(|(id, _)| id == task) {
            cancelled.store(true, Ordering::Release);
        }
    }

    /// For `get_health`.
    pub fn status(&self) -> Status {
        let state = self.state.lock();
        Status { free: state.running.is_none(), ..state.status }
    }

    fn deliver(&self, task: &str, arrived: Arrived) {
        let state = self.state.lock();
        if let Some(running) = state.running.as_ref().filter(|running| running.task == task) {
            // The channel has room for one; a second end of the same task says nothing new.
            let _ = running.arrived.try_send(arrived);
        }
    }

    /// Whether no check is running, or one that has been for so long that it is given up.
    fn break_old_lock(&self, state: &mut State) -> bool {
        let now = self.shared.node.clock.now();
        let limit = self.shared.node.settings.master.max_locked_integrity_time;
        match &state.running {
            Some(running) if now.saturating_duration_since(running.since) <= limit => false,
            Some(_) => {
                warn!(target: &*self.check_scope, "The check before has been running for too long and is given up.");
                state.running = None;
                true
            }
            None => true,
        }
    }

    /// The thread of one check.
    fn run(&self, task: &str, arrives: &Receiver<Arrived>, kind: ChecksumKind) {
        if let Err(panic) = guard(|| self.check(task, arrives, kind)) {
            error!(target: &*self.check_scope, "The check failed: {panic}. Please report this.");
        }
        let mut state = self.state.lock();
        if state.running.as_ref().is_some_and(|running| running.task == task) {
            state.running = None;
        }
        drop(state);
        memory::give_back();
    }

    fn check(&self, task: &str, arrives: &Receiver<Arrived>, kind: ChecksumKind) {
        info!(target: &*self.check_scope, "Starting.");
        let clock = &self.shared.node.clock;
        let start = clock.wall();
        let Some((path, file)) = self.wait_for_manifest(task, arrives) else { return };
        debug!(
            target: &*self.check_scope,
            "Received file from worker: '{}'",
            self.shared.node.home.path().join(path).display()
        );
        let begun = clock.now();
        let Some(master) = self.shared.local.manifest(kind) else {
            return warn!(
                target: &*self.check_scope,
                "The files of this node have not been calculated with this worker's kind of checksum yet; the worker \
                 is compared at its next check."
            );
        };
        let sum = file.sha256;
        let (remote, difference);
        // A worker in sync has as many files as the master.
        let mut worker_files = master.entries().len();
        let differs = match self.known_in_sync(&sum, &master) {
            true => None,
            false => {
                remote = match read_manifest(file, kind) {
                    Ok(remote) => remote,
                    Err(reason) => {
                        return error!(target: &*self.check_scope, "The worker's manifest is refused: {reason}");
                    }
                };
                worker_files = remote.entries().len();
                difference = match compare(&master, &remote, kind) {
                    Ok(difference) => difference,
                    Err(error) => return error!(target: &*self.check_scope, "The comparison failed: {error}"),
                };
                Some(&difference).filter(|difference| !difference.is_empty())
            }
        };
        let took = clock.now().duration_since(begun).as_secs_f64();
        {
            let mut state = self.state.lock();
            state.status.check = Span { start: Some(start), end: Some(clock.wall()) };
            if differs.is_none() {
                state.in_sync = Some((sum, master.clone()));
            }
        }
        let verdict = if differs.is_some() { "Sync required." } else { "Sync not required." };
        info!(
            target: &*self.check_scope,
            "Finished in {took:.3}s. Received metadata of {} files. {verdict}",
            worker_files
        );
        match differs {
            None => {
                if let Err(error) = self.connection.request(Command::IntegrityInSync, "") {
                    error!(target: &*self.check_scope, "The worker could not be told that it is in sync: {error}");
                }
            }
            Some(difference) => self.synchronise(task, difference),
        }
    }

    fn wait_for_manifest(&self, task: &str, arrives: &Receiver<Arrived>) -> Option<(String, ReceivedFile)> {
        let limit = self.shared.node.settings.communication.timeout_receiving_file;
        let arrived = select! {
            recv(arrives) -> arrived => arrived.ok(),
            recv(self.connection.closed()) -> _ => None,
            recv(self.shared.node.clock.after(limit)) -> _ => {
                let error = ErrorObject::new(crate::wire::Class::Cluster, 3039);
                error!(target: &*self.check_scope, "{error}");
                let _ = self.connection.request(Command::CancelTask, format!("{task} {}", error.to_json()));
                None
            }
        };
        match arrived? {
            Arrived::File(path, file) => Some((path, file)),
            Arrived::Failed => None,
        }
    }

    fn known_in_sync(&self, sum: &[u8; 32], master: &Arc<Manifest>) -> bool {
        let state = self.state.lock();
        state.in_sync.as_ref().is_some_and(|(known, manifest)| known == sum && Arc::ptr_eq(manifest, master))
    }

    fn synchronise(&self, task: &str, difference: &Difference<'_>) {
        let clock = &self.shared.node.clock;
        let (start, begun) = (clock.wall(), clock.now());
        let counts = Counts {
            missing: difference.missing.len(),
            shared: difference.shared.len(),
            extra: difference.extra.len(),
        };
        info!(target: &*self.sync_scope, "Starting.");
        info!(
            target: &*self.sync_scope,
            "Files to create in worker: {} | Files to update in worker: {} | Files to delete in worker: {}",
            counts.missing,
            counts.shared,
            counts.extra
        );
        self.state.lock().status.sync = Span { start: Some(start), end: None };
        match self.send(task, difference) {
            Ok(left_out) => {
                let mut state = self.state.lock();
                let took = clock.now().duration_since(begun);
                state.limit.arrived(took, &self.shared.node.settings.communication);
                state.status.sync = Span { start: Some(start), end: Some(clock.wall()) };
                state.status.files = Some(counts);
                drop(state);
                debug!(target: &*self.sync_scope, "Zip file sent.");
                if left_out > 0 {
                    // What changed while it was read has another checksum now; the sooner that is known, the better.
                    self.shared.local.run_soon();
                }
                info!(target: &*self.sync_scope, "Finished in {:.3}s.", took.as_secs_f64());
            }
            Err(error) => error!(target: &*self.sync_scope, "Error sending files information: {error}"),
        }
    }

    fn send(&self, task: &str, difference: &Difference<'_>) -> Result<usize, RequestError> {
        let id = self.connection.request(Command::IntegritySync, "")?;
        let id = String::from_utf8_lossy(&id).into_owned();
        let cancelled = Arc::new(AtomicBool::new(false));
        let limit = {
            let mut state = self.state.lock();
            if let Some(running) = state.running.as_mut().filter(|running| running.task == task) {
                running.sending = Some((id.clone(), cancelled.clone()));
            }
            state.limit.bytes()
        };
        let result = self.send_archive(&id, difference, limit, &cancelled);
        if let Err(error) = &result {
            // Nobody waits for the answer: the worker forgets the task, or the connection is gone.
            let _ =
                self.connection.request(Command::IntegritySyncFailed, format!("{id} {}", error.to_object().to_json()));
        }
        result
    }

    fn send_archive(
        &self,
        id: &str,
        difference: &Difference<'_>,
        limit: u64,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<usize, RequestError> {
        let rules = &self.shared.node.settings.communication;
        let path = archive_path(&self.worker, &self.shared.node.clock);
        debug!(
            target: &*self.sync_scope,
            "Compressing files and 'files_metadata.json' of {} files.",
            difference.missing.len() + difference.shared.len() + difference.extra.len()
        );
        debug!(target: &*self.sync_scope, "Sending zip file.");
        let mut sender = FileSender::begin(&self.connection, &path, cancelled.clone())?;
        let writer = UpdateWriter {
            home: self.shared.node.home.path(),
            level: rules.compress_level,
            limit,
            max_inflated: rules.max_zip_size,
            members: &self.shared.members,
        };
        let tell = |reason: &str| warn!(target: &*self.sync_scope, "{reason}");
        let written = writer.write(difference, &mut sender, tell);
        let left_out = written.map_err(|error| {
            if cancelled.load(Ordering::Acquire) {
                self.state.lock().limit.cancelled(sender.sent(), rules);
            }
            RequestError::Closed { reason: format!("the archive could not be sent: {error}") }
        })?;
        sender.finish()?;
        self.connection.request(Command::IntegritySyncEnd, format!("{id} {path}"))?;
        Ok(left_out)
    }
}

/// The manifest in a worker's archive, which may hold nothing else: a worker never sends files.
fn read_manifest(mut file: ReceivedFile, kind: ChecksumKind) -> Result<RemoteManifest, String> {
    let found = survey(&mut file.file, kind, MANIFEST_LIMIT).map_err(|error| error.to_string())?;
    if let Some(name) = found.members.keys().next() {
        return Err(ErrorObject::cluster(3007, format!("'{name}'")).to_string());
    }
    RemoteManifest::parse(&found.metadata, kind).map_err(|error| error.to_string())
}
