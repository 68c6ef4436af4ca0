//! Files that have vanished. They may be on their way back (git and many editors remove and create, a file system may be
//! mounted again), so they are gone only when they have been missing for a while.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::system::clock::Clock;

/// What is missing, and since when.
#[derive(Default)]
pub(super) struct Missing {
    clock: Clock,
    /// How long a file must be missing to be gone.
    grace: Duration,
    since: BTreeMap<Arc<str>, Instant>,
}

impl Missing {
    /// Lets files be missing for `grace` by `clock`; by default they are gone at once.
    pub(super) fn with_grace(clock: Clock, grace: Duration) -> Self {
        Self { clock, grace, since: BTreeMap::new() }
    }

    /// Notes what has `vanished` since the scan before, and forgets what is gone now, or `back`. Gives what is
    /// missing and not gone, in path order.
    pub(super) fn update<'a>(
        &'a mut self,
        vanished: impl Iterator<Item = &'a Arc<str>>,
        back: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let now = self.clock.now();
        self.since.extend(vanished.map(|path| (path.clone(), now)));
        self.since.retain(|path, since| now.duration_since(*since) < self.grace && !back(path));
        self.since.keys()
    }

    /// Whether nothing is missing.
    pub(super) fn is_none(&self) -> bool {
        self.since.is_empty()
    }

    /// In which time something that is missing will be gone; none if nothing is missing.
    pub(super) fn due(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.since.values().min().map(|since| self.grace.saturating_sub(now.duration_since(*since)))
    }
}
