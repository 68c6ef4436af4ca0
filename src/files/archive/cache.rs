//! Compressed members by checksum, so that many workers cost one compression.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

/// A bounded store of compressed members, shared by the writers of several archives. What was not used for the
/// longest time goes first.
pub struct MemberCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    members: HashMap<[u8; 16], (u64, Cached)>,
    /// The same by last use.
    order: BTreeMap<u64, [u8; 16]>,
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
const OVERHEAD: usize = 128;

impl MemberCache {
    /// A cache of at most `limit` bytes. 2 MiB hold the changed files of an ordinary day.
    pub fn new(limit: usize) -> MemberCache {
        MemberCache { limit, inner: Mutex::default() }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    pub(super) fn find(&self, md5: &[u8; 16]) -> Option<Cached> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let (used, cached) = inner.members.get_mut(md5)?;
        inner.order.remove(used);
        inner.clock += 1;
        *used = inner.clock;
        inner.order.insert(inner.clock, *md5);
        Some(cached.clone())
    }

    /// Keeps a member whose content has this MD5. One that would fill a quarter of the cache is not kept.
    pub(super) fn keep(&self, md5: [u8; 16], plain: u64, packed: &[u8]) {
        let cost = packed.len() + OVERHEAD;
        if cost > self.limit / 4 {
            return;
        }
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if inner.members.contains_key(&md5) {
            return;
        }
        while inner.bytes + cost > self.limit {
            let Some((_, oldest)) = inner.order.pop_first() else { break };
            if let Some((_, gone)) = inner.members.remove(&oldest) {
                inner.bytes -= gone.packed.len() + OVERHEAD;
            }
        }
        inner.clock += 1;
        inner.order.insert(inner.clock, md5);
        inner.members.insert(md5, (inner.clock, Cached { packed: packed.into(), plain }));
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
            cache.keep([n; 16], 1, &[n; 100]);
        }
        assert!(cache.find(&[0; 16]).is_some());
        cache.keep([9; 16], 1, &[9; 100]);
        assert!(cache.find(&[1; 16]).is_none());
        assert_eq!(&cache.find(&[0; 16]).unwrap().packed[..], &[0; 100]);
        assert_eq!(cache.bytes(), 4 * (100 + OVERHEAD));
        cache.keep([5; 16], 1, &[0; 101]);
        assert!(cache.find(&[5; 16]).is_none(), "too large to be kept");
    }
}
