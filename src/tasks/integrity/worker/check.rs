//! One check of this worker's files: asks for it, shows the master what there is, and takes its verdict.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Integrity, TRIES};
use crate::{
    connection::{FileSender, RequestError},
    files::{Buckets, ChecksumKind, Digests, Manifest, Unreadable, Which},
    logging::{debug, warn},
    tasks::integrity::{Applied, archive_path, sending::write_manifest},
    turn::Failure,
    wire::{Command, ErrorObject},
};

/// After which pause the worker asks again for a check that the master refused although it had announced that its files
/// changed: the check before is coming to its end there.
const SOON: Duration = Duration::from_millis(50);

/// How often a part of the files is offered for comparison while those of the master change; then it is all of them.
const PARTS: usize = 3;

/// Why a check came to no verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotChecked {
    #[error("The check could not be made: {0}")]
    NotMade(#[from] RequestError),
    #[error("The master did not find these files equal to its own: {0}")]
    ByTheMaster(ErrorObject),
}

/// Where the files of the master may differ from those of this node.
enum Differs {
    /// In these buckets, which may be none.
    In(Buckets),
    /// The master knows, and goes on by itself.
    Known,
}

/// What became of a check that was announced.
enum Announced {
    /// The master waits for the metadata of the files in these buckets.
    Wanted(String, Buckets),
    /// The files are the same.
    Equal,
    /// As [`Differs::Known`].
    Known,
}

