//! What a run leaves.

use super::Exit;

/// What a run leaves: the text for either stream, and the verdict for the shell.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// The exit code.
    pub exit: Exit,
}

impl Output {
    pub(super) fn text(out: String) -> Self {
        Self { out, err: String::new(), exit: Exit::InSync }
    }
}
