//! One check, from the worker's announcement to its verdict, and the synchronisation that may follow.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use crossbeam_channel::{Receiver, select};
use log::{Level, debug, error, info, warn};

use super::{Arrived, Integrity};
use crate::{
    connection::{FileSender, ReceivedFile, RequestError},
    files::{Buckets, ChecksumKind, Difference, MAX_METADATA, Manifest, RemoteManifest, compare, survey},
    metrics::Task,
    system::{memory, thread::guard},
    tasks::integrity::{
        Applied, archive_path,
        sending::UpdateWriter,
        status::{Counts, Progress, Span},
    },
    wire::{Class, Command, ErrorObject},
};

impl Integrity {
    /// The thread of one check.
    pub(super) fn run(&self, task: &str, arrives: &Receiver<Arrived>, kind: ChecksumKind, buckets: Buckets) {
        if let Err(panic) = guard(|| self.check(task, arrives, kind, buckets)) {
            error!(target: &*self.check_scope, "The check failed: {panic}. Please report this.");
        }
        let mut state = self.state.lock();
        if state.running.as_ref().is_some_and(|running| running.task == task) {
            state.running = None;
        }
        drop(state);
        memory::give_back();
    }

    fn check(&self, task: &str, arrives: &Receiver<Arrived>, kind: ChecksumKind, buckets: Buckets) {
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
        if self.known_in_sync(&sum, buckets, &master) {
            self.finish_check(start, begun, master.entries().len(), None);
            return self.tell_in_sync();
        }
        let remote = match read_manifest(file, kind) {
            Ok(remote) => remote,
            Err(reason) => return self.fail_check(&format!("The worker's manifest is refused: {reason}")),
        };
        let difference = match compare(&master, &remote, kind, buckets) {
            Ok(difference) => difference,
            Err(error) => return self.fail_check(&format!("The comparison failed: {error}")),
        };
        // What is in no bucket of this check is there too, and known to be the same.
        let files = difference.others + remote.entries().len();
        if difference.is_empty() {
            self.state.lock().in_sync = Some((sum, buckets, master.clone()));
            self.finish_check(start, begun, files, None);
            self.tell_in_sync();
        } else {
            let counts = Counts {
                missing: difference.missing.len(),
                shared: difference.shared.len(),
                extra: difference.extra.len(),
            };
            self.finish_check(start, begun, files, Some(counts));
            self.synchronise(task, &difference, counts);
        }
    }

    /// `int_digest`: whether the worker's files are those of this node, which ends the check; among which files to look
    /// for the difference otherwise.
    ///
    /// # Errors
    /// When this is no digest; the worker is at fault. When this node has not looked at its own files yet.
    pub fn digest(&self, question: &[u8], kind: ChecksumKind) -> Result<Vec<u8>, ErrorObject> {
        let clock = &self.shared.node.clock;
        let (start, begun) = (clock.wall(), clock.now());
        let unknown = || ErrorObject::unexpected("the files of this node have not been calculated yet");
        let master = self.shared.local.manifest(kind).ok_or_else(unknown)?;
        let no_digest = || ErrorObject::unexpected("the payload is to be a digest of 32 hexadecimal digits");
        let same = master.digests().are_those_of(question).ok_or_else(no_digest)?;
        if same {
            info!(target: &*self.check_scope, "Starting.");
            self.finish_check(start, begun, master.entries().len(), None);
        }
        Ok(master.digests().answer(same))
    }

    /// `behind` is what was found to differ.
    fn finish_check(&self, start: SystemTime, begun: Instant, files: usize, behind: Option<Counts>) {
        let clock = &self.shared.node.clock;
        let (now, end) = (clock.now(), clock.wall());
        let mut state = self.state.lock();
        state.status.check = Span { start: Some(start), end: Some(end) };
        match behind {
            None => {
                state.status.standing.equal(now, end);
                state.applied = Applied::default();
            }
            Some(behind) => state.status.standing.differs(behind),
        }
        drop(state);
        let took = now.duration_since(begun);
        self.shared.node.metrics.done(Task::IntegrityCheck, took);
        let (took, verdict) =
            (took.as_secs_f64(), if behind.is_some() { "Sync required." } else { "Sync not required." });
        info!(target: &*self.check_scope, "Finished in {took:.3}s. Received metadata of {files} files. {verdict}");
    }

    fn fail_check(&self, reason: &str) {
        self.shared.node.metrics.failed(Task::IntegrityCheck);
        error!(target: &*self.check_scope, "{reason}");
    }

    fn tell_in_sync(&self) {
        if let Err(error) = self.connection.request(Command::IntegrityInSync, "") {
            error!(target: &*self.check_scope, "The worker could not be told that it is in sync: {error}");
        }
    }

