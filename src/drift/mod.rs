//! How nodes drift apart: the configuration that the cluster does not keep equal, and rules that lie there but are not
//! applied.
//!
//! ```text
//!  cluster_control ── get_drift ──► master ── get_outline, nonce ──► each worker of ours
//!                                     │   ◄── outline of its ossec.conf, state of its ruleset
//!                  ◄── differences ── compares each with its own
//! ```
//! Only nodes that have agreed on `outline` are asked ([`crate::session::native`]).

mod compare;
mod master;
mod ruleset;

use std::{sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

pub use compare::{Difference, Kind};
pub use master::{Answer, NodeDrift, Question};
pub use ruleset::{Ruleset, Verdict};

use crate::{
    config::{Setting, outline},
    node::Node,
    wire::ErrorObject,
};

/// What a node tells of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outline {
    /// The options of its ossec.conf, without their values; or why they cannot be told.
    pub settings: Result<Vec<Setting>, String>,
    /// Whether its ruleset is applied.
    pub ruleset: Ruleset,
}

impl Outline {
    /// Of this node. Reads files, so never on the reader of a connection.
    pub fn of(node: &Arc<Node>, nonce: &[u8], reloaded: Option<SystemTime>) -> Self {
        Self {
            settings: outline(&node.home.ossec_conf(), nonce),
            ruleset: Ruleset::of(&node.home, reloaded, node.clock.wall()),
        }
    }

    /// The answer to `get_outline`, whose payload is the nonce in base64.
    ///
    /// # Errors
    /// When it is none; the master is at fault.
    pub fn answer(node: &Arc<Node>, payload: &[u8], reloaded: Option<SystemTime>) -> Result<String, ErrorObject> {
        let nonce = STANDARD.decode(payload).map_err(|error| ErrorObject::unexpected(error.to_string()))?;
        serde_json::to_string(&Self::of(node, &nonce, reloaded))
            .map_err(|error| ErrorObject::unexpected(error.to_string()))
    }
}
