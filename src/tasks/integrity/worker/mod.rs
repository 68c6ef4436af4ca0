//! The worker's half: asks for a check every 9 s, and applies what the master sends.
//!
//! One thread does all of it, so nothing is checked while something is applied. The session only hands it what the
//! master says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select};
use log::Level;
use parking_lot::Mutex;

mod inbox;
mod reload;
#[cfg(test)]
mod tests;

use super::{
    Applied, archive_path,
    sending::write_manifest,
    status::{Counts, Standing},
};
use crate::{
    connection::{Connection, FileSender, ReceivedFile, RequestError},
    files::{
        ArchiveError, Buckets, ChecksumKind, Contents, Failure, Manifest, Scanner, Target, Unreadable, Update, What,
    },
    logging::{Repeats, Scope, debug, error, info, log, scope, warn},
    metrics::Task,
    node::Node,
    session::native::Features,
    system::{disk::Disk, memory, thread::guard},
    wire::{Class, Command, ErrorObject, NO_TASK},
};
use inbox::Event;
pub use inbox::{Busy, Events, Inbox, channel};
pub use reload::Reload;

/// How soon it is asked again for a check that the master refused though it had said that its files changed: the check
/// before is coming to its end there.
const SOON: Duration = Duration::from_millis(50);

/// How often in a row, at most.
const TRIES: u32 = 20;

/// How often a part of the files is offered for comparison while those of the master change; then it is all of them.
const PARTS: usize = 3;

/// The longest pause between two checks while a master of the original sends what fails here.
const RARELY: Duration = Duration::from_secs(60);

/// Files that could not be dealt with, of one synchronisation, that the log names.
const NAMED: usize = 100;

/// What outlives connections, and what others want to know.
pub struct Files {
    /// The scanner of the worker's own files and its cache. Held by one walk at a time, and by nobody who holds another
    /// lock.
    pub scanner: Mutex<Scanner>,
    /// Whether the ruleset is to be loaded anew.
    pub reload: Reload,
    /// What the last check and the last synchronisation came to.
    pub state: Mutex<State>,
    disk: Disk,
}

/// How the files of this worker stand.
#[derive(Clone, Default)]
pub struct State {
    /// What the last check found.
    pub standing: Standing,
    /// What was done with the files that came last, until a check finds no difference.
    pub applied: Applied,
}

impl Files {
    /// Nothing checked yet.
    pub fn new(scanner: Scanner, reload: Reload) -> Self {
        Self { scanner: Mutex::new(scanner), reload, state: Mutex::default(), disk: Disk::default() }
    }
}

/// The integrity thread of a worker, as long as it is connected.
pub struct Integrity<'a> {
    node: &'a Node,
    master: &'a Connection,
    files: &'a Files,
    features: Features,
    kind: ChecksumKind,
    check_scope: Scope,
    sync_scope: Scope,
    /// When the check that waits for the master's verdict began.
    checking: Option<Instant>,
    /// The synchronisation whose archive is on its way, and when it must have come.
    receiving: Option<(String, Receiver<Instant>)>,
    /// When a check is asked for at the latest, whatever the master says.
    next: Instant,
    /// When it is asked for before that, and how often still, because the master's files have changed since the last one.
    sooner: Option<(Instant, u32)>,
    /// Whether it was asked for at once after an update, since the last check in its time.
    looked_again: bool,
    unreadable: usize,
    /// How many synchronisations in a row had files that could not be dealt with.
    failing: u32,
    /// What could not be applied.
    told: Repeats,
}

impl<'a> Integrity<'a> {
    /// For a connection on which this was agreed on.
    pub fn new(node: &'a Node, master: &'a Connection, files: &'a Files, features: Features) -> Self {
        let tag = format!("Worker {}", node.cluster.node_name);
        Self {
            node,
            master,
            files,
            features,
            kind: features.checksum(),
            check_scope: scope(&tag, "Integrity check"),
            sync_scope: scope(&tag, "Integrity sync"),
            checking: None,
            receiving: None,
            next: node.clock.now() + node.settings.worker.sync_integrity,
            sooner: None,
            looked_again: false,
            unreadable: 0,
            failing: 0,
            told: Repeats::default(),
        }
    }

