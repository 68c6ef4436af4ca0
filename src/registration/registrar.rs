//! The `registrar` thread: the only one that changes client.keys.
//!
//! ```text
//!  all requests that wait ─► the table ─► agents-pending ─► client.keys ─► agents-timestamp ─► the database ─► answers
//!                            (memory)     (durable)         (durable)
//! ```
//! However many wait, the files are written once for all of them, and nobody is answered before. A request that finds the
//! file changed by somebody else begins anew with what it says now.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, never, select};
use log::Level;

use super::{
    Given,
    answer::Refusal,
    embedded::{Asked, Rest, Work},
    file::{KeysFile, NotWritten, Written},
    journal::{Entry, Journal},
    key, leftovers,
    lines::Agent,
    outcome::{Outcome, Outside},
    request::Request,
    rows::{PAUSE, Rows, TURN},
    timestamps,
};
use crate::{
    agents::{Covered, Store},
    config::{Auth, Home},
    election::{Candidate, Change, NotRecorded},
    files::Outlines,
    logging::{Repeats, Scope, error, info, log, scope},
    system::{clock::Clock, disk::Disk, memory, shutdown::Shutdown, thread::guard},
};

/// Requests that are done at a time.
const BATCH: usize = 512;

/// How often a batch begins anew because somebody else changes client.keys all the time.
const ATTEMPTS: u32 = 10;

/// After this long without a request the memory that client.keys takes is given back.
const IDLE: Duration = Duration::from_secs(60);

/// How long whoever asks may have to wait for what an earlier run, or an earlier master, has left.
pub(super) const SLICE: Duration = Duration::from_millis(50);

/// Who is told of changes of client.keys.
pub(super) struct Hearers {
    /// When the rows are made.
    pub(super) covered: Covered,
    /// Before the file is written: what is known of it to those who scan the files.
    pub(super) outlines: Option<Arc<Outlines>>,
    /// When the file is written, and at the beginning: the largest id that was given.
    pub(super) changed: Box<dyn Fn(u32) + Send>,
}

/// What the thread works with.
pub(super) struct Setup {
    pub(super) home: Home,
    pub(super) auth: Auth,
    /// The agent database, for the registrar alone.
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) disk: Disk,
    pub(super) order: Shutdown,
    /// No id up to this one is given.
    pub(super) floor: u32,
    /// Records what is registered, on a master that was elected.
    pub(super) candidate: Option<Arc<Candidate>>,
}

/// What the thread owns.
pub(super) struct Registrar {
    pub(super) home: Home,
    auth: Auth,
    clock: Clock,
    disk: Disk,
    own_name: String,
    pub(super) file: KeysFile,
    pub(super) journal: Journal,
    rows: Rows,
    work: Receiver<Work>,
    order: Shutdown,
    candidate: Option<Arc<Candidate>>,
    hearers: Hearers,
    used: Instant,
    /// Whether there is more to be told at once.
    behind: bool,
    scope: Scope,
    told: Repeats,
}

impl Registrar {
    /// The thread's part.
    pub(super) fn new(setup: Setup, work: Receiver<Work>, hearers: Hearers) -> Self {
        let Setup { home, auth, store, clock, disk, order, floor, candidate } = setup;
        let (scope, now) = (scope("Cluster", "Registration"), clock.now());
        let journal = Journal::open(home.agents_pending(), disk.clone(), now).unwrap_or_else(|error| {
            error!(
                scope,
                "{} cannot be read: {error}. Agents whose registration was interrupted may lack their groups; let the \
                 user of this daemon read it.",
                home.agents_pending().display()
            );
            Journal::empty(home.agents_pending(), disk.clone())
        });
        Self {
            file: KeysFile::new(home.client_keys(), home.highest_id(), floor, auth.purge, disk.clone())
                .with_outlines(hearers.outlines.clone()),
            rows: Rows::new(store, clock.clone(), scope.clone()),
            own_name: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default(),
            home,
            auth,
            clock,
            disk,
            journal,
            work,
            order,
            candidate,
            hearers,
            used: now,
            behind: false,
            scope,
            told: Repeats::default(),
        }
    }

    /// The thread: runs until the order to stop.
    pub(super) fn run(mut self) {
        self.recover();
        if self.file.table().is_ok() {
            (self.hearers.changed)(self.file.counter());
        }
        let (work, order) = (self.work.clone(), self.order.clone());
        loop {
            let pause = match (self.journal.entries.is_empty(), self.file.is_known()) {
                (false, _) => self.clock.after(if self.behind { Duration::ZERO } else { PAUSE }),
                (true, true) => self.clock.after(IDLE),
                (true, false) => never(),
            };
            select! {
                recv(work) -> first => match first {
                    Ok(Work::Request(first)) => self.batch(first),
                    Ok(Work::Rest(rest)) => self.rest(&rest),
                    Err(_) => return,
                },
                recv(order.channel()) -> _ => return,
                recv(pause) -> _ => self.idle(),
            }
        }
    }

