//! What a node knows of the term, for people: the answer to `get_term` (`spec/protocol.md` 13.12).

use serde::{Deserialize, Serialize};

use super::{Claim, Kept, Term, kept};
use crate::config::{Home, NodeType};

/// The answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The name of the node.
    pub name: String,
    /// What it is.
    pub role: String,
    /// The master that it follows, or is, and its term.
    #[serde(flatten)]
    pub claim: Claim,
    /// No id up to this one is certain to be free for another master.
    pub ids: u32,
    /// The term in which this node was the master, while what it has alone is not set aside yet.
    pub former: Option<u64>,
    /// What has been set aside here.
    pub diverged: Vec<Kept>,
}

impl Term {
    /// What this node, which has this role, knows. It reads directories.
    pub fn status(&self, home: &Home, role: NodeType) -> Status {
        let (state, role) = (self.state.read().clone(), role.as_str().to_owned());
        Status {
            name: self.name.clone(),
            role,
            claim: state.claim,
            ids: state.ids,
            former: state.former,
            diverged: kept(home),
        }
    }
}
