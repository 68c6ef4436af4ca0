//! What a scanner that watches its files has to look at.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::stat::stat;

use super::problems::{Problems, Root};
use crate::{
    files::{
        items::Items,
        watch::{Suspects, Watch, Which},
    },
    system::clock::Clock,
};

/// How long nobody looks at the stamp of a file that seems not to have been changed.
pub const WHOLE_EVERY: Duration = Duration::from_secs(60);

/// What is known of the files since all of them were looked at.
pub(super) struct Sight {
    pub(super) watch: Arc<Watch>,
    clock: Clock,
    /// When all were looked at; none if they have to be.
    whole: Option<Instant>,
    /// Files that may be changed without being told, or whose stamp does not show yet that they have not been.
    doubtful: Suspects,
    /// Files that somebody has named.
    named: Suspects,
    /// The items' own directories.
    roots: Vec<Root>,
}

/// A look that is under way. If it does not come to its end, the next one is at all files.
pub(super) struct Look {
    /// Of which files.
    pub(super) suspects: Suspects,
    whole: Option<Instant>,
}

impl Sight {
    pub(super) fn new(watch: Arc<Watch>, clock: Clock) -> Self {
        let (doubtful, named, roots) = (Suspects::default(), Suspects::default(), Vec::new());
        Self { watch, clock, whole: None, doubtful, named, roots }
    }

    /// A look at these files is due in any case.
    pub(super) fn name<'p>(&mut self, paths: impl Iterator<Item = &'p str>) {
        paths.for_each(|path| self.named.add(path));
    }

    /// Begins a look at all files.
    pub(super) fn begin_whole(&mut self) -> Look {
        self.watch.begin();
        self.named = Suspects::default();
        self.whole = None;
        Look { suspects: Suspects::all(), whole: Some(self.clock.now()) }
    }

    /// Begins a look at what may have changed; none if that may be any file.
    pub(super) fn begin(&mut self, home: &Path, items: &Items, which: Which) -> Option<Look> {
        let mut suspects = self.watch.take(which);
        suspects.append(&std::mem::take(&mut self.named));
        if which == Which::Every {
            suspects.append(&self.doubtful);
        }
        let whole = self.whole.take().filter(|whole| self.clock.now().duration_since(*whole) < WHOLE_EVERY);
        let known = whole.is_some() && !suspects.are_all() && self.roots_stand(home, items);
        known.then_some(Look { suspects, whole })
    }

    /// The roots are where they were: another directory in such a place is told to nobody.
    fn roots_stand(&self, home: &Path, items: &Items) -> bool {
        self.roots.iter().all(|root| {
            let now = stat(&home.join(&items.item(root.item).key)).ok().map(|now| (now.st_dev, now.st_ino));
            now == root.place
        })
    }

    /// Of a look that is not at all files: the roots, which are as they were.
    pub(super) fn roots(&self) -> Vec<Root> {
        self.roots.clone()
    }

    /// Ends a look. Of the files that it was at, these are `doubtful`.
    pub(super) fn end(&mut self, look: Look, problems: &Problems, roots: Vec<Root>, doubtful: &Suspects) {
        if look.suspects.are_all() {
            (self.doubtful, self.roots) = (Suspects::default(), roots);
        }
        look.suspects.paths().for_each(|path| self.doubtful.remove(path));
        self.doubtful.append(doubtful);
        // What could not be looked at may be there again at any time.
        self.whole = look.whole.filter(|_| problems.unreadable.is_empty());
    }
}
