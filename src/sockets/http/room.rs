//! The memory that the bodies of all programs share: each may be long, but not all at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that are free. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<AtomicU64>);

/// Bytes that are taken, until this is dropped.
#[derive(Debug)]
pub struct Share {
    bytes: u64,
    of: Arc<AtomicU64>,
}

impl Room {
    /// So many bytes, all free.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// Takes so many bytes; none if there is no room for them.
    pub(super) fn take(&self, bytes: u64) -> Option<Share> {
        let less = |free: u64| free.checked_sub(bytes);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        Some(Share { bytes, of: self.0.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let room = Room::new(10);
        let share = room.take(7).unwrap();
        assert!(room.take(4).is_none());
        assert!(room.take(3).is_some());
        drop(share);
        assert!(room.take(10).is_some());
    }
}
