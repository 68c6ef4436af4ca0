//! Compressed members by checksum, so that many workers cost one compression.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::files::checksum::ContentSum;

/// A bounded store of compressed members, shared by the writers of several archives while the workers come for them.
///
/// What was not used for one to two periods is forgotten: the workers have it then. When it is full, nothing more is kept:
/// workers fetch the same files in the same order, so the first are as good as the last.
pub struct MemberCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Used since the last change of generations.
    young: Generation,
    /// Used in the one before.
    old: Generation,
    /// When the last change was.
    changed: Option<Instant>,
}

#[derive(Default)]
struct Generation {
    members: HashMap<ContentSum, Cached>,
    bytes: usize,
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

impl Cached {
    fn cost(&self) -> usize {
        self.packed.len() + OVERHEAD
    }
}

impl Generation {
    fn insert(&mut self, sum: ContentSum, cached: Cached) {
        self.bytes += cached.cost();
        self.members.insert(sum, cached);
    }
}

impl MemberCache {
    /// A cache of at most `limit` bytes. 2 MiB hold the changed files of an ordinary day.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        let inner = self.inner.lock();
        inner.young.bytes + inner.old.bytes
    }

    /// Begins a new generation if the last one has lasted for `period`; whether anything was forgotten.
    pub fn age(&self, now: Instant, period: Duration) -> bool {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let changed = *inner.changed.get_or_insert(now);
        if now.saturating_duration_since(changed) < period {
            return false;
        }
        inner.changed = Some(now);
        let forgotten = std::mem::replace(&mut inner.old, std::mem::take(&mut inner.young));
        !forgotten.members.is_empty()
    }

    /// Whether it holds this one.
    pub fn has(&self, sum: &ContentSum) -> bool {
        self.find(sum).is_some()
    }

    pub(super) fn find(&self, sum: &ContentSum) -> Option<Cached> {
        let mut inner = self.inner.lock();
        if let Some(cached) = inner.young.members.get(sum) {
            return Some(cached.clone());
        }
        let cached = inner.old.members.remove(sum)?;
        inner.old.bytes -= cached.cost();
        inner.young.insert(*sum, cached.clone());
        Some(cached)
    }

    /// Keeps a member whose content has this sum, if there is room. One that would fill a quarter of the cache is not kept.
    pub(super) fn keep(&self, sum: ContentSum, plain: u64, packed: &[u8]) {
        let cost = packed.len() + OVERHEAD;
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let known = inner.young.members.contains_key(&sum) || inner.old.members.contains_key(&sum);
        if known || cost > self.limit / 4 || inner.young.bytes + cost > self.limit {
            return;
        }
        if inner.young.bytes + inner.old.bytes + cost > self.limit {
            inner.old = Generation::default();
        }
        inner.young.insert(sum, Cached { packed: packed.into(), plain });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: usize = 100 + OVERHEAD;
    const PERIOD: Duration = Duration::from_secs(8);

    fn cache() -> MemberCache {
        let cache = MemberCache::new(4 * COST);
        (0..4).for_each(|n| cache.keep([n; 32], 1, &[n; 100]));
        cache
    }

    #[test]
    fn it_is_bounded_and_what_is_used_stays() {
        let (cache, now) = (cache(), Instant::now());
        assert_eq!(cache.bytes(), 4 * COST);
        cache.keep([9; 32], 1, &[9; 100]);
        assert!(cache.find(&[9; 32]).is_none(), "it is full");
        assert!(!cache.age(now, PERIOD) && !cache.age(now + PERIOD, PERIOD));
        assert_eq!(&cache.find(&[0; 32]).unwrap().packed[..], &[0; 100]);
        assert_eq!(cache.bytes(), 4 * COST, "it has only moved");
        cache.keep([9; 32], 1, &[9; 100]);
        assert!(cache.find(&[9; 32]).is_some() && cache.find(&[0; 32]).is_some(), "those that nobody used give way");
        assert_eq!(cache.bytes(), 2 * COST);
        cache.keep([5; 32], 1, &[0; 101]);
        assert!(cache.find(&[5; 32]).is_none(), "too large to be kept");
    }

    #[test]
    fn what_nobody_uses_any_more_is_forgotten() {
        let (cache, now) = (cache(), Instant::now());
        let age = |periods| cache.age(now + periods * PERIOD, PERIOD);
        assert!(!age(0) && !age(1));
        assert!(cache.find(&[1; 32]).is_some());
        assert!(age(2), "three were not used");
        assert_eq!(cache.bytes(), COST);
        assert!(age(3));
        assert_eq!(cache.bytes(), 0);
    }
}
