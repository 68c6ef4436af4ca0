//! The local integrity thread of the master: which files there are and what their checksums are, once for all workers.
//!
//! Period: `master.recalculate_integrity` (8 s) after the end of the run before, the first at start; sooner when a
//! thread that has changed a file wakes it, or when `file_watch` sees a file change. A run looks at what may have changed,
//! one between the periods only at files that nobody is writing. It publishes an
//! `Arc<Manifest>`; readers clone the `Arc` and hold no lock. A worker may ask for one check in each turn, so the end of
//! a run is also what opens the next turn (`spec/protocol.md` 10.5).

mod file_watch;

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, RwLock};

use crate::{
    files::{
        Changes, ChecksumKind, Lately, Manifest, MemberCache, Outlines, Scan, Scanner, Unreadable, Watch, Which,
        outline::VERSIONS,
    },
    logging::{Scope, scope, warn},
    metrics::Task,
    node::Node,
    system::{memory, wakeup::Wakeup},
    turn::Turns,
};
use file_watch::FileWatch;

/// From the end of a run to the next, at least. A change that stands alone waits for nothing; while more come, the rest
/// doubles: many registrations, or the files of a ruleset that is copied, are to be seen by one.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest rest.
const QUIET: Duration = Duration::from_millis(100);

/// Generations whose time is remembered. A worker that is further behind counts as behind since the first of these.
const HISTORY: usize = 64;

/// Turns for which the whole BLAKE2b-512 goes on being kept after a worker asked for it. A connected worker asks in nearly
/// every turn.
const CLASSIC_TURNS: u64 = 64;

/// The bytes of compressed files that are kept for the next worker that needs them.
const MEMBER_CACHE: usize = 2 * 1024 * 1024;

/// The same of deltas.
const DELTA_CACHE: usize = 1024 * 1024;

/// The published result, shared by the thread, the workers' integrity checks and the control socket.
pub struct LocalIntegrity {
    published: RwLock<Published>,
    /// Those of the published files that were compressed lately, for the next worker that needs them.
    pub members: MemberCache,
    /// The last versions of those that are large.
    pub outlines: Arc<Outlines>,
    /// How one of these becomes another, compressed.
    pub deltas: MemberCache,
    turn: AtomicU64,
    /// The turn after which a worker last asked for BLAKE2b-512; 0 for never.
    blake2b_asked: AtomicU64,
    /// Whether there was no key of an agent when the files were first looked at.
    began_keyless: OnceLock<bool>,
    wakeup: Wakeup,
    /// What the kernel tells of the files, or why it does not.
    watch: io::Result<Arc<Watch>>,
    /// One walk over the files at a time; its holder holds no other lock.
    files: Mutex<Files>,
}

/// What the workers are compared with.
#[derive(Default)]
struct Published {
    manifest: Option<Arc<Manifest>>,
    /// Which of the changes that were found it holds: all up to this.
    generation: u64,
    /// The last generations and when they were published, wall clock.
    history: VecDeque<(u64, SystemTime)>,
    /// How the manifest has come about.
    lately: Lately,
}

impl Published {
    fn publish(&mut self, manifest: Arc<Manifest>, generation: u64, now: SystemTime) {
        if let Some(before) = self.manifest.as_ref().filter(|before| !Arc::ptr_eq(before, &manifest)) {
            self.lately.step(before, &manifest);
        }
        if self.history.back().is_none_or(|(last, _)| *last != generation) {
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back((generation, now));
        }
        (self.manifest, self.generation) = (Some(manifest), generation);
    }

    /// When what came after this generation was published, as far as that is remembered.
    fn after(&self, generation: u64) -> Option<SystemTime> {
        self.history.iter().find(|(one, _)| *one > generation).map(|(_, when)| *when)
    }
}

/// The files as they were last looked at.
struct Files {
    scanner: Scanner,
    /// How often a scan, whoever ordered it, has found a change.
    changes: u64,
}

impl Files {
    /// Looks at all files, and numbers what has been found.
    fn scan(&mut self, kind: ChecksumKind) -> Scan {
        self.numbered(|scanner| scanner.scan(kind == ChecksumKind::Blake2b))
    }

    /// Looks at the files that may have changed, and numbers what has been found.
    fn look(&mut self, which: Which, kind: ChecksumKind) -> Scan {
        self.numbered(|scanner| scanner.look(which, kind == ChecksumKind::Blake2b))
    }

    fn numbered(&mut self, scan: impl FnOnce(&mut Scanner) -> Scan) -> Scan {
        let scan = scan(&mut self.scanner);
        self.changes += u64::from(scan.changed);
        scan
    }
}

/// What the log has of files that cannot be looked at, or not watched.
#[derive(Default)]
struct Told {
    unreadable: HashSet<String>,
    unwatched: bool,
}

