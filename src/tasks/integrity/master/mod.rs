//! The master's half: grants checks, compares, and sends what differs.
//!
//! Each connected worker has one [`Integrity`]. A check runs on a thread of its own from `syn_i_w_m` until its last
//! message, so a slow worker delays nobody. At most one runs for a worker at a time.

mod archives;
mod check;
mod deletions;
mod digest;
mod granted;
mod refused;
mod running;
mod sync;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

pub use archives::Archives;
use check::Check;
pub use deletions::Deletions;
use granted::Granted;
use refused::Refused;
use running::{Lock, Running};

use super::{
    Applied,
    archive_limit::ArchiveLimit,
    sending::Doubtful,
    status::{IntegrityStatus, Progress},
};
use crate::{
    connection::{Connection, ReceivedFile},
    files::{Buckets, ChecksumKind, Manifest},
    limits::Line,
    logging::{error, scope, warn},
    metrics::Task,
    node::Node,
    session::native::Features,
    system::{clock::Clock, random},
    tasks::local_integrity::LocalIntegrity,
    turn::Turns,
    wire::{ErrorObject, NO_TASK},
};

/// What the checks of all workers share.
pub struct Shared {
    /// The node.
    pub node: Arc<Node>,
    /// The master's files.
    pub local: Arc<LocalIntegrity>,
    /// What a person is to confirm.
    pub deletions: Deletions,
    /// What is being sent to several workers.
    pub archives: Archives,
    /// Those who make an archive.
    pub packing: Line,
    /// Long files that went out in vain.
    pub doubtful: Doubtful,
    /// Held while a manifest is read, which may take much memory: [`COMPARISONS`](crate::limits::COMPARISONS).
    pub reading: Mutex<()>,
}

/// The checks of one worker, as long as it is connected.
pub struct Integrity {
    shared: Arc<Shared>,
    worker: String,
    connection: Connection,
    checks: Turns,
    syncs: Turns,
    state: Mutex<CheckState>,
    /// What the worker could not take.
    refused: Mutex<Refused>,
}

struct CheckState {
    /// The turns in which this worker was granted a check.
    granted: Granted,
    /// The turn of the last one, until it is used.
    permitted: Option<u64>,
    running: Running<Hand>,
    /// The manifest whose digests showed the worker where its files differ.
    digested: Weak<Manifest>,
    /// The archive, what it is about, and the manifest of the last check that found no difference: the same cannot differ.
    in_sync: Option<([u8; 32], Buckets, Arc<Manifest>)>,
    limit: ArchiveLimit,
    status: IntegrityStatus,
    /// The generation of the master's files that the worker has shown to have.
    shown: Option<u64>,
    /// When the log last had that the digests are the same.
    equal_logged: Option<Instant>,
}

