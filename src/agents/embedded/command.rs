//! Which command is which function (`spec/agentdb.md` 2, 6).

use super::{Answer, Database, answer::Failure};

/// Does one command; `arguments` is what follows its name and one blank.
pub(super) type Handler = fn(&Database, arguments: &str) -> Result<Answer, Failure>;
