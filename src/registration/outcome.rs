//! What a request leads to, before it is written.

use super::{
    add::{Added, World, add},
    address::without_prefix,
    answer::{self, Refusal},
    lines::Agent,
    request::{Add, Request},
    rows::Rows,
    table::Table,
};
use crate::{
    agents::{Registered, is_group},
    config::{Auth, Home},
};

/// What a request leads to.
pub(super) struct Outcome {
    answer: Vec<u8>,
    /// What is answered if it cannot be written.
    failure: Option<Refusal>,
    /// A new agent, and the groups that it asked for, joined by commas.
    pub(super) added: Option<(Agent, String)>,
    pub(super) removed: Vec<Agent>,
    /// For the log, when it is done.
    pub(super) lines: Vec<String>,
}

impl Outcome {
    /// Does a request in the table.
    pub(super) fn of(request: &Request, table: &mut Table, auth: &Auth, outside: &Outside<'_>) -> Self {
        let done = match request {
            Request::Add(request) => register(table, request, auth, outside),
            Request::Remove { id, purge } => remove(table, id, *purge || auth.purge).ok_or(Refusal::UnknownId),
            Request::Get { id } => table.by_id(id).ok_or(Refusal::UnknownId).map(|at| {
                let agent = table.agent(at);
                Self::plain(answer::agent(agent.id(), agent.name(), without_prefix(agent.ip()), agent.key()))
            }),
        };
        done.unwrap_or_else(|refusal| Self::plain(refusal.answer()))
    }

    /// Whether client.keys is another than before.
    pub(super) fn changes(&self) -> bool {
        self.added.is_some() || !self.removed.is_empty()
    }

    /// The answers of what is durable, and the agents that are removed.
    pub(super) fn finish(outcomes: Vec<Self>) -> (Vec<Vec<u8>>, Vec<Agent>) {
        let parts = outcomes.into_iter().map(|outcome| (outcome.answer, outcome.removed));
        let (answers, removed): (Vec<_>, Vec<_>) = parts.unzip();
        (answers, removed.into_iter().flatten().collect())
    }

    fn plain(answer: Vec<u8>) -> Self {
        Self { answer, failure: None, added: None, removed: Vec::new(), lines: Vec::new() }
    }

    /// The answer when nothing could be written.
    pub(super) fn fail(self) -> Vec<u8> {
        self.failure.map_or(self.answer, Refusal::answer)
    }
}

fn register(table: &mut Table, request: &Add, auth: &Auth, outside: &Outside<'_>) -> Result<Outcome, Refusal> {
    let Added { place, told_ip, replaced, told: mut lines } = add(table, request, auth, outside)?;
    let agent = table.agent(place);
    let (id, name) = (agent.id(), agent.name());
    lines.push(format!("Agent key generated for agent '{name}' (id '{id}', requested locally)."));
    Ok(Outcome {
        answer: answer::agent(id, name, &told_ip, agent.key()),
        failure: Some(Refusal::NoKey),
        added: Some((agent, request.groups.as_deref().unwrap_or_default().join(","))),
        removed: replaced,
        lines,
    })
}

fn remove(table: &mut Table, id: &str, purge: bool) -> Option<Outcome> {
    let agent = table.remove(table.by_id(id)?, purge)?;
    let line = format!("Agent '{}' ({}) deleted (requested locally).", agent.id(), agent.name());
    Some(Outcome {
        answer: answer::removed(),
        failure: Some(Refusal::Internal),
        added: None,
        removed: vec![agent],
        lines: vec![line],
    })
}

/// What is known beside client.keys.
pub(super) struct Outside<'a> {
    pub(super) home: &'a Home,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// The host name of this manager.
    pub(super) own_name: &'a str,
    pub(super) rows: &'a Rows,
}

impl World for Outside<'_> {
    fn now(&self) -> i64 {
        self.now
    }

    fn registered(&self, id: &str) -> Option<Registered> {
        self.rows.registered(id)
    }

    fn has_group(&self, name: &str) -> bool {
        is_group(&self.home.shared_dir(), name)
    }

    fn is_own_name(&self, name: &str) -> bool {
        name == self.own_name
    }
}
