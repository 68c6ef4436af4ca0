//! Which files of a synchronisation travel as their difference from what the worker has (`spec/native.md` 2.9).
//!
//! The worker has told the sum of what it has. If that is one of the last versions of the file, a delta is made from it: of
//! outlines, and what is new is all that is read of the file. It is compressed once, for all workers with that version.

use std::{collections::HashMap, num::NonZeroU64, path::Path, sync::Arc};

use crate::files::{
    AddError, Added, ArchiveWriter, ContentSum, Difference, Entry, MemberCache, Outlines, delta, open_file,
    outline::Outline, sum_of,
};

/// What deltas are made from, and those that were made.
pub struct Deltas<'a> {
    /// The last versions of the large files.
    pub outlines: &'a Outlines,
    /// Deltas that other workers may need, by a key of base and target.
    pub cache: &'a MemberCache,
    /// Whether the worker is to get this path as a whole: it could not make it from what it has, of this sum.
    pub failed: &'a dyn Fn(&str, &ContentSum) -> bool,
}

/// A delta that is to be sent.
pub(super) struct Planned {
    /// What it is made from.
    pub(super) base: ContentSum,
    /// Bytes of what it makes.
    pub(super) size: NonZeroU64,
    key: ContentSum,
    /// If it is not in the cache.
    delta: Option<Vec<u8>>,
}

/// The most bytes of deltas that are held for one worker; other files travel as a whole. There may be hundreds of workers.
const HELD: usize = 512 * 1024;

/// The deltas of a synchronisation, by path.
pub(super) type Plan = HashMap<Arc<str>, Planned>;

impl Deltas<'_> {
    /// What can be sent so.
    pub(super) fn plan(&self, home: &Path, difference: &Difference<'_>) -> Plan {
        let (mut plan, mut held) = (Plan::new(), 0);
        for entry in &difference.update {
            let Some(base) = difference.held(&entry.path) else { continue };
            let Some(planned) = self.planned(home, entry, base) else { continue };
            held += planned.delta.as_ref().map_or(0, Vec::len);
            if held > HELD {
                break;
            }
            plan.insert(entry.path.clone(), planned);
        }
        plan
    }

    /// Whether a file is likely to travel so.
    pub(super) fn may_make(&self, entry: &Entry, difference: &Difference<'_>) -> bool {
        difference.held(&entry.path).is_some_and(|base| self.outlines(entry, base).is_some())
    }

    /// The version that the worker has, and the one that it is to have.
    fn outlines(&self, entry: &Entry, base: &ContentSum) -> Option<[Arc<Outline>; 2]> {
        let find = |sum| self.outlines.find(&entry.path, sum);
        if (self.failed)(&entry.path, base) { None } else { Some([find(base)?, find(&entry.sum)?]) }
    }

    fn planned(&self, home: &Path, entry: &Entry, base: &ContentSum) -> Option<Planned> {
        let [from, target] = self.outlines(entry, base)?;
        let size = NonZeroU64::new(target.size)?;
        let key = key(base, &entry.sum);
        let delta = if self.cache.has(&key) {
            None
        } else {
            // What cannot be read is told when it is to be sent as a whole.
            let file = open_file(home, &entry.path).ok()??;
            Some(delta::make(&from, &target, &file).ok()??)
        };
        Some(Planned { base: *base, size, key, delta })
    }

    /// Adds a delta that was planned.
    ///
    /// # Errors
    /// [`AddError`].
    pub(super) fn add<W: std::io::Write>(
        &self,
        writer: &mut ArchiveWriter<W>,
        entry: &Entry,
        planned: &Planned,
    ) -> Result<Added, AddError> {
        let Planned { size, key, delta, .. } = planned;
        let added = writer.add_made(&entry.path, *size, (key, self.cache), delta.as_deref())?;
        // It was in the cache a moment ago.
        Ok(added.unwrap_or(Added::Changed))
    }
}

/// By what a delta is known.
fn key(base: &ContentSum, target: &ContentSum) -> ContentSum {
    sum_of([*base, *target].as_flattened())
}