impl LocalIntegrity {
    /// Nothing published yet.
    pub fn new(node: &Node) -> Self {
        let watch = Watch::new(node.items.clone()).map(Arc::new);
        // A wake-up must not shorten the time that a file may be missing.
        let outlines = Arc::new(Outlines::new(VERSIONS));
        let mut scanner = Scanner::new(node.home.path(), node.items.clone())
            .with_outlines(outlines.clone())
            .with_grace(node.clock.clone(), node.settings.master.recalculate_integrity);
        if let Ok(watch) = &watch {
            scanner = scanner.with_watch(watch.clone(), node.clock.clone());
        }
        Self {
            published: RwLock::default(),
            members: MemberCache::new(MEMBER_CACHE),
            outlines,
            deltas: MemberCache::new(DELTA_CACHE),
            turn: AtomicU64::new(0),
            blake2b_asked: AtomicU64::new(0),
            began_keyless: OnceLock::new(),
            wakeup: Wakeup::default(),
            watch,
            files: Mutex::new(Files { scanner, changes: 0 }),
        }
    }

    /// The manifest of the last run, if it has the checksums that the asking link uses. If it has not, they are
    /// calculated by a run that begins now.
    pub fn manifest(&self, kind: ChecksumKind) -> Option<Arc<Manifest>> {
        if kind == ChecksumKind::Blake2b {
            self.blake2b_asked.store(self.turn() + 1, Ordering::Release);
        }
        let manifest = self.published.read().manifest.clone()?;
        if manifest.has(kind) {
            return Some(manifest);
        }
        self.wake();
        None
    }

    /// The number of the present turn.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    /// What a node lacks that had all files when they had the digest of this question, if that is not long ago; and the
    /// manifest that it lacks them of.
    pub fn lately(&self, question: &[u8]) -> Option<(Arc<Manifest>, Changes)> {
        let published = self.published.read();
        let manifest = published.manifest.clone()?;
        let changes = published.lately.since(question, &manifest)?;
        Some((manifest, changes))
    }

    /// How often the manifest has changed.
    pub fn generation(&self) -> u64 {
        self.published.read().generation
    }

    /// The generation of `manifest`, if it is the one that the workers are compared with.
    pub fn generation_of(&self, manifest: &Arc<Manifest>) -> Option<u64> {
        let published = self.published.read();
        let same = published.manifest.as_ref().is_some_and(|published| Arc::ptr_eq(published, manifest));
        same.then_some(published.generation)
    }

    /// Since when there are newer files than those of this generation, wall clock; none if there are none.
    pub fn changed_after(&self, generation: u64) -> Option<SystemTime> {
        self.published.read().after(generation)
    }

    /// Whether this master had no key of an agent when it started.
    pub fn began_keyless(&self) -> bool {
        self.began_keyless.get().copied().unwrap_or(true)
    }

    /// How many files there are, as the last run found them.
    pub fn files(&self) -> usize {
        self.published.read().manifest.as_ref().map_or(0, |manifest| manifest.entries().len())
    }

    /// Lets a run begin now instead of at the end of the period, for files that are known to have changed.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    /// Calculates now, with the cache of the thread; for `get_hash`. What it finds is published by the thread, at once.
    pub fn scan(&self, kind: ChecksumKind) -> Scan {
        let scan = self.files.lock().scan(kind);
        if scan.changed {
            self.wake();
        }
        scan
    }

    /// Looks at what may have changed; gives the generation that has all that was found. What it finds is published by the
    /// thread, at once.
    pub fn look(&self, kind: ChecksumKind) -> u64 {
        let mut files = self.files.lock();
        if files.look(Which::Every, kind).changed {
            self.wake();
        }
        files.changes
    }

    /// The thread. `changed` is called after a run that published a difference, whichever scan found it; `classic` gives
    /// whether a worker is connected whose link needs BLAKE2b-512, so that its first check finds it.
    pub fn run(&self, node: &Node, changed: impl Fn(), classic: impl Fn() -> bool) {
        let turns = node.turns(Task::LocalIntegrity, scope("Master", "Local integrity"));
        let (mut told, mut announced) = (Told::default(), 0);
        let _watch = self.watch_files(turns.scope());
        let (mut which, mut rest, mut next) = (Which::Every, SHORTEST, node.clock.now());
        loop {
            // After one that failed the files of the run before stay in force, and its change is left to the next.
            let _ = turns.run(|| {
                let kind = if classic() { ChecksumKind::Blake2b } else { self.wanted() };
                self.turn_once(node, &turns, (which, kind), &mut told);
                let generation = self.generation();
                if announced != generation {
                    changed();
                    announced = generation;
                }
                Ok::<_, Infallible>(())
            });
            let now = node.clock.now();
            if which == Which::Every {
                next = now + self.period(node);
            }
            // A file that is missing is gone when its time is over, and not at the end of a period that began later.
            let due = self.files.lock().scanner.due();
            next = due.map_or(next, |due| next.min(now + due));
            if !node.shutdown.sleep(&node.clock, rest.min(self.period(node))) {
                return;
            }
            let busy = !self.wakeup.channel().is_empty();
            rest = if busy { (2 * rest).min(QUIET) } else { SHORTEST };
            if !self.wakeup.wait(&node.shutdown, &node.clock, next) {
                return;
            }
            which = if node.clock.now() < next { Which::Finished } else { Which::Every };
        }
    }

