//! Room on the disk: what statements of other programs may take of it, and whether there is any again.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use rusqlite::ErrorCode;

use super::{Database, answer::Failure, fault::message};

/// Bytes that one statement of another program may add to the file, and that it may not make longer: more than half a
/// million agents need.
const ADDED: u64 = 64 * 1024 * 1024;
const MOST: u64 = 1024 * 1024 * 1024;

/// The part of the file system that such statements leave free, and the most that it need be, in bytes.
const LEFT: u64 = 32;
const MOST_LEFT: u64 = 256 * 1024 * 1024;

/// What SQLite takes for no limit of pages.
pub(super) const NO_LIMIT: i64 = 4_294_967_294;

/// Bytes that must be free for more than reading what is there.
const ROOM: u64 = 1024 * 1024;

impl Database {
    /// Whether it was opened on a full disk, and the disk is full no more.
    pub(super) fn has_new_room(&self) -> bool {
        self.is_alone && room(self.path()).is_none_or(|(free, _)| free >= ROOM)
    }

    /// Does `work`, which writes, for another program: with a bound on the bytes that it may add to the disk.
    pub(super) fn bounded<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let limit = |pages: i64| {
            self.as_own(|connection| connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())))
        };
        let number = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let (pages, size) = (number("page_count")?, number("page_size")?.max(1) as u64);
        // What is written goes to the log first, and to the file later.
        let free =
            room(self.path()).map_or(ADDED, |(free, size)| free.saturating_sub((size / LEFT).min(MOST_LEFT)) / 2);
        let room = free.min(ADDED).min(MOST.saturating_sub((pages as u64).saturating_mul(size)));
        limit(pages + (room / size) as i64)?;
        let done = work();
        limit(NO_LIMIT)?;
        done.map_err(|failure| match failure {
            Failure::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Failure::Text(format!(
                "Cannot execute Global database query; {}: a statement may add {} bytes now",
                message(&error),
                room / size * size
            )),
            other => other,
        })
    }
}

/// Bytes that are free on the file system of a file, and all that it has; none if it does not tell.
fn room(path: &Path) -> Option<(u64, u64)> {
    let about = statvfs(path.parent()?).ok()?;
    let unit = about.fragment_size();
    Some((about.blocks_available().saturating_mul(unit), about.blocks().saturating_mul(unit)))
}
