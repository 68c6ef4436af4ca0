//! What an error of SQLite means.

use std::path::Path;

use rusqlite::ErrorCode;

/// SQLite's own text.
pub(super) fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether the request would be refused again: all else, a full disk for example, may heal.
pub(super) fn blames_the_request(error: &rusqlite::Error) -> bool {
    use ErrorCode::{
        AuthorizationForStatementDenied as Forbidden, ConstraintViolation, OperationInterrupted, TooBig, TypeMismatch,
        Unknown,
    };
    let own =
        |code| matches!(code, Forbidden | ConstraintViolation | OperationInterrupted | TooBig | TypeMismatch | Unknown);
    error.sqlite_error_code().is_none_or(own)
}

/// Whether it may be that the disk has no room: for a file in shared memory, SQLite calls that a failure of the disk.
pub(super) fn may_be_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

/// What a person is told of a file: what is wrong, and what to do.
pub(super) fn unusable(path: &Path, error: &rusqlite::Error) -> String {
    let (shown, text) = (path.display(), message(error));
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "It is damaged and stays as it is. Put a backup in its place, or move it away: a new one is then made, agents \
             come back from client.keys, groups that were assigned on this node do not"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "Another process holds it; see whether another database daemon is running"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "Its directory and the file must be writable for the user of this daemon"
        }
        Some(ErrorCode::DiskFull) => "Make room on the disk",
        _ => "It stays as it is; a newer daemon, or a backup, may help",
    };
    format!("{shown} cannot be used: {text}. {remedy}")
}
