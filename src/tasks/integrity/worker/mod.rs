//! The worker's half: asks for a check every 9 s, and applies what the master sends.
//!
//! One thread does all of it, so nothing is checked while something is applied. The session only hands over the
//! messages of the master.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select};
use parking_lot::Mutex;

mod check;
mod diverged;
mod inbox;
mod reload;
mod sync;
#[cfg(test)]
mod tests;

use super::{Applied, status::Standing};
use crate::{
    connection::Connection,
    files::{Ahead, ChecksumKind, Outlines, Scanner},
    logging::scope,
    metrics::Task,
    node::Node,
    session::native::Features,
    system::disk::Disk,
    turn::Turns,
};
use check::NotChecked;
use inbox::Event;
pub use inbox::{Busy, Events, Inbox, channel};
pub use reload::Reload;
use sync::NotSynchronised;

/// How often in a row it is asked again for a check that was refused, at most.
const TRIES: u32 = 20;

/// The longest pause between two checks while a stock master sends files that fail here.
const RARELY: Duration = Duration::from_secs(60);

/// What outlives connections, and what the rest of the node shows of it.
pub struct Files {
    /// The scanner of the worker's own files and its cache. Held by one walk at a time, whose thread holds no
    /// other lock.
    pub scanner: Mutex<Scanner>,
    /// Whether the ruleset is to be loaded anew.
    pub reload: Reload,
    /// What the last check and the last synchronisation came to.
    pub state: Mutex<FileState>,
    disk: Disk,
    /// Of the large ones, as the scanner knows them.
    pub outlines: Arc<Outlines>,
}

/// How the files of this worker stand.
#[derive(Clone, Default)]
pub struct FileState {
    /// What the last check found.
    pub standing: Standing,
    /// What was done with the files that came last, until a check finds no difference.
    pub applied: Applied,
}

impl Files {
    /// Nothing checked yet.
    pub fn new(scanner: Scanner, reload: Reload) -> Self {
        let outlines = scanner.outlines().clone();
        Self { scanner: Mutex::new(scanner), reload, state: Mutex::default(), disk: Disk::default(), outlines }
    }
}

/// The integrity thread of a worker, as long as it is connected.
pub struct Integrity<'a> {
    node: &'a Node,
    master: &'a Connection,
    files: &'a Files,
    features: Features,
    kind: ChecksumKind,
    checks: Arc<Turns>,
    syncs: Arc<Turns>,
    /// When the check that waits for the master's verdict began.
    checking: Option<Instant>,
    /// The synchronisation whose archive is on its way, and when it must have come.
    receiving: Option<(String, Receiver<Instant>)>,
    /// What was read and staged of it while it arrived.
    ahead: Option<Ahead<'a>>,
    /// When a check is asked for at the latest; no message of the master changes it.
    next: Instant,
    /// When it is asked for before that, and how often still, because the master's files have changed since the last one.
    sooner: Option<(Instant, u32)>,
    /// From when on a check is about all files that may have changed here, those that somebody is writing too.
    thorough: Instant,
    /// Whether it was asked for at once after an update, since the last check in its time.
    looked_again: bool,
    unreadable: usize,
    /// How many synchronisations in a row had files that could not be dealt with.
    failing: u32,
}

impl<'a> Integrity<'a> {
    /// For a connection on which this was agreed on.
    pub fn new(node: &'a Node, master: &'a Connection, files: &'a Files, features: Features) -> Self {
        let tag = format!("Worker {}", node.cluster.node_name);
        let turns = |task, subtag| Arc::new(node.turns(task, scope(&tag, subtag)));
        Self {
            node,
            master,
            files,
            features,
            kind: features.checksum(),
            checks: turns(Task::IntegrityCheck, "Integrity check"),
            syncs: turns(Task::IntegritySync, "Integrity sync"),
            checking: None,
            receiving: None,
            ahead: None,
            next: node.clock.now() + node.settings.worker.sync_integrity,
            sooner: None,
            thorough: node.clock.now(),
            looked_again: false,
            unreadable: 0,
            failing: 0,
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
                    Ok(event) => self.take(event),
                    Err(_) => return,
                },
                recv(events.changed.channel()) -> _ => self.hurry(),
                recv(late) -> _ => self.sync_fails(NotSynchronised::Late),
                recv(self.due()) -> _ => {
                    if self.receiving.is_none() {
                        self.check_turn(Self::check);
                    }
                    let now = self.node.clock.now();
                    self.looked_again &= now < self.next;
                    self.next = now + self.period();
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::InSync => {
                self.check_turn(|this| {
                    this.in_sync();
                    Ok(())
                });
            }
            Event::CheckFailed(error) => {
                self.check_turn(|_| Err::<(), _>(NotChecked::ByTheMaster(error)));
            }
            Event::SyncBegins(task) => {
                self.check_turn(|this| {
                    this.finish_check("Sync required.");
                    let limit = this.node.settings.communication.timeout_receiving_file;
                    this.receiving = Some((task, this.node.clock.after(limit)));
                    this.ahead = None;
                    Ok(())
                });
            }
            Event::Arriving(arriving) => self.arrives(arriving),
            Event::Archive(file) => self.apply(file),
            Event::SyncFailed(error) => self.sync_fails(NotSynchronised::NotSent(error)),
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

    /// When the next check is to be asked for. No message of the master makes it later.
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
}
