//! How the files of a worker stand, and what `get_health` reports of its checks (`spec/protocol.md` 13.6).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use super::Held;
use crate::{connection::Transfer, files::Counts, tasks::span::Span};

/// What the master reports of a worker's integrity.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntegrityStatus {
    /// Whether no check or synchronisation of this worker is running.
    pub free: bool,
    /// The last check.
    pub check: Span,
    /// The last synchronisation.
    pub sync: Span,
    /// What it was about; none before the first.
    pub files: Option<Counts>,
    /// What the last check found.
    pub standing: Standing,
    /// The synchronisation that is running.
    pub sending: Option<Sending>,
    /// Since when the master has had files that the worker has not shown to have, wall clock; none if there are none, or
    /// before its first check.
    pub behind_since: Option<SystemTime>,
    /// What the last check held back.
    pub held: Option<Held>,
}

/// How the files of a worker compare with those of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When a check last found them equal.
    pub verified: Option<Instant>,
    /// Since when every check has found them equal, wall clock; none if the last has not.
    pub since: Option<SystemTime>,
    /// Since when every check has found differences, wall clock; none if the last has not.
    pub differs_since: Option<SystemTime>,
    /// In what they differed at the last check.
    pub behind: Counts,
}

impl Standing {
    /// A check has found them equal.
    pub fn equal(&mut self, now: Instant, wall: SystemTime) {
        *self = Self { verified: Some(now), since: self.since.or(Some(wall)), ..Self::default() };
    }

    /// A check has found these differences.
    pub fn differs(&mut self, behind: Counts, wall: SystemTime) {
        *self = Self { since: None, differs_since: self.differs_since.or(Some(wall)), behind, ..*self };
    }
}

/// How much of an archive is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Files that are in it, or were left out.
    pub files: usize,
    /// All that are to be in it.
    pub of: usize,
    /// Bytes that have gone out, compressed.
    pub bytes: u64,
}

/// The same while it changes.
pub struct Progress {
    /// The sending of the archive.
    pub transfer: Arc<Transfer>,
    /// Files that are done.
    pub files: AtomicUsize,
    of: usize,
}

impl Progress {
    /// Of an archive that is to have so many files.
    pub fn new(of: usize) -> Self {
        Self { transfer: Arc::default(), files: AtomicUsize::new(0), of }
    }

    /// How far it is.
    pub fn now(&self) -> Sending {
        Sending { files: self.files.load(Ordering::Relaxed), of: self.of, bytes: self.transfer.sent() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn in_sync_since_is_when_the_first_of_the_equal_checks_was() {
        let (mut standing, now, wall) = (Standing::default(), Instant::now(), SystemTime::now());
        let later = |seconds| (now + Duration::from_secs(seconds), wall + Duration::from_secs(seconds));
        standing.equal(now, wall);
        standing.equal(later(9).0, later(9).1);
        assert_eq!((standing.verified, standing.since), (Some(later(9).0), Some(wall)));
        standing.differs(Counts { create: 2, ..Counts::default() }, later(10).1);
        standing.differs(Counts { create: 2, ..Counts::default() }, later(11).1);
        assert_eq!((standing.verified, standing.since, standing.behind.sum()), (Some(later(9).0), None, 2));
        assert_eq!(standing.differs_since, Some(later(10).1));
        standing.equal(later(20).0, later(20).1);
        assert_eq!((standing.since, standing.differs_since, standing.behind.sum()), (Some(later(20).1), None, 0));
    }
}
