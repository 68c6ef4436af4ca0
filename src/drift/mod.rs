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
mod ruleset;

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

pub use compare::{Difference, DifferenceKind, compare};
pub use ruleset::{Ruleset, RulesetState};

use crate::{
    config::{Setting, outline},
    node::Node,
    system::json,
    wire::ErrorObject,
};

/// The longest text of another node that is told on, in bytes.
const LONGEST: usize = 512;

/// The key of the hashes, new for each question.
pub type Nonce = [u8; 16];

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
    pub fn of(node: &Node, nonce: &Nonce, reloaded: Option<SystemTime>) -> Self {
        Self {
            settings: outline(&node.home.ossec_conf(), nonce),
            ruleset: Ruleset::of(&node.home, reloaded, node.clock.wall()),
        }
    }

    /// The answer to `get_outline`, whose payload is the nonce in base64.
    ///
    /// # Errors
    /// When it is none; the master is at fault: a long one would cost much time.
    pub fn answer(node: &Node, payload: &[u8], reloaded: Option<SystemTime>) -> Result<String, ErrorObject> {
        let nonce = STANDARD.decode(payload).ok().and_then(|nonce| Nonce::try_from(nonce).ok());
        let nonce = nonce.ok_or_else(|| ErrorObject::unexpected("the nonce is not 16 bytes in base64"))?;
        Ok(json::text(&Self::of(node, &nonce, reloaded)))
    }

    /// Without what nobody who is honest tells: it goes on to whoever asked.
    pub fn bounded(self) -> Self {
        Self { settings: self.settings.map_err(short), ruleset: self.ruleset.bounded() }
    }
}

/// The beginning of a text of another node.
pub fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}
