//! Sentences for a person.

use std::{io, path::Path};

use crate::{
    config::{Note, NoteLevel},
    logging::{Scope, info, warn},
};

/// Says what a person should know of the configuration.
pub(super) fn tell(notes: &[Note], scope: &Scope) {
    for note in notes {
        match note.level {
            NoteLevel::Warning => warn!(scope, "{}", note.text),
            NoteLevel::Info => info!(scope, "{}", note.text),
        }
    }
}

/// A sentence for a step of the start that failed at a path.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    format!("{what} {}: {error}", path.display())
}
