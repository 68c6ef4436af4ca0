//! Questions about the cluster and about one node, each answered in one place, whatever socket it came by.
//!
//! ```text
//!                       program ── get_nodes ──► master: Questions::answer
//!  program ── get_nodes ──► worker ── get_nodes ──► master: Questions::answer
//! ```
//! A worker passes on what is a [`Question`]; a master answers it. The thread that reads a connection waits for nothing:
//! what takes long is answered [`Later`].

pub mod agents;
pub mod drift;
mod filter;
mod health;
mod keys;
mod later;
pub mod node_keys;
mod nodes;
mod orders;
pub mod own;
mod turn;

use std::sync::Arc;

pub use later::Later;
use turn::Turn;

use crate::{
    connection::Reply, node::Node, registry::Registry, services::Services, tasks::integrity::master::Shared,
    wire::Question,
};

/// What a master answers from.
pub struct Questions {
    node: Arc<Node>,
    services: Arc<Services>,
    registry: Arc<Registry>,
    checks: Arc<Shared>,
    /// Whose comparison of configurations it is.
    comparing: Turn,
}

impl Questions {
    /// For the master with these workers and their checks.
    pub fn new(services: Arc<Services>, registry: Arc<Registry>, checks: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { node: checks.node.clone(), services, registry, checks, comparing: Turn::default() })
    }

    /// Answers a question; never waits.
    pub fn answer(self: &Arc<Self>, question: Question<'_>, reply: Reply, later: &Later) {
        let this = self.clone();
        match question {
            Question::Nodes(arguments) => reply.result(self.nodes(arguments)),
            Question::Health(filter) => {
                let filter = filter.to_vec();
                later.answer(reply, move || this.health(&filter));
            }
            Question::Agents(question) => {
                let question = question.to_vec();
                later.answer(reply, move || agents::page(&this.services.agents, &question));
            }
            Question::Keys => later.answer(reply, move || Ok(this.keys())),
            Question::Drift(question) => {
                let question = question.to_vec();
                later.answer(reply, move || this.drift(&question));
            }
        }
    }
}
