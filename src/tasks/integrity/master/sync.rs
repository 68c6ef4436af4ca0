//! The synchronisation that follows a check which has found differences.

use std::{
    io::Write,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    Integrity,
    archives::{Archive, Copying, Subject},
    check::Check,
};
use crate::{
    connection::{FileSender, RequestError},
    files::{AddError, ContentSum, Difference, Manifest, digest::Digest},
    limits::Job,
    logging::{debug, info},
    tasks::{
        integrity::{ARCHIVE, archive_path, differences::Deltas, sending::UpdateWriter, status::Progress},
        span::Span,
    },
    turn::Failure,
    wire::{Command, ErrorObject},
};

/// A synchronisation that the worker waits for.
struct Announced {
    /// By which it knows it.
    id: String,
    /// Since when.
    at: Instant,
}

/// Why the files did not go out.
#[derive(Debug, thiserror::Error)]
#[error("Error sending files information: {0}")]
struct ArchiveNotSent(#[from] RequestError);

impl Integrity {
    /// Sends what differs, and what the worker is to delete.
    ///
    /// Where a worker was found to lack just what has changed since it had these files, others may lack the same.
    pub(super) fn synchronise(
        &self,
        (check, since): (&Check, Option<(Digest, &Arc<Manifest>)>),
        difference: &mut Difference<'_>,
    ) {
        let subject = since.map(|(since, master)| Subject::new(since, master, check.deltas));
        let counts = difference.counts();
        let clock = &self.shared.node.clock;
        let (start, begun) = (clock.wall(), self.syncs.start());
        info!(
            self.syncs.scope(),
            "Files to create in worker: {} | Files to update in worker: {} | Files to delete in worker: {}",
            counts.create,
            counts.update,
            counts.delete
        );
        self.state.lock().status.sync = Span { start: Some(start), end: None };
        let mut announced = None;
        let sent = self.syncs.run(|| self.send((check, subject), difference, &mut announced).map_err(ArchiveNotSent));
        let mut state = self.state.lock();
        state.granted.sent = Some(self.shared.local.turn());
        let left_out = match sent {
            Ok(left_out) => left_out,
            Err(failure) => {
                drop(state);
                return self.sync_failed(announced, &failure);
            }
        };
        // Before it was announced it waited for others.
        let announced = announced.map_or(begun, |announced| announced.at);
        state.limit.arrived(self.syncs.since(announced), clock.now(), &self.shared.node.settings.communication);
        state.status.files = Some(counts);
        drop(state);
        debug!(self.syncs.scope(), "Zip file sent.");
        if left_out {
            // What changed while it was read has another checksum now; the sooner that is known, the better.
            self.shared.local.wake();
        }
        self.syncs.finish(begun, "");
    }

    /// Lets the worker wait no longer for what was announced to it.
    fn sync_failed(&self, announced: Option<Announced>, failure: &Failure<ArchiveNotSent>) {
        let Some(Announced { id, .. }) = announced else { return };
        let (reason, error) = match failure {
            Failure::Error(ArchiveNotSent(error)) => (error.to_string(), error.to_object()),
            Failure::Panic(_) => (failure.to_string(), ErrorObject::cluster(3000, failure.to_string())),
        };
        self.refused.lock().fail(ARCHIVE, &reason);
        // The answer does not matter: the worker forgets the task, or the connection is gone.
        let _ = self.connection.request(Command::IntegritySyncFailed, format!("{id} {}", error.to_json()));
    }

    /// Sends the archive, and sets what was `announced` as soon as the worker knows it. Gives whether files come with a later
    /// archive.
    ///
    /// Nothing is announced before it is begun to be made: a worker waits only so long for what was announced.
    fn send(
        &self,
        (check, subject): (&Check, Option<Subject>),
        difference: &mut Difference<'_>,
        announced: &mut Option<Announced>,
    ) -> Result<bool, RequestError> {
        let (settings, clock) = (&self.shared.node.settings, &self.shared.node.clock);
        let rules = &settings.communication;
        let local = &self.shared.local;
        let failed = |path: &str, base: &ContentSum| self.refused.lock().could_not_make(path, base);
        let deltas = Deltas { outlines: &local.outlines, cache: &local.deltas, failed: &failed };
        let limit = self.state.lock().limit.bytes();
        let writer = UpdateWriter {
            home: self.shared.node.home.path(),
            level: rules.compress_level,
            limit,
            max_inflated: rules.max_zip_size,
            members: &local.members,
            doubtful: &self.shared.doubtful,
            deltas: check.deltas.then_some(deltas),
        };
        let made = || self.made(subject.as_ref()?, limit);
        let early = made();
        let job = if early.is_some() { Job::Short } else { writer.job(difference) };
        let place = self.shared.packing.wait(job, self.connection.closed());
        let mut place = place.ok_or_else(gone)?;
        if self.state.lock().running.of(&check.task).is_none() {
            return Err(closed("the check was given up before its archive was made"));
        }
        let progress = Arc::new(Progress::new(difference.create.len() + difference.update.len()));
        let path = archive_path(&self.worker, clock);
        let sender = place.aside(|| {
            let id = self.connection.request(Command::IntegritySync, "")?;
            let id = String::from_utf8_lossy(&id).into_owned();
            let Announced { id, at } = announced.insert(Announced { id, at: clock.now() });
            progress.transfer.must_end(*at + rules.timeout_receiving_file);
            let mut state = self.state.lock();
            if let Some(hand) = state.running.of_mut(&check.task) {
                hand.sending = Some((id.clone(), progress.clone()));
            }
            drop(state);
            FileSender::begin(&self.connection, &path, progress.transfer.clone())
        });
        let mut sender = sender.ok_or_else(gone)??.in_line(place);
        debug!(
            self.syncs.scope(),
            "Compressing files and 'files_metadata.json' of {} files.",
            difference.counts().sum()
        );
        debug!(self.syncs.scope(), "Sending zip file.");
        let written = match early.or_else(made) {
            Some(archive) => {
                progress.files.fetch_add(difference.create.len() + difference.update.len(), Ordering::Relaxed);
                sender.write_all(&archive.bytes).map(|()| archive).map_err(AddError::Archive)
            }
            None => {
                let mut out = Copying::new(&mut sender, subject.is_some());
                let report = |level, reason: &str| self.syncs.report(level, reason);
                let written = writer.write(difference, &mut out, &progress.files, report);
                let bytes = out.copy();
                written.map(|written| match (subject, bytes) {
                    (Some(subject), Some(bytes)) if written.left_out.is_empty() => {
                        self.shared.archives.keep(subject, Archive { bytes, written })
                    }
                    (_, bytes) => Arc::new(Archive { bytes: bytes.unwrap_or_default(), written }),
                })
            }
        };
        let sent = match written {
            Ok(archive) => sender.finish().map(|_| archive),
            Err(error) => Err(closed(&format!("the archive could not be sent: {error}"))),
        };
        let archive = sent.inspect_err(|_| {
            let (mut state, bytes) = (self.state.lock(), progress.transfer.sent());
            if progress.transfer.is_cancelled() {
                // What has not begun to go out was kept back by others.
                if bytes > 0 {
                    state.limit.cancelled(bytes, rules);
                }
            } else {
                state.limit.refused(bytes, clock.now(), rules);
            }
        })?;
        let written = &archive.written;
        // Before the worker can report what became of it.
        self.refused.lock().sent(difference, written, clock.now(), settings.worker.sync_integrity);
        // A check that confirms it comes after this, and the worker may make one before it is heard of here again.
        self.state.lock().status.sync.end = Some(clock.wall());
        let id = announced.as_ref().map_or("", |announced| &announced.id);
        self.connection.request(Command::IntegritySyncEnd, format!("{id} {path}"))?;
        Ok(!written.left_out.later.is_empty())
    }

    /// The archive of this subject, if somebody is sending it and this worker can take it: it has what its deltas are made
    /// from, as far as that is known.
    fn made(&self, subject: &Subject, limit: u64) -> Option<Arc<Archive>> {
        let archive = self.shared.archives.find(subject)?;
        let refused = self.refused.lock();
        let can_take = !archive.written.deltas.iter().any(|(path, base)| refused.could_not_make(path, base));
        (can_take && archive.bytes.len() as u64 <= limit).then_some(archive)
    }
}

fn gone() -> RequestError {
    closed("the worker left before its archive was made")
}

fn closed(reason: &str) -> RequestError {
    RequestError::Closed { reason: reason.to_owned() }
}
