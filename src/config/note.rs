//! What is worth a log line about a configuration without errors.

/// Something that works, but that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: NoteLevel,
    /// One sentence, with file and line.
    pub text: String,
}

/// How much a [`Note`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteLevel {
    /// Should be changed.
    Warning,
    /// Good to know.
    Info,
}

impl Note {
    pub(super) fn warning(text: String) -> Self {
        Self { level: NoteLevel::Warning, text }
    }

    pub(super) fn info(text: String) -> Self {
        Self { level: NoteLevel::Info, text }
    }
}
