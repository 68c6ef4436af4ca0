//! Compressed members by checksum, so that many workers cost one compression.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::checksum::ContentSum;

/// A bounded store of compressed members, shared by the writers of several archives. What was not used for the
/// longest time goes first.
pub struct MemberCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    members: HashMap<ContentSum, (u64, Cached)>,
    /// The same by last use.
    order: BTreeMap<u64, ContentSum>,
    bytes: usize,
    clock: u64,
}

/// One compressed member.
#[derive(Clone)]
pub(super) struct Cached {
    pub(super) packed: Arc<[u8]>,
    /// Bytes of the content.
    pub(super) plain: u64,
}

/// What an entry costs besides its bytes, roughly.
const OVERHEAD: usize = 160;

impl MemberCache {
    /// A cache of at most `limit` bytes. 2 MiB hold the changed files of an ordinary day.
    pub fn new(limit: usize) -> MemberCache {
        MemberCache { limit, inner: Mutex::default() }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    pub(super) fn find(&self, sum: &ContentSum) -> Option<Cached> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let (used, cached) = inner.members.get_mut(sum)?;
        inner.order.remove(used);
        inner.clock += 1;
        *used = inner.clock;
        inner.order.insert(inner.clock, *sum);
        Some(cached.clone())
    }

    /// Keeps a member whose content has this sum. One that would fill a quarter of the cache is not kept.
    pub(super) fn keep(&self, sum: ContentSum, plain: u64, packed: &[u8]) {
        let cost = packed.len() + OVERHEAD;
        if cost > self.limit / 4 {
            return;
        }
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if inner.members.contains_key(&sum) {
            return;
        }
        while inner.bytes + cost > self.limit {
            let Some((_, oldest)) = inner.order.pop_first() else { break };
            if let Some((_, gone)) = inner.members.remove(&oldest) {
                inner.bytes -= gone.packed.len() + OVERHEAD;
            }
        }
        inner.clock += 1;
        inner.order.insert(inner.clock, sum);
        inner.members.insert(sum, (inner.clock, Cached { packed: packed.into(), plain }));
        inner.bytes += cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = MemberCache::new(4 * (100 + OVERHEAD));
        for n in 0..4 {
            cache.keep([n; 32], 1, &[n; 100]);
        }
        assert!(cache.find(&[0; 32]).is_some());
        cache.keep([9; 32], 1, &[9; 100]);
        assert!(cache.find(&[1; 32]).is_none());
        assert_eq!(&cache.find(&[0; 32]).unwrap().packed[..], &[0; 100]);
        assert_eq!(cache.bytes(), 4 * (100 + OVERHEAD));
        cache.keep([5; 32], 1, &[0; 101]);
        assert!(cache.find(&[5; 32]).is_none(), "too large to be kept");
    }
}
