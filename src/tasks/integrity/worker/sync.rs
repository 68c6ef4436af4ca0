//! One synchronisation: applies what the master sends, and reports what became of it.

use log::Level;

use super::Integrity;
use crate::{
    connection::{Arriving, ReceivedFile},
    files::{self, Ahead, ArchiveError, Contents, Target, Update, What},
    logging::{debug, error, info},
    system::memory,
    tasks::integrity::Applied,
    turn::Failure,
    wire::{Class, Command, ErrorObject, NO_TASK},
};

/// Why the files of the master did not come here.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSynchronised {
    #[error("{}", timeout())]
    Late,
    #[error("The master could not send the files: '{0}'")]
    NotSent(ErrorObject),
    #[error("The synchronisation failed: {}", refusal(.0))]
    Refused(ArchiveError),
    /// What this node had alone as the master of this term has no place.
    #[error(
        "Nothing of the new master is applied: what this node had alone as the master of term {0} cannot be set aside in \
         queue/diverged/{0}: {1}. Make room, and let the user of this daemon write there"
    )]
    NotSetAside(u64, std::io::Error),
}

/// Files that could not be dealt with, of one synchronisation, that the log names.
const NAMED: usize = 100;

fn timeout() -> ErrorObject {
    ErrorObject::new(Class::Cluster, 3039)
}

fn refusal(error: &ArchiveError) -> ErrorObject {
    ErrorObject::cluster(3040, format!("the archive is refused: {error}"))
}

