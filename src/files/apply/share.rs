//! Sharing the files of a large update out to two threads.
//!
//! What takes the time of many small files is the kernel's work to create and to rename them, and the file system does
//! that for two threads at once, even in one directory. No thread relies on the order in which the files come: each
//! file is staged and renamed by itself, and between staging, journal and renaming all threads have ended.

use std::{
    ops::Range,
    panic::resume_unwind,
    thread::{Builder, scope},
};

use parking_lot::Mutex;

/// Up to this many files each is synced by itself; beyond, whole file systems are.
pub(super) const FEW: usize = 64;

/// From this many files on two threads write them.
pub(super) const MANY: usize = 256;

/// How an update of some size is carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Whether every file and directory is synced by itself; else whole file systems are.
    pub(super) sync_each: bool,
    /// How many threads work.
    pub(super) threads: usize,
}

impl How {
    /// Up to `few` files are synced by themselves, from `many` on there are two threads.
    pub(super) fn new(count: usize, few: usize, many: usize) -> Self {
        Self { sync_each: count <= few, threads: if count >= many { 2 } else { 1 } }
    }
}

/// The most files that a thread takes at a time. An ordinary directory is one thread's alone, for two that make names in
/// it would wait for each other; a huge one is shared all the same, because the contents can be written side by side.
const BATCH: usize = 128;

/// Sorted things of which each thread takes the next when it is ready.
pub(super) struct Pile<'a, T> {
    things: &'a [T],
    /// Number of the first that nobody has taken.
    next: Mutex<usize>,
    batch: usize,
}

impl<'a, T> Pile<'a, T> {
    pub(super) fn new(things: &'a [T], how: How) -> Self {
        // A single thread opens and syncs every directory once.
        let batch = if how.threads > 1 { BATCH } else { usize::MAX };
        Pile { things, next: Mutex::new(0), batch }
    }

    /// Takes neighbours of one directory. `together` tells whether two things belong to the same.
    pub(super) fn take(&self, together: impl Fn(&T, &T) -> bool) -> Option<(Range<usize>, &'a [T])> {
        let mut next = self.next.lock();
        let rest = &self.things[*next..];
        let first = rest.first()?;
        let count = rest.iter().take(self.batch).take_while(|thing| together(first, thing)).count();
        let numbers = *next..*next + count;
        *next = numbers.end;
        Some((numbers, &rest[..count]))
    }
}

/// Does the same work on this thread and as many more as `how` says, and gives what each of them gave. If the kernel
/// refuses a thread, the others do its part.
pub(super) fn on_threads<T: Send>(how: How, work: impl Fn() -> T + Sync) -> Vec<T> {
    scope(|scope| {
        let others: Vec<_> = (1..how.threads)
            .filter_map(|_| Builder::new().name("apply".to_owned()).spawn_scoped(scope, &work).ok())
            .collect();
        let mut done = vec![work()];
        done.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))));
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_taken_once_and_directories_are_not_mixed() {
        let things: Vec<usize> = (0..1000).map(|n| n / 300).collect();
        for many in [0, usize::MAX] {
            let how = How::new(things.len(), 0, many);
            let pile = Pile::new(&things, how);
            let shares = on_threads(how, || {
                let mut taken = Vec::new();
                while let Some((numbers, some)) = pile.take(|a, b| a == b) {
                    assert_eq!(&things[numbers.clone()], some);
                    assert!(some.iter().all(|thing| *thing == some[0]));
                    taken.extend(numbers);
                }
                taken
            });
            assert_eq!(shares.len(), how.threads);
            let mut taken = shares.concat();
            taken.sort_unstable();
            assert_eq!(taken, (0..things.len()).collect::<Vec<_>>());
        }
    }
}