    /// Does what an interrupted run has left of removed agents; what the database must know is told like any other.
    pub(super) fn recover(&mut self) {
        if self.journal.entries.is_empty() {
            return;
        }
        let Ok(table) = self.file.table() else { return };
        for pending in &self.journal.entries {
            if let Entry::Removed { id, name } = &pending.entry {
                let id = Some(&**id).filter(|id| table.by_id(id).is_none());
                leftovers::remove(
                    &self.disk,
                    &self.home,
                    id,
                    Some(&**name).filter(|name| table.by_name(name, &[]).is_none()),
                );
            }
        }
        self.idle();
    }

    /// What is to be done while nobody asks.
    pub(super) fn idle(&mut self) {
        let now = self.clock.now();
        if self.journal.entries.iter().any(|pending| pending.is_due(now)) {
            self.catch_up(SLICE);
        } else if now.saturating_duration_since(self.used) >= IDLE && self.file.is_known() {
            self.file.forget();
            memory::give_back();
        }
        if self.journal.drop_old(now)
            && let Err(error) = self.journal.write()
        {
            self.say(Level::Warn, &self.home.agents_pending(), &error, "What it says is done twice after a restart");
        }
    }

    /// Tells the database what it does not know yet, as far as that is possible in this time.
    fn catch_up(&mut self, time: Duration) {
        let table = self.file.table();
        self.behind = table.is_ok_and(|table| self.rows.tell(&mut self.journal.entries, table, time));
    }

    /// Carries out all requests that wait, up to an order to rest.
    fn batch(&mut self, first: Asked) {
        let mut works = vec![first];
        let mut rest = None;
        for work in self.work.try_iter().take(BATCH - 1) {
            match work {
                Work::Request(asked) => works.push(asked),
                Work::Rest(order) => {
                    rest = Some(order);
                    break;
                }
            }
        }
        works.retain(|work| work.ticket.take());
        if let Err(panic) = guard(|| self.carry_out(&works)) {
            error!(self.scope, "Requests failed: {panic}. Please report this.");
            self.file.forget();
        }
        self.used = self.clock.now();
        if let Some(rest) = rest {
            self.rest(&rest);
        }
    }

    /// Does nothing until the order is over, or the node stops.
    fn rest(&mut self, rest: &Rest) {
        self.catch_up(TURN);
        let given = Given { highest: self.file.counter(), is_told: self.journal.is_told() };
        // Whoever has ordered it may have given up.
        let _ = rest.begun.try_send(given);
        select! {
            recv(rest.over) -> _ => (),
            recv(self.order.channel()) -> _ => (),
        }
    }

    /// Carries out requests and answers them.
    pub(super) fn carry_out(&mut self, works: &[Asked]) {
        let requests: Vec<&Request> = works.iter().map(|work| &work.request).collect();
        let (answers, removed) = self.answers(&requests);
        works.iter().zip(answers).for_each(|(work, answer)| work.ticket.answer(answer));
        // A large folder is not to keep anybody waiting.
        for agent in &removed {
            leftovers::remove(&self.disk, &self.home, Some(agent.id()), Some(agent.name()));
        }
    }

