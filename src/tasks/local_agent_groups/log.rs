//! What was read from the database, turn by turn, and which worker has how much of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::agents::Groups;

/// Bytes of assignments that are kept for workers that are away. One that missed more gets the whole table.
const KEPT: usize = 4 * 1024 * 1024;

/// Workers that are remembered; names come from peers, so their number is bounded.
const WORKERS: usize = 4096;

/// The turns so far.
#[derive(Default)]
pub struct Log {
    /// The number of the latest turn; the first is 1.
    turn: u64,
    /// What the latest turn gave: assignments, or the hash alone.
    latest: Arc<Vec<String>>,
    /// Earlier turns that gave assignments, and their numbers.
    earlier: VecDeque<(u64, Arc<Vec<String>>)>,
    /// Whether the latest turn gave assignments.
    latest_has_agents: bool,
    /// The last turn that is no longer kept.
    forgotten: u64,
    /// The turn up to which a worker has everything, by its name.
    delivered: HashMap<String, u64>,
}

/// What one worker is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The turn up to which it then has everything.
    pub turn: u64,
    /// Parts in order; each is a list of chunks.
    pub parts: Vec<Arc<Vec<String>>>,
}

impl Log {
    /// A turn has been made.
    pub fn push(&mut self, groups: Groups) {
        let before = std::mem::replace(&mut self.latest, Arc::new(groups.chunks));
        if std::mem::replace(&mut self.latest_has_agents, groups.agents) {
            self.earlier.push_back((self.turn, before));
        }
        self.turn += 1;
        let mut size: usize = self.earlier.iter().map(|(_, chunks)| bytes(chunks)).sum();
        while size > KEPT
            && let Some((turn, chunks)) = self.earlier.pop_front()
        {
            size -= bytes(&chunks);
            self.forgotten = turn;
        }
    }

    /// Nothing is known any more of what workers have: each gets the whole table.
    pub fn forget(&mut self) {
        self.delivered.clear();
    }

    /// Whether only the whole table brings this worker up to date.
    pub fn lacks_history(&self, worker: &str) -> bool {
        self.delivered.get(worker).is_none_or(|turn| *turn < self.forgotten)
    }

    /// What `worker` is to get now, if anything; `whole` is the whole table, with its hash, as it was after the latest
    /// turn. None also when it needs the whole table and there is none.
    pub fn parcel(&self, worker: &str, whole: Option<&Arc<Vec<String>>>) -> Option<Parcel> {
        if self.lacks_history(worker) {
            return whole.map(|whole| Parcel { turn: self.turn, parts: vec![whole.clone()] });
        }
        let latest = self.latest.clone();
        let has = self.delivered.get(worker).copied().filter(|turn| *turn < self.turn)?;
        let missed = self.earlier.iter().filter(|(turn, _)| *turn > has).map(|(_, chunks)| chunks.clone());
        let parts: Vec<_> = missed.chain([latest]).filter(|chunks| !chunks.is_empty()).collect();
        Some(Parcel { turn: self.turn, parts })
    }

    /// `worker` has everything up to `turn`.
    pub fn delivered(&mut self, worker: &str, turn: u64) {
        if self.delivered.len() >= WORKERS && !self.delivered.contains_key(worker) {
            self.delivered.clear();
        }
        self.delivered.insert(worker.to_owned(), turn);
    }
}

fn bytes(chunks: &[String]) -> usize {
    chunks.iter().map(String::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(chunk: &str, agents: bool) -> Groups {
        Groups { chunks: vec![chunk.to_owned()], agents }
    }

    fn texts(parcel: Option<Parcel>) -> Option<String> {
        parcel.map(|parcel| parcel.parts.iter().flat_map(|part| part.iter().cloned()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_worker_gets_what_it_missed_and_a_new_one_everything() {
        let mut log = Log::default();
        let whole = Arc::new(vec!["whole".to_owned()]);
        log.push(groups("a", true));
        assert!(log.lacks_history("w"));
        assert_eq!(log.parcel("w", None), None);
        assert_eq!(texts(log.parcel("w", Some(&whole))).unwrap(), "whole");
        log.delivered("w", 1);
        assert_eq!(log.parcel("w", None), None);
        log.push(groups("hash", false));
        assert_eq!(texts(log.parcel("w", None)).unwrap(), "hash");
        log.push(groups("b", true));
        log.push(groups("c", true));
        log.push(groups("hash2", false));
        // It was away since turn 1.
        assert_eq!(texts(log.parcel("w", None)).unwrap(), "b c hash2");
        log.delivered("w", 5);
        assert_eq!(log.parcel("w", Some(&whole)), None);
        log.forget();
        assert_eq!(texts(log.parcel("w", Some(&whole))).unwrap(), "whole");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut log = Log::default();
        log.push(groups("a", true));
        log.delivered("w", 1);
        log.push(groups(&"x".repeat(KEPT), true));
        assert!(!log.lacks_history("w"));
        log.push(groups("b", true));
        log.push(groups("c", true));
        assert!(log.lacks_history("w"), "a turn that it needs is gone");
        log.delivered("w", 3);
        assert_eq!(texts(log.parcel("w", None)).unwrap(), "c");
        for worker in 0..2 * WORKERS {
            log.delivered(&worker.to_string(), 3);
        }
        assert!(log.delivered.len() <= WORKERS);
    }
}
