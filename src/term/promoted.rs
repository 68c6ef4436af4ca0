//! The answer to `promote`.

use serde::{Deserialize, Serialize};

/// What a promotion has done.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promoted {
    /// The node that is the master now.
    pub master: String,
    /// Its term.
    pub term: u64,
    /// The master before.
    pub former: String,
    /// What may be lost, a sentence without its end; none if the former master has handed over.
    pub lost: Option<String>,
}
