//! Files that a worker could not take, and when they are sent again: a disk that is full for a list must not have it sent
//! with every key.
//!
//! What was sent and still differs at the next check was not taken, whoever the worker is. It stays out of the archives
//! until a pause is over, which doubles each time. A file whose content changes is another one, and sent at once.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use log::Level;

use crate::{
    files::{Checksum, ContentSum, Difference},
    tasks::integrity::{ARCHIVE, Applied, FailedFile, sending::Written},
};

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(600);

/// Files of a worker that are remembered; beyond, they are sent with every check.
const FILES: usize = 1 << 16;

/// Files of a worker that a line of the log names.
const NAMED: usize = 5;

/// The reason for a file of which the worker reports nothing.
const SILENT: &str = "it was sent, and is not there";

/// What one worker could not take.
#[derive(Default)]
pub(super) struct Refused {
    /// What was sent as deltas last, and the sums of what these were to be made from.
    deltas: HashMap<String, ContentSum>,
    /// By path and content.
    tried: HashMap<u64, Tried>,
    hasher: RandomState,
    /// Number of the last sending.
    sending: u32,
    /// What is known of the reasons.
    applied: Applied,
    /// What the log has of that.
    logged: (usize, Vec<FailedFile>),
}

/// A content that was sent.
#[derive(Clone, Copy)]
struct Tried {
    times: u32,
    /// When it is sent again.
    again: Instant,
    /// The last sending of it.
    sending: u32,
}

impl Refused {
    /// Takes out of `difference` what is not to be sent now; gives the number of these files, and for how long at the
    /// least.
    pub(super) fn hold(&mut self, difference: &mut Difference<'_>, now: Instant) -> Option<(usize, Duration)> {
        let before = std::mem::take(&mut self.tried);
        let known = std::mem::take(&mut self.applied).failures;
        let mut failures: Vec<FailedFile> =
            known.into_iter().filter(|failed| differs(difference, &failed.path)).collect();
        let (mut held, mut soonest) = (0, None);
        for_each(difference, |path, checksum| {
            let key = self.hasher.hash_one((path, checksum));
            let Some(tried) = before.get(&key) else { return true };
            self.tried.insert(key, *tried);
            if failures.len() < Applied::SHOWN && !failures.iter().any(|failed| failed.path == path) {
                failures.push(FailedFile { path: path.to_owned(), reason: SILENT.to_owned() });
            }
            let waits = tried.again > now;
            if waits {
                held += 1;
                soonest = soonest.min(Some(tried.again)).or(Some(tried.again));
            }
            !waits
        });
        self.applied = Applied { failed: self.tried.len().max(failures.len()), failures, ..Applied::default() };
        soonest.map(|again| (held, again.saturating_duration_since(now)))
    }

    /// Whether a delta of this path was sent last to one who has the content of this sum, and it has that still: the whole
    /// is sent then, at once.
    pub(super) fn could_not_make(&self, path: &str, base: &ContentSum) -> bool {
        self.deltas.get(path) == Some(base)
    }

    /// These are about to be there, but for those that were left out. `first` is the first pause.
    pub(super) fn sent(&mut self, difference: &mut Difference<'_>, written: &Written, now: Instant, first: Duration) {
        let Written { left_out, deltas } = written;
        self.deltas.clone_from(deltas);
        self.sending = self.sending.wrapping_add(1);
        for_each(difference, |path, checksum| {
            let key = self.hasher.hash_one((path, checksum));
            let is_whole = !left_out.later.contains(path) && !deltas.contains_key(path);
            if is_whole && (self.tried.len() < FILES || self.tried.contains_key(&key)) {
                let times = self.tried.get(&key).map_or(0, |tried| tried.times);
                let pause = first.saturating_mul(1 << times.min(16)).min(LONGEST);
                let sending = self.sending;
                self.tried.insert(key, Tried { times: times.saturating_add(1), again: now + pause, sending });
            }
            true
        });
        for (path, reason) in &left_out.too_large {
            self.fail(path, reason);
        }
    }

    /// What the worker reports of the last archive.
    pub(super) fn reported(&mut self, applied: Applied) {
        if applied.failed == 0 {
            self.tried.retain(|_, tried| tried.sending != self.sending);
        }
        let earlier = std::mem::take(&mut self.applied);
        let newer = |path: &str| applied.failures.iter().any(|failed| failed.path == path);
        let earlier = earlier.without(newer);
        self.applied = applied.and(earlier);
    }