impl Integrity<'_> {
    /// Runs a step of a check; none after a failure.
    pub(super) fn check_turn<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, NotChecked>) -> Option<T> {
        let checks = self.checks.clone();
        let damped = |error: &NotChecked| matches!(error, NotChecked::ByTheMaster(_));
        let done = checks.run_damped(damped, || step(self));
        done.inspect_err(|failure| checks.follow_up(|| self.check_failed(failure))).ok()
    }

    fn check_failed(&mut self, failure: &Failure<NotChecked>) {
        match failure {
            // A master that refuses is not to be asked without a pause.
            Failure::Error(NotChecked::NotMade(_)) => (self.checking, self.sooner) = (None, None),
            Failure::Error(NotChecked::ByTheMaster(_)) => self.checking = None,
            Failure::Panic(panic) => self.forget_all(panic),
        }
    }

    /// Asks for a check, and makes it if it is granted.
    pub(super) fn check(&mut self) -> Result<(), NotChecked> {
        match self.try_check() {
            // The session logs why; every task of a connection need not.
            Err(RequestError::Closed { .. }) if self.master.is_closed() => Ok(()),
            checked => checked.map_err(NotChecked::NotMade),
        }
    }

    fn try_check(&mut self) -> Result<(), RequestError> {
        let begun = self.node.clock.now();
        let mut found = None;
        if self.features.digest && !self.was_refused() {
            // Most checks find no difference, and end with this one question.
            let which = self.which();
            let manifest = self.look(which);
            match self.differing(&manifest) {
                Ok(Differs::In(Buckets::NONE)) => {
                    self.equal(begun);
                    return Ok(());
                }
                Ok(Differs::Known) => {
                    self.is_compared(begun);
                    return Ok(());
                }
                Ok(Differs::In(buckets)) => found = Some((manifest, buckets)),
                // The master has not scanned its own files yet.
                Err(RequestError::Refused(error)) => {
                    self.refused(&error.to_string());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let answer = self.master.request(Command::IntegrityPermission, "")?;
        if answer != b"True" {
            self.refused(&format!("b'{}'", answer.escape_ascii()));
            return Ok(());
        }
        debug!(self.checks.scope(), "Permission to synchronize granted.");
        self.sooner = None;
        let started = self.checks.start();
        self.checking = Some(if found.is_some() { begun } else { started });
        let (manifest, buckets) = match found {
            Some(found) => found,
            None => {
                let which = self.which();
                let manifest = self.look(which);
                match self.differing(&manifest)? {
                    Differs::In(buckets) => (manifest, buckets),
                    Differs::Known => return Ok(()),
                }
            }
        };
        let (task, buckets) = match self.announce(&manifest, buckets)? {
            Announced::Wanted(task, buckets) => (task, buckets),
            Announced::Equal => {
                self.in_sync();
                return Ok(());
            }
            Announced::Known => return Ok(()),
        };
        self.send_manifest(&task, &manifest, buckets).inspect_err(|error| {
            let payload = format!("{task} {}", error.to_object().to_json());
            // If this does not arrive either, the master gives the check up by itself.
            let _ = self.master.request(Command::IntegrityCheckFailed, payload);
        })
    }

    /// The master does not permit a check now.
    fn refused(&mut self, answer: &str) {
        let soon = self.node.clock.now() + SOON;
        self.sooner = self.sooner.filter(|(_, tries)| *tries > 1).map(|(_, tries)| (soon, tries - 1));
        debug!(self.checks.scope(), "Master didn't grant permission to start a new synchronization: {answer}");
    }

    /// Whether the master has just refused this check. Then the permission is asked for first, so that the files are not looked
    /// at again and again meanwhile.
    fn was_refused(&self) -> bool {
        self.sooner.is_some_and(|(_, tries)| tries < TRIES)
    }

    /// Announces a check of the files that differ, first of those in these buckets.
    fn announce(&self, manifest: &Manifest, mut buckets: Buckets) -> Result<Announced, RequestError> {
        let mut refused = 0;
        while buckets != Buckets::NONE {
            match self.master.request(Command::IntegrityCheck, buckets.text()) {
                Ok(task) => return Ok(Announced::Wanted(String::from_utf8_lossy(&task).into_owned(), buckets)),
                // The files of the master have changed since it answered where they differ.
                Err(RequestError::Refused(_)) if buckets != Buckets::ALL => refused += 1,
                Err(error) => return Err(error),
            }
            let differs = if refused < PARTS { self.differing(manifest)? } else { Differs::In(Buckets::ALL) };
            match differs {
                Differs::In(others) => buckets = others,
                Differs::Known => return Ok(Announced::Known),
            }
        }
        Ok(Announced::Equal)
    }

    /// Shows the master by one question that the files are the same now; false if a check has to show where they are not.
    pub(super) fn confirm(&mut self) -> bool {
        let begun = self.node.clock.now();
        let manifest = self.look(Which::Finished);
        // If it is not so, or cannot be known, the next check sees to it.
        match self.differing(&manifest) {
            Ok(Differs::In(Buckets::NONE)) => self.equal(begun),
            // They have changed since.
            Ok(Differs::Known) => self.is_compared(begun),
            Ok(Differs::In(_)) | Err(_) => return false,
        }
        true
    }

    /// The master has answered, to a question of that time, that the files are the same.
    fn equal(&mut self, begun: Instant) {
        self.is_compared(begun);
        self.in_sync();
    }

    /// The master knows where the files differ, and shows it; the check began then.
    fn is_compared(&mut self, begun: Instant) {
        self.sooner = None;
        self.checks.start();
        self.checking = Some(begun);
    }

    /// Once in a period a check is about all that may have changed here. What the master has pushed need not wait for that.
    fn which(&mut self) -> Which {
        let now = self.node.clock.now();
        if now < self.thorough {
            return Which::Finished;
        }
        self.thorough = now + self.node.settings.worker.sync_integrity;
        Which::Every
    }

    fn look(&mut self, which: Which) -> Arc<Manifest> {
        let scan = self.files.scanner.lock().look(which, self.kind == ChecksumKind::Blake2b);
        if scan.unreadable.len() != self.unreadable {
            for Unreadable { path, reason } in &scan.unreadable {
                warn!(self.checks.scope(), "'{path}' cannot be read: {reason}; the master's copy will replace it.");
            }
            self.unreadable = scan.unreadable.len();
        }
        scan.manifest
    }

    /// Where the files of the master may differ from these.
    fn differing(&self, manifest: &Manifest) -> Result<Differs, RequestError> {
        if !self.features.digest {
            return Ok(Differs::In(Buckets::ALL));
        }
        let digests = manifest.digests();
        let answer = self.master.request(Command::IntegrityDigest, digests.question())?;
        if self.features.known && Digests::is_known(&answer) {
            return Ok(Differs::Known);
        }
        Ok(Differs::In(digests.differing(&answer)))
    }

    fn send_manifest(&self, task: &str, manifest: &Manifest, buckets: Buckets) -> Result<(), RequestError> {
        let path = archive_path(&self.node.cluster.node_name, &self.node.clock);
        let entries = manifest.within(buckets);
        let count = entries.len();
        debug!(self.checks.scope(), "Compressing 'files_metadata.json' of {count} files.");
        debug!(self.checks.scope(), "Sending zip file.");
        let mut sender = FileSender::begin(self.master, &path, Arc::default())?;
        write_manifest(manifest, &entries, self.kind, self.node.settings.communication.compress_level, &mut sender)
            .map_err(|error| RequestError::Closed { reason: format!("the manifest could not be sent: {error}") })?;
        sender.finish()?;
        self.master.request(Command::IntegrityCheckEnd, format!("{task} {path}"))?;
        debug!(self.checks.scope(), "Zip file sent.");
        Ok(())
    }

    /// The files are those of the master.
    pub(super) fn in_sync(&mut self) {
        self.finish_check("Sync not required.");
        (self.looked_again, self.failing) = (false, 0);
        let (now, wall) = (self.node.clock.now(), self.node.clock.wall());
        let mut state = self.files.state.lock();
        state.standing.equal(now, wall);
        state.applied = Applied::default();
        drop(state);
        self.is_equal();
        self.files.reload.carry_out(self.checks.scope());
    }

    /// The master has come to this verdict.
    pub(super) fn finish_check(&mut self, verdict: &str) {
        let begun = self.checking.take().unwrap_or_else(|| self.node.clock.now());
        self.checks.finish(begun, verdict);
    }
}
