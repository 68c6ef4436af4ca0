//! Scanning one home again and again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    hash,
    missing::Missing,
    problems::{Problems, Root, Unreadable},
    roots::Roots,
    sight::{Look, Sight},
    walk::{Found, Walk},
};
use crate::{
    files::{
        checksum::ChecksumKind,
        items::{ItemId, Items, KEYS},
        manifest::{Entry, Manifest, Protected},
        outline::{self, Outlines},
        watch::{Suspects, Watch, Which},
    },
    system::{
        clock::Clock,
        stamp::{Moment, Seen, Stamp},
    },
};

/// How old a checksum may grow before the file is read again although nothing seems to have changed.
pub const FULL_EVERY: Duration = Duration::from_secs(3600);

/// What one scan found.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The files. The same allocation as before if not even a modification time has changed.
    pub manifest: Arc<Manifest>,
    /// How many files were read.
    pub hashed: usize,
    /// What could not be read; the manifest protects it.
    pub unreadable: Vec<Unreadable>,
    /// Whether a path, its item, a content or what is protected differs from the last scan.
    pub changed: bool,
}

/// Scans one home again and again. Holds the last manifest and 48 bytes per file besides.
pub struct Scanner {
    home: PathBuf,
    full_every: Duration,
    manifest: Arc<Manifest>,
    /// Parallel to the manifest's entries.
    seen: Vec<Seen>,
    roots: Roots,
    missing: Missing,
    /// Whether the keys of the agents were there, and are not now.
    keys_lost: bool,
    /// If it watches them.
    sight: Option<Sight>,
    /// Of the large ones.
    outlines: Arc<Outlines>,
}

/// A file that must be read.
struct Candidate {
    path: Arc<str>,
    item: ItemId,
    /// Its place in the last manifest.
    known: Option<usize>,
}

/// What a walk found.
struct Walked {
    /// Of the last manifest's entries: those that need not be read again.
    same: Vec<bool>,
    candidates: Vec<Candidate>,
    /// Which items have files, by their number.
    has: Vec<bool>,
    roots: Vec<Root>,
    /// Files that may be changed by other names.
    doubtful: Suspects,
}

/// A file that was read and is not what it was.
struct Fresh {
    entry: Entry,
    seen: Seen,
    /// The place of its path in the last manifest.
    known: Option<usize>,
}

impl Scanner {
    /// A scanner that knows nothing yet: its first scan reads every file.
    pub fn new(home: &Path, items: Arc<Items>) -> Self {
        let manifest = Manifest::new(items, Vec::new(), Protected::default());
        Self {
            home: home.to_owned(),
            full_every: FULL_EVERY,
            manifest: Arc::new(manifest),
            seen: Vec::new(),
            roots: Roots::default(),
            missing: Missing::default(),
            keys_lost: false,
            sight: None,
            outlines: Arc::new(Outlines::new(1)),
        }
    }

    /// Lets [`Scanner::look`] look at nothing but what `watch` was told of, and at all files once in
    /// [`WHOLE_EVERY`](super::WHOLE_EVERY) by `clock`. The watch is this scanner's alone.
    pub fn with_watch(mut self, watch: Arc<Watch>, clock: Clock) -> Self {
        self.sight = Some(Sight::new(watch, clock));
        self
    }

    /// Lets it keep the outlines of large files there (default: of the last version of each).
    pub fn with_outlines(mut self, outlines: Arc<Outlines>) -> Self {
        self.outlines = outlines;
        self
    }

    /// Sets how old a checksum may grow (default [`FULL_EVERY`]).
    pub fn with_full_every(mut self, period: Duration) -> Self {
        self.full_every = period;
        self
    }

    /// Lets the manifest protect a file that has vanished until it has been missing for `grace` by `clock`, however many
    /// scans there are meanwhile (default: not at all).
    pub fn with_grace(mut self, clock: Clock, grace: Duration) -> Self {
        self.missing = Missing::with_grace(clock, grace);
        self
    }

    /// In which time a scan will find a file gone that was only missing in the last one; none if nothing was missing.
    pub fn due(&self) -> Option<Duration> {
        self.missing.due()
    }

    /// What is known of large files.
    pub fn outlines(&self) -> &Arc<Outlines> {
        &self.outlines
    }

