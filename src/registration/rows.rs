//! What the registrar has to do with the agent database, which may be away.
//!
//! After a failure it is left alone for some seconds, and whoever needs it meanwhile is told so at once: a database that
//! hangs costs the registrar one wait and not one for each request.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use log::Level;

use super::{
    address::without_prefix,
    journal::{Entry, Pending, TellState},
    key,
    lines::Agent,
    table::Table,
};
use crate::{
    agents::{Before, Error, NewAgent, Registered, Store},
    logging::{Repeats, Scope, log},
    system::clock::Clock,
};

/// How long the database is left alone after a failure, or with what it has refused.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// How long it may be told things while others wait for their answers; the rest follows.
pub(super) const TURN: Duration = Duration::from_secs(5);

/// How long what the database refuses is tried again: the group that an agent asks for may be as new as the agent.
const PATIENCE: Duration = Duration::from_secs(120);

/// The agent database, as the registrar uses it.
pub(super) struct Rows {
    store: Store,
    clock: Clock,
    away_until: Cell<Option<Instant>>,
    scope: Scope,
    told: Repeats,
}

impl Rows {
    pub(super) fn new(store: Store, clock: Clock, scope: Scope) -> Self {
        Self { store, clock, away_until: Cell::new(None), scope, told: Repeats::default() }
    }

    /// What is known of an agent; none if that is nothing, or if the database is away.
    pub(super) fn registered(&self, id: &str) -> Option<Registered> {
        let id = id.parse().ok()?;
        self.ask(|store| store.registered(id))?.ok()?
    }

    /// Tells the database what it does not know yet, as far as it can be told now and in this time. Whether it was only the
    /// time that was too short.
    pub(super) fn tell(&self, entries: &mut [Pending], table: &Table, time: Duration) -> bool {
        let now = self.clock.now();
        for pending in entries.iter_mut().filter(|pending| pending.is_due(now)) {
            if self.clock.now().saturating_duration_since(now) > time {
                return true;
            }
            let Some(outcome) = self.ask(|store| tell(store, pending, table)) else { return false };
            let Err(text) = outcome else {
                pending.state = TellState::Told(now);
                continue;
            };
            let again = now.saturating_duration_since(pending.since) < PATIENCE;
            pending.state = if again { TellState::Due(now + PAUSE) } else { TellState::Told(now) };
            let what = match &pending.entry {
                Entry::Added { id, groups, .. } => format!("agent {id} of the groups '{groups}'"),
                Entry::Removed { id, .. } => format!("to remove agent {id}"),
            };
            let next = if again { "it is asked again" } else { "it stays as it is" };
            self.say(Level::Warn, &format!("The agent database refuses {what}; {next}: {text}"));
        }
        false
    }

    /// None if the database is away.
    fn ask<T>(&self, question: impl FnOnce(&Store) -> Result<T, Error>) -> Option<Result<T, String>> {
        if self.away_until.get().is_some_and(|until| self.clock.now() < until) {
            return None;
        }
        match question(&self.store) {
            Ok(answer) => {
                self.away_until.set(None);
                Some(Ok(answer))
            }
            Err(Error::Refused(text)) => Some(Err(text)),
            Err(error) => {
                self.away_until.set(Some(self.clock.now() + PAUSE));
                self.say(
                    Level::Error,
                    &format!(
                        "{error}. Agents are registered all the same, replace none, and come to it when it is back"
                    ),
                );
                None
            }
        }
    }

    fn say(&self, level: Level, text: &str) {
        log!(self.scope, self.told.level(level, text, self.clock.now()), "{text}.");
    }
}

/// Makes the database know one thing. What has been overtaken by client.keys is left out.
fn tell(store: &Store, pending: &Pending, table: &Table) -> Result<(), Error> {
    match &pending.entry {
        Entry::Added { id, hash, date_add, groups } => {
            let agent = table.by_id(id).map(|at| table.agent(at));
            let own = |agent: &Agent| *hash == key::hash(agent.id(), agent.name(), agent.key());
            let (Some(agent), Ok(number)) = (agent.filter(own), id.parse()) else { return Ok(()) };
            let (name, key, ip) = (agent.name(), agent.key(), without_prefix(agent.ip()));
            store.insert(&NewAgent { id: number, name, ip, key, date_add: *date_add, groups })?;
            if groups.is_empty() {
                return Ok(());
            }
            store.assign(number, groups, if pending.recovered { Before::Keep } else { Before::Replace })
        }
        Entry::Removed { id, .. } => match id.parse() {
            // The row of one that has the same id now is made right when that is told.
            Ok(number) if table.by_id(id).is_none() => store.remove(number),
            _ => Ok(()),
        },
    }
}