    /// Nothing could be sent at all.
    pub(super) fn fail(&mut self, path: &str, reason: &str) {
        let failed = FailedFile { path: path.to_owned(), reason: reason.to_owned() };
        self.reported(Applied { failed: 1, failures: vec![failed], ..Applied::default() });
    }

    /// The worker has all files.
    pub(super) fn clear(&mut self) {
        *self = Self { logged: std::mem::take(&mut self.logged), ..Self::default() };
    }

    /// The line for the log, if it differs from the last one. That an archive as a whole failed has a line of its own.
    pub(super) fn news(&mut self) -> Option<(Level, String)> {
        let files: Vec<FailedFile> =
            self.applied.failures.iter().filter(|failed| failed.path != ARCHIVE).cloned().collect();
        let others = self.applied.failed.saturating_sub(self.applied.failures.len());
        let now = (files.len() + others, files);
        if now == self.logged {
            return None;
        }
        self.logged = now;
        let (count, files) = &self.logged;
        if *count == 0 {
            return Some((Level::Info, "No file stays as it is on the worker any more.".to_owned()));
        }
        let named: Vec<_> =
            files.iter().take(NAMED).map(|FailedFile { path, reason }| format!("'{path}' ({reason})")).collect();
        let more = match count - named.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let text = format!("Files that stay as they are on the worker: {}{more}.", named.join(", "));
        Some((Level::Warn, text))
    }

    /// What the worker could not take.
    pub(super) fn applied(&self) -> &Applied {
        &self.applied
    }
}

/// Whether the file is one of those that differ.
fn differs(difference: &Difference<'_>, path: &str) -> bool {
    let ours = |list: &[&crate::files::Entry]| list.binary_search_by(|entry| (*entry.path).cmp(path)).is_ok();
    ours(&difference.create)
        || ours(&difference.update)
        || difference.delete.binary_search_by(|entry| (*entry.path).cmp(path)).is_ok()
}

/// Keeps the files of `difference` for which `keep` holds. It gets the path and the checksum that the worker's file is to
/// have; for one that is to be deleted, that which it has.
fn for_each(difference: &mut Difference<'_>, mut keep: impl FnMut(&str, Option<&[u8]>) -> bool) {
    let kind = difference.kind();
    difference.create.retain(|entry| keep(&entry.path, entry.checksum(kind)));
    difference.update.retain(|entry| keep(&entry.path, entry.checksum(kind)));
    difference.delete.retain(|entry| keep(&entry.path, entry.checksum.as_ref().map(Checksum::bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(path: &str, reason: &str) -> FailedFile {
        FailedFile { path: path.to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn the_log_is_told_of_files_and_reasons_when_they_are_others() {
        let mut refused = Refused::default();
        let report = |failures: &[FailedFile]| Applied {
            failed: failures.len(),
            failures: failures.iter().take(Applied::SHOWN).cloned().collect(),
            ..Applied::default()
        };
        assert_eq!(refused.news(), None);
        let full = failed("etc/lists/a", "No space left on device");
        refused.reported(report(std::slice::from_ref(&full)));
        let (level, text) = refused.news().unwrap();
        assert_eq!(level, Level::Warn);
        assert_eq!(text, "Files that stay as they are on the worker: 'etc/lists/a' (No space left on device).");
        refused.reported(report(&[full]));
        assert_eq!(refused.news(), None, "the same again");
        refused.reported(report(&[failed("etc/lists/a", "Permission denied")]));
        assert!(refused.news().is_some_and(|(_, text)| text.ends_with("'etc/lists/a' (Permission denied).")));
        refused.fail(ARCHIVE, "the archive could not be sent");
        assert_eq!(refused.news(), None, "it has a line of its own");
        let many: Vec<_> = (0..30).map(|n| failed(&format!("etc/lists/{n:02}"), "why")).collect();
        refused.reported(report(&many));
        let (_, text) = refused.news().unwrap();
        assert!(text.contains("'etc/lists/04' (why), and ") && !text.contains("'etc/lists/05'"), "{text}");
        refused.clear();
        assert_eq!(refused.news().map(|(level, _)| level), Some(Level::Info));
        refused.clear();
        assert_eq!(refused.news(), None);
    }
}
