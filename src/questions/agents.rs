//! `get_agents`: the list of agents, page by page (`spec/protocol.md` 13.12).

use serde::{Deserialize, Serialize};

use crate::{
    agents::{
        Error, Store,
        listing::{Agent, Filter, STATUSES},
    },
    wire::{Class, ErrorObject},
};

/// Agents of one [`AgentsPage`].
const MOST: usize = 1_000;

/// The payload of `get_agents`, a request of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentsQuestion {
    /// Only agents with a greater number; all if there is none.
    pub after: Option<i64>,
    /// Which of them.
    pub filter: Filter,
}

/// The answer to a [`AgentsQuestion`]: a part of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentsPage {
    /// The agents, in the order of their numbers.
    pub items: Vec<Agent>,
    /// Whether to ask again for those after the last.
    pub more: bool,
}

/// The answer to `get_agents`, JSON.
///
/// # Errors
/// What is wrong with the question, with its number; or that the database does not answer.
pub fn page(store: &Store, question: &[u8]) -> Result<String, ErrorObject> {
    let question: AgentsQuestion =
        serde_json::from_slice(question).map_err(|error| ErrorObject::unexpected(error.to_string()))?;
    if let Some(wrong) = question.filter.statuses.iter().find(|status| !STATUSES.contains(&status.as_str())) {
        let known = STATUSES.join(", ");
        return Err(ErrorObject::unexpected(format!("unknown agent status '{wrong}': expected {known}")));
    }
    let items = store.agents(&question.filter, question.after.unwrap_or(-1), MOST).map_err(unavailable)?;
    let more = items.len() == MOST;
    serde_json::to_string(&AgentsPage { items, more }).map_err(|error| ErrorObject::unexpected(error.to_string()))
}

/// What a program is told when the database cannot be asked, as by the stock daemon.
fn unavailable(error: Error) -> ErrorObject {
    ErrorObject { extra: Some(error.to_string()), ..ErrorObject::new(Class::Internal, 2005) }
}