/// What a running check has in hand.
struct Hand {
    arrived: Sender<Arrived>,
    /// The sending of this synchronisation, which the worker knows under the name.
    sending: Option<(String, Arc<Progress>)>,
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
        let turns = |task, subtag| shared.node.turns(task, scope(&tag, subtag));
        let (checks, syncs) =
            (turns(Task::IntegrityCheck, "Integrity check"), turns(Task::IntegritySync, "Integrity sync"));
        let limit = ArchiveLimit::new(&shared.node.settings.communication);
        Arc::new(Self {
            shared,
            worker: worker.to_owned(),
            connection,
            checks,
            syncs,
            state: Mutex::new(CheckState {
                granted: Granted::default(),
                permitted: None,
                running: Running::default(),
                digested: Weak::new(),
                in_sync: None,
                limit,
                status: IntegrityStatus::default(),
                shown: None,
                equal_logged: None,
            }),
            refused: Mutex::default(),
        })
    }

    /// `syn_i_w_m_p`: whether the worker may begin a check now. It may once in each turn of the local integrity thread,
    /// once more if it was sent files in that turn, and not while a check of its own is running; being refused uses up
    /// nothing.
    pub fn permission(&self, kind: ChecksumKind) -> bool {
        // Before the first run, or without the checksums of this link, nothing could be compared.
        if self.shared.local.manifest(kind).is_none() {
            return false;
        }
        let turn = self.shared.local.turn();
        let mut state = self.state.lock();
        let lock = self.lock_of(&mut state);
        let granted = lock != Lock::Held && state.granted.may(turn);
        state.permitted = granted.then_some(turn);
        drop(state);
        self.tell_broken(lock);
        granted
    }

    /// `syn_i_w_m`: begins a check of the files in these buckets; gives its task id.
    ///
    /// # Errors
    /// When one is running, or no thread can be started; when the worker names no buckets, or those by which it chose
    /// them are not in force any more: it is to ask for the digests again.
    pub fn start(self: &Arc<Self>, features: Features, buckets: &[u8]) -> Result<String, ErrorObject> {
        let buckets = Buckets::parse(buckets)
            .ok_or_else(|| ErrorObject::unexpected("the payload is to be empty, or the buckets of the check"))?;
        // All files are compared with those that are there when the worker's manifest has come; a part of them only with
        // those by whose digests it was chosen, as there may be differences elsewhere by then.
        let about = match buckets {
            Buckets::ALL => None,
            _ => Some(self.digested().ok_or_else(|| {
                ErrorObject::unexpected("the files of the master have changed since it told where they differ")
            })?),
        };
        let (arrived, arrives) = bounded(1);
        let task = random::uuid();
        let mut state = self.state.lock();
        let lock = self.lock_of(&mut state);
        if lock == Lock::Held {
            return Err(ErrorObject::unexpected("an integrity check of this worker is running already"));
        }
        let since = self.shared.node.clock.now();
        state.running.begin(&task, since, Hand { arrived, sending: None });
        drop(state);
        self.tell_broken(lock);
        let this = self.clone();
        let (kind, is_native, deltas) = (features.checksum(), features.any(), features.delta);
        let check = Check { task: task.clone(), kind, is_native, deltas, buckets, about };
        let run = move || this.run(&check, &arrives);
        self.shared.node.requests.spawn("integrity", run).map_err(|error| {
            self.state.lock().running.end(&task);
            ErrorObject::unexpected(format!("no thread can be started: {error}"))
        })?;
        Ok(task)
    }

    /// Begins a check of a worker that has all files as they were at the digest of this question; whether that is known, and
    /// the check may begin now. If not, the worker asks for one as ever.
    fn start_known(self: &Arc<Self>, question: &[u8], features: Features) -> bool {
        let Some((master, changes)) = self.shared.local.lately(question) else { return false };
        let turn = self.shared.local.turn();
        let mut state = self.state.lock();
        let lock = self.lock_of(&mut state);
        // A worker whose deletions may have to be held back is compared with all that it has.
        let may = lock != Lock::Held
            && self.shared.deletions.are_sent(&self.worker)
            && (state.permitted.take() == Some(turn) || state.granted.may(turn));
        let task = random::uuid();
        if may {
            let (arrived, since) = (bounded(1).0, self.shared.node.clock.now());
            state.running.begin(&task, since, Hand { arrived, sending: None });
        }
        drop(state);
        self.tell_broken(lock);
        if !may {
            return false;
        }
        let this = self.clone();
        let (kind, deltas) = (features.checksum(), features.delta);
        let check =
            Check { task: task.clone(), kind, is_native: true, deltas, buckets: Buckets::ALL, about: Some(master) };
        let started = self.shared.node.requests.spawn("integrity", move || this.run_known(&check, &changes));
        if started.is_err() {
            self.state.lock().running.end(&task);
        }
        started.is_ok()
    }

    /// Whether the manifest of a check is on its way, so that a file may be received.
    pub fn expects_file(&self) -> bool {
        self.state.lock().running.hand().is_some_and(|hand| hand.sending.is_none())
    }

    /// `syn_i_w_m_e`: the manifest of this check has come. Ignored if no check of this id waits for one.
    pub fn arrived(&self, task: &str, path: String, file: ReceivedFile) {
        self.deliver(task, Arrived::File(path, file));
    }

    /// `syn_i_w_m_r`: the worker could not send its manifest or, without a task, could not apply what it got.
    pub fn failed(&self, task: &str, error: &ErrorObject) {
        error!(self.checks.scope(), "Received error from worker: '{error}'");
        let waiting = self.state.lock().running.task().map(str::to_owned);
        // Without a task it is the check that waits for its manifest that has failed, if there is one.
        self.deliver(waiting.as_deref().filter(|_| task == NO_TASK).unwrap_or(task), Arrived::Failed);
    }

    /// Whether a check with this task id waits for its manifest.
    pub fn knows(&self, task: &str) -> bool {
        self.state.lock().running.of(task).is_some()
    }

    /// `cancel_task`: stops the sending of this synchronisation between two chunks.
    pub fn cancel(&self, task: &str, error: &ErrorObject) {
        error!(self.syncs.scope(), "The worker cancelled the task: '{error}'");
        let state = self.state.lock();
        let sending = state.running.hand().and_then(|hand| hand.sending.as_ref());
        if let Some((_, progress)) = sending.filter(|(id, _)| id == task) {
            progress.transfer.cancel();
        }
    }

    /// The clock of the node.
    pub fn clock(&self) -> &Clock {
        &self.shared.node.clock
    }

    /// For `get_health`.
    pub fn status(&self) -> IntegrityStatus {
        let state = self.state.lock();
        let sending = state.running.hand().and_then(|hand| hand.sending.as_ref());
        IntegrityStatus {
            free: state.running.is_free(),
            sending: sending.map(|(_, progress)| progress.now()),
            behind_since: state.shown.and_then(|shown| self.shared.local.changed_after(shown)),
            ..state.status
        }
    }

    /// Whether the worker has shown to have this generation of the master's files, or a later one.
    pub fn has(&self, generation: u64) -> bool {
        self.state.lock().shown.is_some_and(|shown| shown >= generation)
    }

    /// `int_applied`.
    pub fn applied(&self, applied: Applied) {
        self.refused.lock().reported(applied);
        self.tell_refused();
    }

    /// Tells which files the worker cannot take, when they are others, or for other reasons.
    fn tell_refused(&self) {
        let Some((level, news)) = self.refused.lock().news() else { return };
        self.syncs.report(level, &news);
    }

    /// What the worker could not do with the files that it got last.
    pub fn last_applied(&self) -> Applied {
        self.refused.lock().applied().clone()
    }

    fn deliver(&self, task: &str, arrived: Arrived) {
        let state = self.state.lock();
        if let Some(hand) = state.running.of(task) {
            // The channel has room for one; a second end of the same task is no news.
            let _ = hand.arrived.try_send(arrived);
        }
    }

    /// Whether a check may begin. One that has been running for too long is given up.
    fn lock_of(&self, state: &mut CheckState) -> Lock {
        let now = self.shared.node.clock.now();
        let limit = self.shared.node.settings.master.max_locked_integrity_time;
        state.running.lock(now, limit)
    }

    fn tell_broken(&self, lock: Lock) {
        if lock == Lock::Broken {
            warn!(self.checks.scope(), "The check before has been running for too long and is given up.");
        }
    }
}