    fn wait_for_manifest(&self, task: &str, arrives: &Receiver<Arrived>) -> Option<(String, ReceivedFile)> {
        let limit = self.shared.node.settings.communication.timeout_receiving_file;
        let arrived = select! {
            recv(arrives) -> arrived => arrived.ok(),
            recv(self.connection.closed()) -> _ => None,
            recv(self.shared.node.clock.after(limit)) -> _ => {
                let error = ErrorObject::new(Class::Cluster, 3039);
                self.fail_check(&error.to_string());
                let _ = self.connection.request(Command::CancelTask, format!("{task} {}", error.to_json()));
                None
            }
        };
        match arrived? {
            Arrived::File(path, file) => Some((path, file)),
            Arrived::Failed => None,
        }
    }

    fn known_in_sync(&self, sum: &[u8; 32], buckets: Buckets, master: &Arc<Manifest>) -> bool {
        let state = self.state.lock();
        let same = |(known, about, manifest): &([u8; 32], Buckets, Arc<Manifest>)| {
            known == sum && *about == buckets && Arc::ptr_eq(manifest, master)
        };
        state.in_sync.as_ref().is_some_and(same)
    }

    fn synchronise(&self, task: &str, difference: &Difference<'_>, counts: Counts) {
        let clock = &self.shared.node.clock;
        let (start, begun) = (clock.wall(), clock.now());
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
                state.status.files = Some(counts);
                drop(state);
                self.shared.node.metrics.done(Task::IntegritySync, took);
                debug!(target: &*self.sync_scope, "Zip file sent.");
                if left_out > 0 {
                    // What changed while it was read has another checksum now; the sooner that is known, the better.
                    self.shared.local.wake();
                }
                info!(target: &*self.sync_scope, "Finished in {:.3}s.", took.as_secs_f64());
            }
            Err(error) => {
                self.shared.node.metrics.failed(Task::IntegritySync);
                error!(target: &*self.sync_scope, "Error sending files information: {error}");
            }
        }
    }

    fn send(&self, task: &str, difference: &Difference<'_>) -> Result<usize, RequestError> {
        let id = self.connection.request(Command::IntegritySync, "")?;
        let id = String::from_utf8_lossy(&id).into_owned();
        let progress = Arc::new(Progress::new(difference.missing.len() + difference.shared.len()));
        let limit = {
            let mut state = self.state.lock();
            if let Some(running) = state.running.as_mut().filter(|running| running.task == task) {
                running.sending = Some((id.clone(), progress.clone()));
            }
            state.limit.bytes()
        };
        let result = self.send_archive(&id, difference, limit, &progress);
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
        progress: &Progress,
    ) -> Result<usize, RequestError> {
        let rules = &self.shared.node.settings.communication;
        let path = archive_path(&self.worker, &self.shared.node.clock);
        debug!(
            target: &*self.sync_scope,
            "Compressing files and 'files_metadata.json' of {} files.",
            difference.missing.len() + difference.shared.len() + difference.extra.len()
        );
        debug!(target: &*self.sync_scope, "Sending zip file.");
        let mut sender = FileSender::begin(&self.connection, &path, progress.transfer.clone())?;
        let writer = UpdateWriter {
            home: self.shared.node.home.path(),
            level: rules.compress_level,
            limit,
            max_inflated: rules.max_zip_size,
            members: &self.shared.members,
            done: &progress.files,
        };
        let tell = |reason: &str| {
            let level = self.told.level(Level::Warn, reason, self.shared.node.clock.now());
            log::log!(target: &*self.sync_scope, level, "{reason}");
        };
        let written = writer.write(difference, &mut sender, tell);
        let left_out = written.map_err(|error| {
            if progress.transfer.is_cancelled() {
                self.state.lock().limit.cancelled(progress.transfer.sent(), rules);
            }
            RequestError::Closed { reason: format!("the archive could not be sent: {error}") }
        })?;
        sender.finish()?;
        // A check that confirms it comes after this, and the worker may make one before it is heard of here again.
        self.state.lock().status.sync.end = Some(self.shared.node.clock.wall());
        self.connection.request(Command::IntegritySyncEnd, format!("{id} {path}"))?;
        Ok(left_out)
    }
}

/// The manifest in a worker's archive, which may hold nothing else: a worker never sends files.
fn read_manifest(mut file: ReceivedFile, kind: ChecksumKind) -> Result<RemoteManifest, String> {
    let found = survey(&mut file.file, kind, MAX_METADATA as u64).map_err(|error| error.to_string())?;
    if let Some(name) = found.members.keys().next() {
        return Err(ErrorObject::cluster(3007, format!("'{name}'")).to_string());
    }
    RemoteManifest::parse(&found.metadata, kind).map_err(|error| error.to_string())
}
