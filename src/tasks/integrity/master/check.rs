//! One check, from the worker's announcement to its verdict.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use crossbeam_channel::{Receiver, select};
use log::Level;

use super::{Arrived, Integrity};
use crate::{
    connection::ReceivedFile,
    files::{
        Buckets, Changes, ChecksumKind, Counts, Difference, LONGEST_METADATA, Manifest, RemoteManifest, compare,
        digest::Digest, survey,
    },
    logging::{debug, error, warn},
    system::memory,
    tasks::{integrity::Held, span::Span},
    wire::{Class, Command, ErrorObject, NO_TASK},
};

/// What lets go what is held back.
const CONFIRM: &str = "confirm it on the master with 'cluster_control --confirm-deletions'";

/// What a check has found.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    /// The worker has the files of this manifest.
    Equal(&'a Arc<Manifest>),
    /// It differs in these, of which some may be held back.
    Behind(Counts, Option<Held>),
}

/// What is to be compared.
pub(super) struct Check {
    /// Its id.
    pub(super) task: String,
    /// The checksum of the link.
    pub(super) kind: ChecksumKind,
    /// Whether the worker runs this daemon, and understands that a check was given up.
    pub(super) is_native: bool,
    /// Whether it takes files as deltas.
    pub(super) deltas: bool,
    /// The files.
    pub(super) buckets: Buckets,
    /// What they are compared with; if none, the manifest in force when the worker's has come.
    pub(super) about: Option<Arc<Manifest>>,
}

impl Integrity {
    /// The thread of one check.
    pub(super) fn run(&self, check: &Check, arrives: &Receiver<Arrived>) {
        self.carry_out(check, || self.check(check, arrives));
        memory::give_back();
    }

    /// The same of a worker that lacks these changes.
    pub(super) fn run_known(&self, check: &Check, changes: &Changes) {
        self.carry_out(check, || {
            self.checks.start();
            let Some(master) = &check.about else { return Ok(()) };
            let begun = (self.shared.node.clock.wall(), self.shared.node.clock.now());
            let (difference, remote) = (Difference::of(changes, master), changes.before());
            if self.judge(check, begun, (master, remote), difference, Some(changes.since)) {
                self.tell_in_sync();
            }
            Ok(())
        });
        memory::give_back();
    }

    /// Whatever comes of it, the worker may ask for another check afterwards.
    pub(super) fn carry_out(&self, check: &Check, turn: impl FnOnce() -> Result<(), String>) {
        let checked = self.checks.run(turn);
        if let Err(failure) = checked
            && check.is_native
        {
            self.checks.follow_up(|| self.tell_given_up(&failure.to_string()));
        }
        self.state.lock().running.end(&check.task);
    }

    /// # Errors
    /// Why there is no verdict.
    fn check(&self, check: &Check, arrives: &Receiver<Arrived>) -> Result<(), String> {
        self.checks.start();
        let &Check { kind, buckets, .. } = check;
        let start = self.shared.node.clock.wall();
        let Some((path, file)) = self.wait_for_manifest(&check.task, arrives)? else { return Ok(()) };
        debug!(
            self.checks.scope(),
            "Received file from worker: '{}'",
            self.shared.node.home.path().join(path).display()
        );
        let begun = (start, self.shared.node.clock.now());
        let Some(master) = check.about.clone().or_else(|| self.shared.local.manifest(kind)) else {
            warn!(
                self.checks.scope(),
                "The files of this node have not been calculated with this worker's kind of checksum yet; the worker \
                 is compared at its next check."
            );
            return Ok(());
        };
        let sum = file.sha256;
        if self.known_in_sync(&sum, buckets, &master) {
            self.finish_check(Level::Info, begun, master.entries().len(), Found::Equal(&master));
            self.tell_in_sync();
            return Ok(());
        }
        let reading = self.shared.reading.lock();
        let remote =
            read_manifest(file, kind).map_err(|reason| format!("The worker's manifest is refused: {reason}"))?;
        let _room = self.connection.hold(remote.size()).map_err(|_| NO_ROOM)?;
        drop(reading);
        if self.compare(check, begun, &master, &remote)? {
            self.state.lock().in_sync = Some((sum, buckets, master));
            self.tell_in_sync();
        }
        Ok(())
    }

    /// Compares the worker's files with those of `master`, and sends what differs. Gives whether they are the same; the
    /// worker does not know it yet then.
    ///
    /// # Errors
    /// Why there is no verdict.
    fn compare(
        &self,
        check: &Check,
        begun: (SystemTime, Instant),
        master: &Arc<Manifest>,
        remote: &RemoteManifest,
    ) -> Result<bool, String> {
        let difference = compare(master, remote, check.kind, check.buckets);
        let difference = difference.map_err(|error| format!("The comparison failed: {error}"))?;
        Ok(self.judge(check, begun, (master, remote), difference, None))
    }