    /// The manifest of the last scan; empty before the first.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The next [`Scanner::look`] is at these files, too, whatever was told of them.
    pub fn suspect<'p>(&mut self, paths: impl Iterator<Item = &'p str>) {
        if let Some(sight) = &mut self.sight {
            sight.name(paths);
        }
    }

    /// Looks at every file and reads those that may have changed. With `want_blake2b` every entry gets a whole
    /// BLAKE2b-512; without, entries keep one that they have until they change.
    ///
    /// Cannot fail: what cannot be read is in the result, by name.
    pub fn scan(&mut self, want_blake2b: bool) -> Scan {
        let look = self.sight.as_mut().map(Sight::begin_whole);
        self.carry_out(look, want_blake2b)
    }

    /// Looks at the files that may have changed since they were last looked at, and at `which` of those that are being
    /// written; otherwise as [`Scanner::scan`], which it is if any file may have changed, or nobody watches them.
    pub fn look(&mut self, which: Which, want_blake2b: bool) -> Scan {
        let items = self.manifest.items().clone();
        let has = !want_blake2b || self.manifest.has(ChecksumKind::Blake2b);
        match self.sight.as_mut().and_then(|sight| sight.begin(&self.home, &items, which)) {
            Some(look) if has => self.carry_out(Some(look), want_blake2b),
            _ => self.scan(want_blake2b),
        }
    }

    fn carry_out(&mut self, look: Option<Look>, want_blake2b: bool) -> Scan {
        let last = self.manifest.clone();
        let suspects = look.as_ref().map(|look| &look.suspects).filter(|suspects| !suspects.are_all());
        let mut problems = Problems::default();
        if suspects.is_some_and(Suspects::are_none) && self.missing.is_none() {
            self.end(look, &problems, Vec::new(), &Suspects::default());
            return Scan { manifest: last, hashed: 0, unreadable: Vec::new(), changed: false };
        }
        let mut walked = self.walk(suspects, want_blake2b, &mut problems);
        let hashed = walked.candidates.len();
        self.roots.check(
            last.items(),
            &walked.roots,
            &mut problems,
            |id| last.entries.iter().any(|entry| entry.item == id),
            |id| walked.has.get(usize::from(id.0)).copied().unwrap_or(false),
        );
        let fresh = self.read(&mut walked, want_blake2b, &mut problems);
        self.protect(&fresh, &walked.same, &mut problems);
        self.end(look, &problems, walked.roots, &walked.doubtful);
        let Problems { unreadable, protected } = problems;
        let changed = self.replace(fresh, &walked.same, protected);
        Scan { manifest: self.manifest.clone(), hashed, unreadable, changed }
    }

    fn end(&mut self, look: Option<Look>, problems: &Problems, roots: Vec<Root>, doubtful: &Suspects) {
        if let (Some(sight), Some(look)) = (&mut self.sight, look) {
            sight.end(look, problems, roots, doubtful);
        }
    }

    /// Looks at these files, or at every file.
    fn walk(&self, suspects: Option<&Suspects>, want_blake2b: bool, problems: &mut Problems) -> Walked {
        let last = &self.manifest;
        let (mut same, mut candidates) = (vec![suspects.is_some(); last.entries.len()], Vec::new());
        for path in suspects.iter().flat_map(|suspects| suspects.paths()) {
            // Until it turns out to be as it was.
            place(&last.entries, path, 0).into_iter().for_each(|at| same[at] = false);
        }
        let mut has = vec![suspects.is_some(); last.items().iter().count()];
        let (mut expected, mut doubtful) = (0, Suspects::default());
        let mut found = |Found { path, item, stamp, has_names }: Found<'_>| {
            has[usize::from(item.0)] = true;
            if has_names {
                doubtful.add(path);
            }
            let known = place(&last.entries, path, expected);
            expected = known.map_or(expected, |at| at + 1);
            match known {
                Some(at) if self.is_current(at, item, &stamp, want_blake2b) => same[at] = true,
                _ => {
                    let path = known.map_or_else(|| path.into(), |at| last.entries[at].path.clone());
                    candidates.push(Candidate { path, item, known });
                }
            }
        };
        let walk = Walk::new(&self.home, last.items(), problems, &mut found);
        let roots = match (suspects, &self.sight) {
            (Some(suspects), Some(sight)) => {
                walk.only(suspects);
                sight.roots()
            }
            (_, sight) => walk.watched(sight.as_ref().map(|sight| &*sight.watch)).everything(),
        };
        Walked { same, candidates, has, roots, doubtful }
    }

    /// Makes the new manifest, if anything differs from the last one; whether the workers need to know.
    fn replace(&mut self, fresh: Vec<Fresh>, same: &[bool], protected: Protected) -> bool {
        let last = &self.manifest;
        let gone = same.iter().filter(|same| !**same).count();
        let protection_changed = protected != last.protected;
        if fresh.is_empty() && gone == 0 && !protection_changed {
            return false;
        }
        let replaced = fresh.iter().filter(|fresh| fresh.known.is_some()).count();
        let differs = |fresh: &Fresh| {
            let before = fresh.known.map(|at| &last.entries[at]);
            before.is_none_or(|before| before.sum != fresh.entry.sum || before.item != fresh.entry.item)
        };
        let changed = protection_changed || replaced < gone || fresh.iter().any(differs);
        self.merge(fresh, same, protected);
        changed
    }

    /// Protects what has vanished for as long as it is given grace, and the keys of the agents as long as they are not
    /// there.
    fn protect(&mut self, fresh: &[Fresh], same: &[bool], problems: &mut Problems) {
        let last = &self.manifest;
        let Problems { unreadable, protected, .. } = problems;
        let mut back = vec![false; last.entries.len()];
        fresh.iter().filter_map(|fresh| fresh.known).for_each(|at| back[at] = true);
        let vanished = last.entries.iter().enumerate().filter(|(at, _)| !same[*at] && !back[*at]);
        let is_fresh = |path: &str| fresh.binary_search_by(|fresh| (*fresh.entry.path).cmp(path)).is_ok();
        let missing = self.missing.update(vanished.map(|(_, entry)| &entry.path), is_fresh);
        protected.files.extend(missing.map(ToString::to_string));
        // No agent could report any more if it went everywhere; to take all keys from the workers it must be emptied.
        let keys_there = is_fresh(KEYS) || place(&last.entries, KEYS, 0).is_some_and(|at| same[at]);
        self.keys_lost = !keys_there && (self.keys_lost || last.find(KEYS).is_some());
        if !keys_there && !protected.files.iter().any(|path| path == KEYS) {
            if self.keys_lost {
                unreadable.push(Unreadable { path: KEYS.to_owned(), reason: "it is not there any more".to_owned() });
            }
            protected.files.push(KEYS.to_owned());
        }
        protected.files.sort_unstable();
        protected.directories.sort_unstable();
        protected.files.dedup();
        protected.directories.dedup();
    }

    fn is_current(&self, at: usize, item: ItemId, stamp: &Stamp, want_blake2b: bool) -> bool {
        let (entry, seen, now) = (&self.manifest.entries[at], &self.seen[at], Moment::now());
        entry.item == item
            && (!want_blake2b || entry.blake2b.is_some())
            && seen.holds(stamp, now)
            && seen.age(now) < self.full_every
    }

    /// Reads the candidates. Those that turn out as they were are marked in `same`; the others are returned, in path
    /// order, with their place in the last manifest. Those whose stamp does not show yet whether they change are `doubtful`.
    fn read(&mut self, walked: &mut Walked, want_blake2b: bool, problems: &mut Problems) -> Vec<Fresh> {
        let Walked { same, candidates, doubtful, .. } = walked;
        if candidates.is_empty() {
            return Vec::new();
        }
        let before = |candidate: &Candidate| candidate.known.map(|at| &self.seen[at]);
        let jobs: Vec<_> = candidates.iter().map(|candidate| (&*candidate.path, before(candidate))).collect();
        let outcomes = hash::hash_all(&self.home, &jobs, &self.outlines, want_blake2b);
        let mut fresh = Vec::new();
        let now = Moment::now();
        for (candidate, outcome) in candidates.iter().zip(outcomes) {
            let read = match outcome {
                Ok(Some(read)) => read,
                Ok(None) => continue,
                Err(error) => {
                    problems.file(&candidate.path, error.to_string());
                    continue;
                }
            };
            if !read.seen.is_settled(now) {
                doubtful.add(&candidate.path);
            }
            match read.course {
                Some(course) => self.outlines.keep(&candidate.path, course, *read.seen.stamp()),
                None if read.seen.stamp().size() < outline::LEAST as i64 => self.outlines.forget(&candidate.path),
                None => {}
            }
            let mut entry = Entry {
                path: candidate.path.clone(),
                item: candidate.item,
                mod_time: read.seen.stamp().mod_time(),
                sum: read.sum,
                blake2b: read.blake2b,
            };
            if let Some(at) = candidate.known {
                let before = &self.manifest.entries[at];
                if entry.blake2b.is_none() && before.sum == entry.sum {
                    entry.blake2b.clone_from(&before.blake2b);
                }
                if *before == entry {
                    self.seen[at] = read.seen;
                    same[at] = true;
                    continue;
                }
            }
            fresh.push(Fresh { entry, seen: read.seen, known: candidate.known });
        }
        fresh.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        fresh
    }

    /// Makes the new manifest from what stayed the same and what is fresh, both in path order.
    fn merge(&mut self, fresh: Vec<Fresh>, same: &[bool], protected: Protected) {
        let stayed = same.iter().filter(|same| **same).count();
        let mut entries = Vec::with_capacity(stayed + fresh.len());
        let mut seen = Vec::with_capacity(stayed + fresh.len());
        let mut fresh = fresh.into_iter().peekable();
        for (at, old) in self.manifest.entries.iter().enumerate().filter(|(at, _)| same[*at]) {
            while let Some(new) = fresh.next_if(|new| new.entry.path < old.path) {
                entries.push(new.entry);
                seen.push(new.seen);
            }
            entries.push(old.clone());
            seen.push(self.seen[at]);
        }
        for new in fresh {
            entries.push(new.entry);
            seen.push(new.seen);
        }
        let items = self.manifest.items().clone();
        self.manifest = Arc::new(Manifest::of_sorted(items, entries, protected));
        self.seen = seen;
    }
}

/// The place of `path` among the entries. `expected` is where it is if nothing has changed.
fn place(entries: &[Entry], path: &str, expected: usize) -> Option<usize> {
    if entries.get(expected).is_some_and(|entry| *entry.path == *path) {
        return Some(expected);
    }
    entries.binary_search_by(|entry| (*entry.path).cmp(path)).ok()
}
