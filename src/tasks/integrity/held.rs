//! What a master holds back from a worker until a person confirms it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is held back from one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Files that would be deleted.
    pub deletions: usize,
    /// All files of the worker.
    pub of: usize,
    /// Whether it has keys of agents, and this master started without any.
    pub keys: bool,
}

impl Held {
    pub(super) fn is_nothing(self) -> bool {
        self.deletions == 0 && !self.keys
    }

    /// What happens when it is let go, as a sentence without its end.
    pub fn consequence(self) -> String {
        let Self { deletions, of, keys } = self;
        match (deletions, keys) {
            (0, _) => "it takes the agent keys of the master now".to_owned(),
            (_, false) => format!("{deletions} of its {of} files are deleted now"),
            (_, true) => {
                format!("{deletions} of its {of} files are deleted now, and it takes the agent keys of the master")
            }
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deletions, of, keys } = self;
        match (deletions, keys) {
            (0, _) => write!(f, "its agent keys are left alone, because this master started without any"),
            (_, false) => write!(f, "the deletion of {deletions} of its {of} files is held back"),
            (_, true) => write!(
                f,
                "the deletion of {deletions} of its {of} files is held back, and its agent keys are left alone, because this \
                 master started without any"
            ),
        }
    }
}