    /// The answers to requests that are durable, and the agents that are removed.
    pub(super) fn answers(&mut self, requests: &[&Request]) -> (Vec<Vec<u8>>, Vec<Agent>) {
        self.journal.drop_old(self.clock.now());
        let before = self.journal.entries.len();
        for _ in 0..ATTEMPTS {
            let outcomes = match self.apply(requests) {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    self.say(
                        Level::Error,
                        &self.home.client_keys(),
                        &error,
                        "No agent can be registered until it can be read",
                    );
                    return (vec![Refusal::Internal.answer(); requests.len()], vec![]);
                }
            };
            let failed = match self.persist(&outcomes, before) {
                Ok(()) => return Outcome::finish(outcomes),
                Err(failed) => failed,
            };
            self.file.forget();
            self.journal.entries.truncate(before);
            match failed {
                NotDurable::Changed => {}
                NotDurable::Record(why) => {
                    let text = format!("No agent is registered or removed: {why}");
                    log!(self.scope, self.told.level(Level::Error, &text, self.clock.now()), "{text}.");
                    return (outcomes.into_iter().map(Outcome::fail).collect(), vec![]);
                }
                NotDurable::Disk(path, error) => {
                    let remedy = "No agent is registered or removed; make room on the disk, and let the user of this daemon \
                                  write to the folder";
                    self.say(Level::Error, &path, &error, remedy);
                    return (outcomes.into_iter().map(Outcome::fail).collect(), vec![]);
                }
            }
        }
        let error = io::Error::other("another program changes it all the time");
        self.say(Level::Error, &self.home.client_keys(), &error, "No agent is registered or removed");
        (vec![Refusal::Internal.answer(); requests.len()], vec![])
    }

    /// Does the requests in memory.
    fn apply(&mut self, requests: &[&Request]) -> io::Result<Vec<Outcome>> {
        let Self { home, auth, clock, own_name, file, rows, .. } = self;
        let table = file.table()?;
        let outside = Outside { home, now: seconds(clock), own_name, rows };
        Ok(requests.iter().map(|request| Outcome::of(request, table, auth, &outside)).collect())
    }

    /// Makes what the outcomes change durable, then tells everybody. The journal has so many entries of `before`: nobody
    /// waits for those here.
    fn persist(&mut self, outcomes: &[Outcome], before: usize) -> Result<(), NotDurable> {
        if !outcomes.iter().any(Outcome::changes) {
            return Ok(());
        }
        let (now, date_add) = (self.clock.now(), seconds(&self.clock));
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            for agent in &outcome.removed {
                removed.push(agent.id().to_owned());
                let (id, name) = (agent.id().to_owned(), agent.name().to_owned());
                self.journal.push(Entry::Removed { id, name }, now);
            }
            if let Some((agent, groups)) = &outcome.added {
                added.push(agent.clone());
                let hash = key::hash(agent.id(), agent.name(), agent.key());
                let (id, groups) = (agent.id().to_owned(), groups.clone());
                self.journal.push(Entry::Added { id, hash, date_add, groups }, now);
            }
        }
        self.journal.write().map_err(|error| NotDurable::Disk(self.home.agents_pending(), error))?;
        let recorded = self.record(outcomes, date_add)?;
        let Written { from, to } = self.file.write().map_err(|failed| {
            self.candidate.iter().for_each(|candidate| candidate.unrecord(&recorded));
            match failed {
                NotWritten::Changed => NotDurable::Changed,
                NotWritten::Disk(error) => NotDurable::Disk(self.home.client_keys(), error),
            }
        })?;
        if let (Some(candidate), Some(last)) = (&self.candidate, recorded.last()) {
            candidate.made(*last);
        }
        (self.hearers.changed)(self.file.counter());
        outcomes.iter().flat_map(|outcome| &outcome.lines).for_each(|line| info!(self.scope, "{line}"));
        // If it cannot be read now, what is pending is told later.
        let Ok(table) = self.file.table() else { return Ok(()) };
        // One that came and went at once is not there.
        added.retain(|agent| table.by_id(agent.id()).is_some_and(|at| table.agent(at) == *agent));
        let path = self.home.agents_timestamp();
        let written = timestamps::update(&self.disk, &path, &removed, &added, self.clock.wall());
        self.behind |= self.rows.tell(&mut self.journal.entries[before..], table, TURN);
        if let Some(from) = from.filter(|_| self.journal.is_told()) {
            self.hearers.covered.follow(from, to);
        }
        if let Err(error) = written {
            self.say(Level::Warn, &path, &error, "When agents were registered is in the agent database only");
        }
        Ok(())
    }

    /// Has what the outcomes change recorded, where another node may be the master at any time; gives the numbers of the
    /// records.
    fn record(&mut self, outcomes: &[Outcome], date: i64) -> Result<Vec<u64>, NotDurable> {
        let Some(candidate) = &self.candidate else { return Ok(Vec::new()) };
        let mut changes = Vec::new();
        for outcome in outcomes {
            let removed = |agent: &Agent| Change::Removed { id: agent.id().to_owned(), name: agent.name().to_owned() };
            changes.extend(outcome.removed.iter().map(removed));
            if let Some((agent, groups)) = &outcome.added {
                changes.push(Change::Added { line: agent.line().to_owned(), groups: groups.clone(), date });
            }
        }
        let counter = self.file.next_counter();
        candidate.record(&changes, counter).map_err(NotDurable::Record)
    }

    fn say(&self, level: Level, path: &Path, error: &io::Error, consequence: &str) {
        let text = format!("{}: {error}. {consequence}.", path.display());
        log!(self.scope, self.told.level(level, &text, self.clock.now()), "{text}");
    }
}

/// Why nothing was made durable.
enum NotDurable {
    Changed,
    Record(NotRecorded),
    Disk(std::path::PathBuf, io::Error),
}

fn seconds(clock: &Clock) -> i64 {
    clock.wall().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