impl<'a> Integrity<'a> {
    /// Runs a step of a synchronisation.
    ///
    /// # Errors
    /// What it failed by; all that follows from that is done.
    pub(super) fn sync_turn<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, NotSynchronised>,
    ) -> Result<T, Failure<NotSynchronised>> {
        let syncs = self.syncs.clone();
        syncs.run(|| step(self)).inspect_err(|failure| syncs.follow_up(|| self.sync_failed(failure)))
    }

    /// Records a failure that came from outside of a turn.
    pub(super) fn sync_fails(&mut self, reason: NotSynchronised) {
        // What follows from it is done.
        let _ = self.sync_turn(|_| Err::<(), _>(reason));
    }

    fn sync_failed(&mut self, failure: &Failure<NotSynchronised>) {
        let under_way = self.receiving.take();
        self.ahead = None;
        match failure {
            Failure::Error(NotSynchronised::Late) => {
                let Some((task, _)) = under_way else { return };
                // A master that does not get this sends the rest for nothing.
                let _ = self.master.request(Command::CancelTask, format!("{task} {}", timeout().to_json()));
            }
            // An archive that has no room here is followed by a smaller one, with the keys.
            Failure::Error(NotSynchronised::NotSent(_)) if self.features.digest => self.look_again(),
            Failure::Error(NotSynchronised::NotSent(_) | NotSynchronised::NotSetAside(..)) => (),
            Failure::Error(NotSynchronised::Refused(error)) => {
                self.failing = self.failing.saturating_add(1);
                let applied = Applied::refused(error);
                self.tell_applied(&applied);
                self.files.state.lock().applied = applied;
                self.tell_failed(&refusal(error));
            }
            Failure::Panic(panic) => self.forget_all(panic),
        }
    }

    /// After a panic nothing is under way any more, and the master need not wait for it.
    pub(super) fn forget_all(&mut self, panic: &str) {
        (self.checking, self.receiving, self.sooner) = (None, None, None);
        self.tell_failed(&ErrorObject::cluster(3040, format!("the worker failed: {panic}")));
    }

    fn tell_failed(&self, error: &ErrorObject) {
        let _ = self.master.request(Command::IntegrityCheckFailed, format!("{NO_TASK} {}", error.to_json()));
    }

    /// The archive begins to come: reads it meanwhile, and stages what is large.
    pub(super) fn arrives(&mut self, arriving: Arriving) {
        let Some((_, late)) = &self.receiving else { return };
        let mut arriving = arriving.until(late.clone());
        // The outcome is that of the synchronisation; this is a step on the way.
        let _ = self.sync_turn(|this| this.read_ahead(&mut arriving));
    }

    /// # Errors
    /// When the archive does not come in time. If it does not come whole, or is none, that is told by who receives it.
    fn read_ahead(&mut self, arriving: &mut Arriving) -> Result<(), NotSynchronised> {
        self.ahead = None;
        let (limit, file) = (self.node.settings.communication.max_zip_size, arriving.file().try_clone());
        let Ok(file) = file else { return Ok(()) };
        let ahead = Ahead::read(arriving, &file, &self.node.items, self.kind, limit, &self.target());
        if arriving.is_late() {
            return Err(NotSynchronised::Late);
        }
        self.ahead = ahead.ok();
        Ok(())
    }

    fn target(&self) -> Target<'a> {
        Target {
            home: self.node.home.path(),
            owner: self.node.owner.map(|owner| (owner.uid, owner.gid)),
            disk: &self.files.disk,
            outlines: self.features.delta.then_some(&*self.files.outlines),
        }
    }

    /// The archive has come: applies it and shows the master what came of it.
    pub(super) fn apply(&mut self, file: ReceivedFile) {
        self.receiving = None;
        let synchronised = self.sync_turn(|this| this.synchronise(file));
        if matches!(synchronised, Err(Failure::Panic(_))) {
            return;
        }
        let loaded = self.sync_turn(|this| {
            memory::give_back();
            this.files.reload.carry_out(this.syncs.scope());
            Ok(())
        });
        if loaded.is_err() {
            return;
        }
        let confirmed = self.features.digest.then(|| self.check_turn(|this| Ok(this.confirm()))).flatten();
        if confirmed == Some(false) && matches!(synchronised, Ok(true)) {
            self.look_again();
        }
    }

    /// Asks for a check at once, after an update that did not come to its end, or was not confirmed: what the master
    /// protects is not in its digests. If that finds a difference again, the next one comes in its time.
    fn look_again(&mut self) {
        if !std::mem::replace(&mut self.looked_again, true) {
            self.hurry();
        }
    }

    /// Whether all of the update was applied.
    fn synchronise(&mut self, file: ReceivedFile) -> Result<bool, NotSynchronised> {
        let begun = self.syncs.start();
        let target = self.target();
        let limit = self.node.settings.communication.max_zip_size;
        // A master running this daemon sends nothing but what it has scanned.
        let contents = if self.features.any() { Contents::AsScanned } else { Contents::OrNewer { home: target.home } };
        let ahead = self.ahead.take().filter(|ahead| ahead.is_of(&file.file, self.kind));
        let update = match ahead {
            Some(ahead) => Update::open_read(file.file, &self.node.items, self.kind, contents, limit, ahead),
            None => Update::open(file.file, &self.node.items, self.kind, contents, limit),
        };
        let update = update.map_err(NotSynchronised::Refused)?;
        let counts = update.counts();
        self.files.state.lock().standing.differs(counts, self.node.clock.wall());
        let scope = self.syncs.scope();
        info!(
            scope,
            "Files to create: {} | Files to update: {} | Files to delete: {}",
            counts.create,
            counts.update,
            counts.delete
        );
        debug!(scope, "Worker does not meet integrity checks. Actions required.");
        debug!(scope, "Updating local files: Start.");
        let earlier = std::mem::take(&mut self.files.state.lock().applied).without(|path| update.names(path));
        self.set_aside(&update)?;
        // A file that is a mount of its own may be written over, and nobody who watches its directory is told.
        self.files.scanner.lock().suspect(update.paths());
        let outcome = update.apply(&target);
        debug!(scope, "Updating local files: End.");
        self.report_failures(&outcome.failures);
        self.report_unsettled(&outcome.unsettled);
        self.report_other_base(&outcome.other_base);
        self.failing = if outcome.failures.is_empty() { 0 } else { self.failing.saturating_add(1) };
        let applied = Applied::new(&outcome);
        self.tell_applied(&applied);
        self.files.state.lock().applied = applied.and(earlier);
        self.syncs.finish(begun, "");
        Ok(outcome.failures.is_empty())
    }

    fn tell_applied(&self, applied: &Applied) {
        if self.features.applied {
            // It is for people to see; a master that takes nothing now learns of it after the next synchronisation.
            self.master.tell(Command::IntegrityApplied, applied.to_json());
        }
    }

    fn report_failures(&self, failures: &[files::Failure]) {
        for files::Failure { path, what, reason } in failures.iter().take(NAMED) {
            let done = match what {
                What::Create => "created",
                What::Update => "updated",
                What::Delete => "deleted",
                What::Sync => "written to the disk for good",
            };
            let text = format!("'{path}' could not be {done}: {reason}.");
            self.syncs.report(Level::Error, &text);
        }
        if !failures.is_empty() {
            let count = |wanted| failures.iter().filter(|failure| failure.what == wanted).count();
            error!(
                self.syncs.scope(),
                "Found errors: {} overwriting, {} creating and {} removing",
                count(What::Update),
                count(What::Create),
                count(What::Delete)
            );
        }
    }

    /// These are sent as a whole after the next check, which follows at once.
    fn report_other_base(&self, paths: &[String]) {
        for path in paths.iter().take(NAMED) {
            let text =
                format!("'{path}' is not what the difference that the master sent was made from; it comes as a whole.");
            self.syncs.report(Level::Info, &text);
        }
    }

    /// These are for information: the next check brings them.
    fn report_unsettled(&self, paths: &[String]) {
        for path in paths.iter().take(NAMED) {
            let text = format!("'{path}' was being changed on the master when it was sent; the next check brings it.");
            self.syncs.report(Level::Info, &text);
        }
    }
}
