//! Whether a connection is in use: for whoever must decide which one goes when there are too many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What is known of the use of one connection.
pub struct Life {
    work: Arc<()>,
    start: Instant,
    /// When a whole message last came or went, in milliseconds from the start on.
    last: AtomicU64,
}

/// Something is being done for the peer until this is dropped.
#[expect(dead_code, reason = "it is there to be counted")]
pub struct Work(Arc<()>);

impl Life {
    /// Of a connection that begins now.
    pub fn new() -> Self {
        Self { work: Arc::default(), start: Instant::now(), last: AtomicU64::new(0) }
    }

    /// A whole message has come or gone.
    pub fn sign(&self) {
        self.last.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Something is begun.
    pub fn work(&self) -> Work {
        Work(self.work.clone())
    }

    /// Since when no message has come or gone, unless something is being done.
    pub fn idle_since(&self) -> Option<Instant> {
        let idle = Arc::strong_count(&self.work) == 1;
        idle.then(|| self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_is_not_idle() {
        let life = Life::new();
        assert_eq!(life.idle_since(), Some(life.start));
        let work = life.work();
        assert_eq!(life.idle_since(), None);
        std::thread::sleep(Duration::from_millis(2));
        life.sign();
        drop(work);
        assert!(life.idle_since().unwrap() > life.start);
    }
}