    /// Runs until the connection closes.
    pub fn run(mut self, events: &Events) {
        let never = crossbeam_channel::never();
        loop {
            let late = self.receiving.as_ref().map_or(&never, |(_, late)| late).clone();
            select! {
                recv(self.master.closed()) -> _ => return,
                recv(events.events) -> event => match event {
                    Ok(event) => {
                        let panicked = guard(|| self.take(event));
                        self.forget_after(panicked, &self.sync_scope.clone(), Task::IntegritySync);
                    }
                    Err(_) => return,
                },
                recv(events.changed) -> changed => match changed {
                    Ok(()) => self.hurry(),
                    Err(_) => return,
                },
                recv(late) -> _ => self.give_up_receiving(),
                recv(self.due()) -> _ => {
                    if self.receiving.is_none() {
                        let panicked = guard(|| self.check());
                        self.forget_after(panicked, &self.check_scope.clone(), Task::IntegrityCheck);
                    }
                    let now = self.node.clock.now();
                    self.looked_again &= now < self.next;
                    self.next = now + self.period();
                }
            }
        }
    }

    /// Until the next check. A master that does not know what failed here sends all of it again after each, so they become
    /// rarer; but it sends new keys after a check only, too.
    fn period(&self) -> Duration {
        let period = self.node.settings.worker.sync_integrity;
        if self.features.applied {
            return period;
        }
        period.saturating_mul(1 << self.failing.min(16)).min(period.max(RARELY))
    }

    /// When the next check is to be asked for. Nothing that the master says makes it later.
    fn due(&self) -> Receiver<Instant> {
        // After the end of what is under way this is called again; if that never comes, the period goes on.
        let busy = self.checking.is_some() || self.receiving.is_some();
        let due = match self.sooner {
            Some((soon, _)) if !busy => soon.min(self.next),
            _ => self.next,
        };
        self.node.clock.after(due.saturating_duration_since(self.node.clock.now()))
    }

    /// The master's files have changed.
    fn hurry(&mut self) {
        let soon = self.sooner.map_or_else(|| self.node.clock.now(), |(soon, _)| soon);
        self.sooner = Some((soon, TRIES));
    }

    /// After a panic nothing is under way any more, and the master need not wait for it.
    fn forget_after(&mut self, outcome: Result<(), String>, scope: &Scope, task: Task) {
        let Err(panic) = outcome else { return };
        (self.checking, self.receiving, self.sooner) = (None, None, None);
        self.node.metrics.failed(task);
        error!(scope, "It failed, and is tried again with the next check: {panic}. Please report this.");
        let error = ErrorObject::cluster(3040, format!("the worker failed: {panic}"));
        let _ = self.master.request(Command::IntegrityCheckFailed, format!("{NO_TASK} {}", error.to_json()));
    }

    fn check(&mut self) {
        match self.try_check() {
            Ok(()) => (),
            // The session tells why; every task of a connection need not.
            Err(RequestError::Closed { .. }) if self.master.is_closed() => (),
            Err(error) => {
                // A master that refuses is not to be asked without a pause.
                (self.checking, self.sooner) = (None, None);
                error!(self.check_scope, "The check could not be made: {error}");
            }
        }
    }

    fn try_check(&mut self) -> Result<(), RequestError> {
        let answer = self.master.request(Command::IntegrityPermission, "")?;
        if answer != b"True" {
            let soon = self.node.clock.now() + SOON;
            self.sooner = self.sooner.filter(|(_, tries)| *tries > 1).map(|(_, tries)| (soon, tries - 1));
            debug!(
                self.check_scope,
                "Master didn't grant permission to start a new synchronization: b'{}'",
                answer.escape_ascii()
            );
            return Ok(());
        }
        debug!(self.check_scope, "Permission to synchronize granted.");
        info!(self.check_scope, "Starting.");
        self.sooner = None;
        self.checking = Some(self.node.clock.now());
        let manifest = self.scan();
        let Some((task, buckets)) = self.announce(&manifest)? else {
            self.take(Event::InSync);
            return Ok(());
        };
        self.send_manifest(&task, &manifest, buckets).inspect_err(|error| {
            let payload = format!("{task} {}", error.to_object().to_json());
            // If this does not arrive either, the master gives the check up by itself.
            let _ = self.master.request(Command::IntegrityCheckFailed, payload);
        })
    }

