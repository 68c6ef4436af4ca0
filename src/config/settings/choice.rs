//! `agent_database` and `registration`: ours. Whether this daemon does the work of one of the manager's programs itself.

use super::section::Section;
use crate::config::Home;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The manager's program if it is installed in `bin/` of the home, else this daemon.
    Auto,
    /// This daemon, which other programs find at the socket of the stock daemon.
    Embedded,
    /// The manager's program.
    External,
}

impl Choice {
    /// Takes the member `name`; `program` is the word for the manager's.
    pub(super) fn read(root: &mut Section<'_>, name: &str, program: &str) -> Self {
        let choice = root.convert(name, &format!("auto, embedded or {program}"), |value| match value.as_str()? {
            "auto" => Some(Self::Auto),
            "embedded" => Some(Self::Embedded),
            word if word == program => Some(Self::External),
            _ => None,
        });
        choice.unwrap_or(Self::Auto)
    }

    /// Whether the manager's `program` does it.
    pub fn is_external(self, home: &Home, program: &str) -> bool {
        match self {
            Self::Auto => home.has_program(program),
            Self::Embedded => false,
            Self::External => true,
        }
    }
}