    /// Sends what is to be sent of this difference; gives whether there is none. `since` is the digest of the files that the
    /// worker has, where it was found by that alone: others may lack the same.
    fn judge(
        &self,
        check: &Check,
        begun: (SystemTime, Instant),
        (master, remote): (&Arc<Manifest>, &RemoteManifest),
        mut difference: Difference<'_>,
        since: Option<Digest>,
    ) -> bool {
        let all = difference.counts();
        // What has come since is not surplus any more.
        if let Some(now) = self.shared.local.manifest(check.kind).filter(|now| !Arc::ptr_eq(now, master)) {
            difference.delete.retain(|entry| now.find(&entry.path).is_none());
        }
        // What is in no bucket of this check is there too, and known to be the same.
        let files = difference.others + remote.entries().len();
        let behind = difference.counts();
        let keyless = self.shared.local.began_keyless();
        let held = self.shared.deletions.hold(&self.worker, &mut difference, (master, remote), keyless);
        if let Some(held) = held {
            self.tell_held(held);
        }
        let is_equal = behind.sum() == 0 && held.is_none();
        let found = if is_equal { Found::Equal(master) } else { Found::Behind(behind, held) };
        self.finish_check(Level::Info, begun, files, found);
        let pauses = self.refused.lock().hold(&mut difference, self.shared.node.clock.now());
        self.tell_refused();
        match (difference.is_empty(), held) {
            (false, _) => {
                let since = since.filter(|_| difference.counts() == all);
                self.synchronise((check, since.map(|since| (since, master))), &mut difference);
            }
            (true, _) if let Some((files, pause)) = pauses => {
                let reason = format!("{files} files that it could not take are sent again in {}s", pause.as_secs());
                debug!(self.checks.scope(), "Of {}: {reason}.", self.worker);
                if check.is_native {
                    self.tell_given_up("the files that could not be written are sent again after a pause");
                }
            }
            // A stock worker has no word for this, and is not to compare itself for ever.
            (true, Some(held)) if check.is_native => self.tell_given_up(&format!("{held}; {CONFIRM}")),
            (true, Some(_)) => self.tell_in_sync(),
            (true, None) => return true,
        }
        false
    }

    fn tell_held(&self, held: Held) {
        // How many files there are besides is no news.
        let fact = format!("{} {}", held.deletions, held.keys);
        let remedy = format!("If that is to be, {CONFIRM}; if not, restore the files of this node.");
        self.checks.report_as(Level::Error, &fact, &format!("Of {}: {held}. {remedy}", self.worker));
    }

    pub(super) fn finish_check(
        &self,
        level: Level,
        (start, begun): (SystemTime, Instant),
        files: usize,
        found: Found<'_>,
    ) {
        let clock = &self.shared.node.clock;
        let (now, end) = (clock.now(), clock.wall());
        let mut state = self.state.lock();
        state.status.check = Span { start: Some(start), end: Some(end) };
        match found {
            Found::Equal(master) => {
                // If these are not the files of this node any more, the next check shows how the worker stands.
                if let Some(generation) = self.shared.local.generation_of(master) {
                    state.status.standing.equal(now, end);
                    state.shown = Some(generation);
                }
                state.status.held = None;
            }
            Found::Behind(behind, held) => {
                state.status.standing.differs(behind, end);
                state.status.held = held;
            }
        }
        drop(state);
        if matches!(found, Found::Equal(_)) {
            self.refused.lock().clear();
            self.tell_refused();
        }
        let verdict = if matches!(found, Found::Equal(_)) { "Sync not required." } else { "Sync required." };
        self.checks.finish_at(level, begun, &format!("Received metadata of {files} files. {verdict}"));
    }

    /// Reports to a worker running this daemon that there is no verdict, and why. A stock one asks again all the same.
    fn tell_given_up(&self, reason: &str) {
        let error = ErrorObject::cluster(3000, reason).to_json();
        // A worker that does not take it asks again at its next turn.
        let _ = self.connection.request(Command::IntegritySyncFailed, format!("{NO_TASK} {error}"));
    }

    fn tell_in_sync(&self) {
        if let Err(error) = self.connection.request(Command::IntegrityInSync, "") {
            error!(self.checks.scope(), "The worker could not be told that it is in sync: {error}");
        }
    }

    /// None if the worker has given up itself, or is gone.
    ///
    /// # Errors
    /// When it does not come.
    fn wait_for_manifest(
        &self,
        task: &str,
        arrives: &Receiver<Arrived>,
    ) -> Result<Option<(String, ReceivedFile)>, String> {
        let limit = self.shared.node.settings.communication.timeout_receiving_file;
        let arrived = select! {
            recv(arrives) -> arrived => arrived.ok(),
            recv(self.connection.closed()) -> _ => None,
            recv(self.shared.node.clock.after(limit)) -> _ => {
                let error = ErrorObject::new(Class::Cluster, 3039);
                let _ = self.connection.request(Command::CancelTask, format!("{task} {}", error.to_json()));
                return Err(error.to_string());
            }
        };
        Ok(match arrived {
            Some(Arrived::File(path, file)) => Some((path, file)),
            Some(Arrived::Failed) | None => None,
        })
    }

    fn known_in_sync(&self, sum: &[u8; 32], buckets: Buckets, master: &Arc<Manifest>) -> bool {
        let state = self.state.lock();
        let same = |(known, about, manifest): &([u8; 32], Buckets, Arc<Manifest>)| {
            known == sum && *about == buckets && Arc::ptr_eq(manifest, master)
        };
        state.in_sync.as_ref().is_some_and(same)
    }
}

/// Why a check is given up when the node holds too much.
const NO_ROOM: &str = "There is no room for the worker's manifest: this node holds too much for its peers.";

/// The manifest in a worker's archive, which may hold nothing else: a worker never sends files.
fn read_manifest(mut file: ReceivedFile, kind: ChecksumKind) -> Result<RemoteManifest, String> {
    let found = survey(&mut file.file, kind, LONGEST_METADATA as u64).map_err(|error| error.to_string())?;
    if let Some(name) = found.members.keys().next() {
        return Err(ErrorObject::cluster(3007, format!("'{name}'")).to_string());
    }
    RemoteManifest::parse(&found.metadata, kind).map_err(|error| error.to_string())
}
