//! Waiting for something to become true.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// The longest that anything may take.
pub const LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked again.
const STEP: Duration = Duration::from_millis(5);

/// What `look` finds, as soon as it finds it.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        sleep(STEP);
    }
}
