//! What became of the files of a synchronisation: the report of a worker to a master running this daemon
//! (`spec/native.md` 2).

use serde::{Deserialize, Serialize};

use crate::{
    files::{ArchiveError, Failure, Outcome},
    system::json,
};

/// The longest text of a failure that is kept, in bytes.
const LONGEST: usize = 512;

/// What stands for a path where no file can be named.
pub const ARCHIVE: &str = "the archive";

/// What a worker did with an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// Files that were not there before.
    pub created: usize,
    /// Files that have another content now.
    pub updated: usize,
    /// Files that are gone.
    pub deleted: usize,
    /// Files that could not be dealt with.
    pub failed: usize,
    /// The first of these.
    pub failures: Vec<FailedFile>,
}

/// A file that could not be dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedFile {
    /// Relative to the home of the worker.
    pub path: String,
    /// Why, as a sentence without its end.
    pub reason: String,
}

impl Applied {
    /// Failures that are reported one by one.
    pub const SHOWN: usize = 20;

    /// Of an update that was carried out.
    pub fn new(outcome: &Outcome) -> Self {
        let failed = |Failure { path, reason, .. }: &Failure| FailedFile { path: path.clone(), reason: reason.clone() };
        Self {
            created: outcome.created,
            updated: outcome.updated,
            deleted: outcome.deleted,
            failed: outcome.failures.len(),
            failures: outcome.failures.iter().take(Self::SHOWN).map(failed).collect(),
        }
        .bounded()
    }

    /// Of an archive of which nothing could be used.
    pub fn refused(error: &ArchiveError) -> Self {
        let whole = FailedFile { path: ARCHIVE.to_owned(), reason: error.to_string() };
        Self { failed: 1, failures: vec![whole], ..Self::default() }.bounded()
    }

    /// The same without the failures of files for which there is a newer outcome, and those that name no file.
    pub fn without(mut self, newer: impl Fn(&str) -> bool) -> Self {
        self.failures.retain(|failed| failed.path != ARCHIVE && !newer(&failed.path));
        self.failed = self.failures.len();
        self
    }

    /// The same with failures of earlier archives that still count.
    pub fn and(mut self, earlier: Self) -> Self {
        self.failed += earlier.failed;
        self.failures.extend(earlier.failures);
        self.bounded()
    }

    /// As it travels.
    pub fn to_json(&self) -> String {
        json::text(self)
    }

    /// The report of a worker.
    ///
    /// # Errors
    /// What is wrong with it; the worker is at fault.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        serde_json::from_slice::<Self>(payload).map(Self::bounded).map_err(|error| error.to_string())
    }

    fn bounded(mut self) -> Self {
        self.failures.truncate(Self::SHOWN);
        for FailedFile { path, reason } in &mut self.failures {
            path.truncate(path.floor_char_boundary(LONGEST));
            reason.truncate(reason.floor_char_boundary(LONGEST));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_report_is_bounded() {
        let failed = |length| FailedFile { path: "é".repeat(length), reason: "r".repeat(length) };
        let many = Applied { failed: 1000, failures: vec![failed(1000); 100], ..Applied::default() };
        let kept = Applied::parse(many.to_json().as_bytes()).unwrap();
        assert_eq!((kept.failed, kept.failures.len()), (1000, Applied::SHOWN));
        assert_eq!((kept.failures[0].path.len(), kept.failures[0].reason.len()), (LONGEST, LONGEST));
        assert_eq!(Applied::parse(b"{}"), Ok(Applied::default()));
        assert!(Applied::parse(b"[]x").is_err());
    }
}