    /// Announces a check of the files that differ, and gives its task; none if there are no such files.
    fn announce(&self, manifest: &Manifest) -> Result<Option<(String, Buckets)>, RequestError> {
        let mut refused = 0;
        loop {
            let buckets = if refused < PARTS { self.differing(manifest)? } else { Buckets::ALL };
            if buckets == Buckets::NONE {
                return Ok(None);
            }
            match self.master.request(Command::IntegrityCheck, buckets.text()) {
                Ok(task) => return Ok(Some((String::from_utf8_lossy(&task).into_owned(), buckets))),
                // The files of the master have changed since it told where they differ.
                Err(RequestError::Refused(_)) if buckets != Buckets::ALL => refused += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Shows the master by one question that the files are the same now; whether they are.
    fn confirm(&mut self) -> bool {
        let begun = self.node.clock.now();
        let manifest = self.scan();
        // If it is not so, or cannot be known, the next check sees to it.
        let equal = self.differing(&manifest).is_ok_and(|buckets| buckets == Buckets::NONE);
        if equal {
            info!(self.check_scope, "Starting.");
            self.checking = Some(begun);
            self.take(Event::InSync);
        }
        equal
    }

    /// Asks for a check at once, after an update that did not come to its end, or was not confirmed: what the master
    /// protects is not in its digests. If that finds a difference again, the next one comes in its time.
    fn look_again(&mut self) {
        if !std::mem::replace(&mut self.looked_again, true) {
            self.hurry();
        }
    }

    fn scan(&mut self) -> Arc<Manifest> {
        let scan = self.files.scanner.lock().scan(self.kind == ChecksumKind::Blake2b);
        if scan.unreadable.len() != self.unreadable {
            for Unreadable { path, reason } in &scan.unreadable {
                warn!(self.check_scope, "'{path}' cannot be read: {reason}; the master's copy will replace it.");
            }
            self.unreadable = scan.unreadable.len();
        }
        scan.manifest
    }

    /// Where the files of the master may differ from these.
    fn differing(&self, manifest: &Manifest) -> Result<Buckets, RequestError> {
        if !self.features.digest {
            return Ok(Buckets::ALL);
        }
        let digests = manifest.digests();
        Ok(digests.differing(&self.master.request(Command::IntegrityDigest, digests.question())?))
    }

    fn send_manifest(&self, task: &str, manifest: &Manifest, buckets: Buckets) -> Result<(), RequestError> {
        let path = archive_path(&self.node.cluster.node_name, &self.node.clock);
        let entries = manifest.within(buckets);
        let count = entries.len();
        debug!(self.check_scope, "Compressing 'files_metadata.json' of {count} files.");
        debug!(self.check_scope, "Sending zip file.");
        let mut sender = FileSender::begin(self.master, &path, Arc::default())?;
        write_manifest(manifest, &entries, self.kind, self.node.settings.communication.compress_level, &mut sender)
            .map_err(|error| RequestError::Closed { reason: format!("the manifest could not be sent: {error}") })?;
        sender.finish()?;
        self.master.request(Command::IntegrityCheckEnd, format!("{task} {path}"))?;
        debug!(self.check_scope, "Zip file sent.");
        Ok(())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::InSync => {
                self.finish_check("Sync not required.");
                (self.looked_again, self.failing) = (false, 0);
                self.in_sync();
                self.files.reload.carry_out(&self.check_scope);
            }
            Event::CheckFailed(error) => {
                self.checking = None;
                self.node.metrics.failed(Task::IntegrityCheck);
                let text = format!("The master did not find these files equal to its own: {error}");
                let level = self.told.level(Level::Error, &text, self.node.clock.now());
                log!(self.check_scope, level, "{text}");
            }
            Event::SyncBegins(task) => {
                self.finish_check("Sync required.");
                let limit = self.node.settings.communication.timeout_receiving_file;
                self.receiving = Some((task, self.node.clock.after(limit)));
            }
            Event::Archive(file) => {
                self.receiving = None;
                let complete = self.synchronise(file);
                memory::give_back();
                self.files.reload.carry_out(&self.sync_scope);
                if self.features.digest && !self.confirm() && complete {
                    self.look_again();
                }
            }
            Event::SyncFailed(error) => {
                self.receiving = None;
                self.node.metrics.failed(Task::IntegritySync);
                error!(self.sync_scope, "The master could not send the files: '{error}'");
                if self.features.digest {
                    // An archive that has no room here is followed by a smaller one, with the keys.
                    self.look_again();
                }
            }
        }
    }

    fn finish_check(&mut self, verdict: &str) {
        let took = self.checking.take().map(|start| self.node.clock.now().duration_since(start)).unwrap_or_default();
        self.node.metrics.done(Task::IntegrityCheck, took);
        info!(self.check_scope, "Finished in {:.3}s. {verdict}", took.as_secs_f64());
    }

    fn in_sync(&self) {
        let (now, wall) = (self.node.clock.now(), self.node.clock.wall());
        let mut state = self.files.state.lock();
        state.standing.equal(now, wall);
        state.applied = Applied::default();
    }

    fn give_up_receiving(&mut self) {
        let Some((task, _)) = self.receiving.take() else { return };
        self.node.metrics.failed(Task::IntegritySync);
        let error = ErrorObject::new(Class::Cluster, 3039);
        error!(self.sync_scope, "{error}");
        // A master that does not hear this goes on sending what nobody waits for, and then stops.
        let _ = self.master.request(Command::CancelTask, format!("{task} {}", error.to_json()));
    }

    /// Whether all of the update was applied.
    fn synchronise(&mut self, file: ReceivedFile) -> bool {
        let start = self.node.clock.now();
        info!(self.sync_scope, "Starting.");
        let target = Target {
            home: self.node.home.path(),
            owner: self.node.owner.map(|owner| (owner.uid, owner.gid)),
            disk: &self.files.disk,
        };
        let limit = self.node.settings.communication.max_zip_size;
        // A node of ours sends nothing but what it has scanned.
        let contents = if self.features.any() { Contents::AsScanned } else { Contents::OrNewer { home: target.home } };
        let update = match Update::open(file.file, &self.node.items, self.kind, contents, limit) {
            Ok(update) => update,
            Err(error) => {
                self.refuse(&error);
                return false;
            }
        };
        let counts =
            Counts { missing: update.missing_count(), shared: update.shared_count(), extra: update.extra_count() };
        self.files.state.lock().standing.differs(counts, self.node.clock.wall());
        let Counts { missing, shared, extra } = counts;
        info!(self.sync_scope, "Files to create: {missing} | Files to update: {shared} | Files to delete: {extra}");
        debug!(self.sync_scope, "Worker does not meet integrity checks. Actions required.");
        debug!(self.sync_scope, "Updating local files: Start.");
        let earlier = std::mem::take(&mut self.files.state.lock().applied).without(|path| update.names(path));
        let outcome = update.apply(&target);
        debug!(self.sync_scope, "Updating local files: End.");
        self.tell_failures(&outcome.failures);
        self.tell_unsettled(&outcome.unsettled);
        self.failing = if outcome.failures.is_empty() { 0 } else { self.failing.saturating_add(1) };
        let applied = Applied::new(&outcome);
        self.tell_applied(&applied);
        self.files.state.lock().applied = applied.and(earlier);
        let took = self.node.clock.now().duration_since(start);
        self.node.metrics.done(Task::IntegritySync, took);
        info!(self.sync_scope, "Finished in {:.3}s.", took.as_secs_f64());
        outcome.failures.is_empty()
    }

    fn tell_applied(&self, applied: &Applied) {
        if self.features.applied {
            // It is for people to see; a master that takes nothing now learns of it after the next synchronisation.
            self.master.tell(Command::IntegrityApplied, applied.to_json());
        }
    }

    fn tell_failures(&self, failures: &[Failure]) {
        for Failure { path, what, reason } in failures.iter().take(NAMED) {
            let done = match what {
                What::Create => "created",
                What::Update => "updated",
                What::Delete => "deleted",
                What::Sync => "written to the disk for good",
            };
            let text = format!("'{path}' could not be {done}: {reason}.");
            let level = self.told.level(Level::Error, &text, self.node.clock.now());
            log!(self.sync_scope, level, "{text}");
        }
        if !failures.is_empty() {
            let count = |wanted| failures.iter().filter(|failure| failure.what == wanted).count();
            error!(
                self.sync_scope,
                "Found errors: {} overwriting, {} creating and {} removing",
                count(What::Update),
                count(What::Create),
                count(What::Delete)
            );
        }
    }

    /// Nobody need act on it.
    fn tell_unsettled(&self, paths: &[String]) {
        for path in paths.iter().take(NAMED) {
            let text = format!("'{path}' was being changed on the master when it was sent; the next check brings it.");
            let level = self.told.level(Level::Info, &text, self.node.clock.now());
            log!(self.sync_scope, level, "{text}");
        }
    }

    /// Tells the log and the master that an archive cannot be used at all.
    fn refuse(&mut self, error: &ArchiveError) {
        self.failing = self.failing.saturating_add(1);
        self.node.metrics.failed(Task::IntegritySync);
        let object = ErrorObject::cluster(3040, format!("the archive is refused: {error}"));
        error!(self.sync_scope, "The synchronisation failed: {object}");
        let applied = Applied::refused(error);
        self.tell_applied(&applied);
        self.files.state.lock().applied = applied;
        let _ = self.master.request(Command::IntegrityCheckFailed, format!("{NO_TASK} {}", object.to_json()));
    }
}