    /// The thread `file_watch`, as long as that is kept.
    fn watch_files(&self, scope: &Scope) -> Option<FileWatch> {
        let begin = |watch: &Arc<Watch>| FileWatch::begin(watch.clone(), self.wakeup.clone(), scope.clone());
        let begun = match &self.watch {
            Ok(watch) => begin(watch).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let begun = begun.inspect_err(|error| {
            warn!(
                scope,
                "Changes of files are noticed at the end of each period only: {error}. Is fs.inotify.max_user_instances \
                 (sysctl) large enough?"
            );
        });
        begun.ok()
    }

    /// The whole BLAKE2b-512 is kept while workers ask for it, that is while a stock worker is connected.
    fn wanted(&self) -> ChecksumKind {
        let asked = self.blake2b_asked.load(Ordering::Acquire);
        let wanted = asked > 0 && self.turn() - asked.min(self.turn()) < CLASSIC_TURNS;
        if wanted { ChecksumKind::Blake2b } else { ChecksumKind::Md5Blake2b }
    }

    fn period(&self, node: &Node) -> Duration {
        node.settings.master.recalculate_integrity
    }

    /// Looks and publishes.
    fn turn_once(&self, node: &Node, turns: &Turns, (which, kind): (Which, ChecksumKind), told: &mut Told) {
        let begun = turns.start();
        let (scan, generation) = {
            let mut files = self.files.lock();
            (files.look(which, kind), files.changes)
        };
        told.tell(turns.scope(), &scan.unreadable, self.watch.as_ref().ok().and_then(|watch| watch.refused()));
        let count = scan.manifest.entries().len();
        self.began_keyless.get_or_init(|| scan.manifest.is_keyless());
        self.published.write().publish(scan.manifest, generation, node.clock.wall());
        self.turn.fetch_add(1, Ordering::AcqRel);
        turns.finish(begun, &format!("Calculated metadata of {count} files."));
        let (now, period) = (node.clock.now(), self.period(node));
        self.deltas.age(now, period);
        if self.members.age(now, period) {
            memory::give_back();
        }
    }
}

impl Told {
    /// Tells what is news.
    fn tell(&mut self, scope: &Scope, unreadable: &[Unreadable], refused: Option<(usize, io::Error)>) {
        let now: HashSet<String> = unreadable.iter().map(|one| one.path.clone()).collect();
        for Unreadable { path, reason } in unreadable.iter().filter(|one| !self.unreadable.contains(&one.path)) {
            warn!(
                scope,
                "'{path}' cannot be read and is left out: {reason}. The workers keep the copy that they have; let the \
                 user of this daemon read it."
            );
        }
        self.unreadable = now;
        let warned = std::mem::replace(&mut self.unwatched, refused.is_some());
        if let Some((watched, error)) = refused.filter(|_| !warned) {
            warn!(
                scope,
                "Only {watched} directories can be watched: {error}. Changes in the others are noticed at the end of each \
                 period; raise fs.inotify.max_user_watches (sysctl)."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{Pair, wait_until};

    /// Of case 6.9: the change that a run has found is announced by the next one.
    #[test]
    fn a_run_that_panics_is_counted_and_its_change_is_left_to_the_next() {
        let pair = Pair::new();
        let (node, announced) = (pair.shared_node(), Arc::new(AtomicU64::new(0)));
        let local = Arc::new(LocalIntegrity::new(&node));
        std::fs::create_dir_all(node.home.path().join("etc/rules")).unwrap();
        std::fs::write(node.home.path().join("etc/rules/a.xml"), "a").unwrap();
        let (its, counted) = (local.clone(), announced.clone());
        let thread = std::thread::spawn(move || {
            let changed = || assert!(counted.fetch_add(1, Ordering::AcqRel) > 0, "as ordered");
            its.run(&node, changed, || false);
        });
        let one_more = |so: &dyn Fn() -> bool| {
            wait_until(|| {
                local.wake();
                pair.hand.advance(QUIET);
                so()
            });
        };
        let failures = || pair.node().metrics.task(Task::LocalIntegrity).failures.get();
        one_more(&|| failures() == 1);
        one_more(&|| announced.load(Ordering::Acquire) == 2);
        assert_eq!(failures(), 1);
        drop(pair);
        thread.join().unwrap();
    }
}
