//! What was read from the database, turn by turn, and how much of it each worker has.

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
    /// How often all of that was forgotten: a parcel that was given out before does not show what a worker has.
    generation: u64,
    /// How many turns have begun to read, and how many of them the log covers.
    begun: u64,
    covers: u64,
}

/// What one worker is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The turn up to which it then has everything.
    turn: u64,
    /// That of the log when it was given out.
    generation: u64,
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
        self.covers = self.begun;
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
        self.generation += 1;
    }

    /// Whether only the whole table brings this worker up to date.
    pub fn lacks_history(&self, worker: &str) -> bool {
        self.delivered.get(worker).is_none_or(|turn| *turn < self.forgotten)
    }

    /// What `worker` is to get now, if anything; `whole` is the whole table, with its hash, as it was after the latest
    /// turn. None also when it needs the whole table and there is none.
    pub fn parcel(&self, worker: &str, whole: Option<&Arc<Vec<String>>>) -> Option<Parcel> {
        if self.lacks_history(worker) {
            return whole.map(|whole| self.up_to_now(vec![whole.clone()]));
        }
        let latest = self.latest.clone();
        let has = self.delivered.get(worker).copied().filter(|turn| *turn < self.turn)?;
        let missed = self.earlier.iter().filter(|(turn, _)| *turn > has).map(|(_, chunks)| chunks.clone());
        let parts: Vec<_> = missed.chain([latest]).filter(|chunks| !chunks.is_empty()).collect();
        Some(self.up_to_now(parts))
    }

    fn up_to_now(&self, parts: Vec<Arc<Vec<String>>>) -> Parcel {
        Parcel { turn: self.turn, generation: self.generation, parts }
    }

    /// A turn begins to read.
    pub fn begin(&mut self) {
        self.begun += 1;
    }

    /// How many turns have begun.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether `worker` has all that was read, and the last that was read was a turn that began behind the first `begun`.
    pub fn has_all(&self, worker: &str, begun: u64) -> bool {
        self.covers > begun && self.delivered.get(worker) == Some(&self.turn)
    }

    /// `worker` has all of `parcel`. If everything was forgotten meanwhile, that is not enough.
    pub fn delivered(&mut self, worker: &str, parcel: &Parcel) {
        if parcel.generation != self.generation {
            return;
        }
        if self.delivered.len() >= WORKERS && !self.delivered.contains_key(worker) {
            self.delivered.clear();
        }
        self.delivered.insert(worker.to_owned(), parcel.turn);
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

    /// `worker` has got everything.
    fn delivered(log: &mut Log, worker: &str) {
        let parcel = log.up_to_now(Vec::new());
        log.delivered(worker, &parcel);
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
        delivered(&mut log, "w");
        assert_eq!(log.parcel("w", None), None);
        log.push(groups("hash", false));
        assert_eq!(texts(log.parcel("w", None)).unwrap(), "hash");
        log.push(groups("b", true));
        log.push(groups("c", true));
        log.push(groups("hash2", false));
        // It was away since turn 1.
        assert_eq!(texts(log.parcel("w", None)).unwrap(), "b c hash2");
        delivered(&mut log, "w");
        assert_eq!(log.parcel("w", Some(&whole)), None);
        log.forget();
        assert_eq!(texts(log.parcel("w", Some(&whole))).unwrap(), "whole");
    }

    #[test]
    fn a_worker_has_all_when_a_turn_that_began_later_has_arrived() {
        let mut log = Log::default();
        log.begin();
        let asked = log.begun();
        log.push(groups("read before", true));
        delivered(&mut log, "w");
        assert!(!log.has_all("w", asked), "that turn may have missed what came since");
        log.begin();
        log.push(groups("hash", false));
        assert!(!log.has_all("w", asked));
        delivered(&mut log, "w");
        assert!(log.has_all("w", asked) && !log.has_all("other", asked));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut log = Log::default();
        log.push(groups("a", true));
        delivered(&mut log, "w");
        log.push(groups(&"x".repeat(KEPT), true));
        assert!(!log.lacks_history("w"));
        log.push(groups("b", true));
        log.push(groups("c", true));
        assert!(log.lacks_history("w"), "a turn that it needs is gone");
        log.delivered("w", &Parcel { turn: 3, generation: 0, parts: Vec::new() });
        assert_eq!(texts(log.parcel("w", None)).unwrap(), "c");
        for worker in 0..2 * WORKERS {
            delivered(&mut log, &worker.to_string());
        }
        assert!(log.delivered.len() <= WORKERS);
    }

    /// Case 6.7: something may have been lost while a parcel is on its way.
    #[test]
    fn what_was_under_way_when_all_was_forgotten_is_not_enough() {
        let mut log = Log::default();
        let whole = Arc::new(vec!["whole".to_owned()]);
        log.push(groups("a", true));
        delivered(&mut log, "w");
        log.push(groups("b", true));
        let under_way = log.parcel("w", None).unwrap();
        let whole_under_way = log.parcel("new", Some(&whole)).unwrap();
        log.forget();
        log.delivered("w", &under_way);
        log.delivered("new", &whole_under_way);
        for worker in ["w", "new"] {
            assert!(log.lacks_history(worker), "{worker}");
            let parcel = log.parcel(worker, Some(&whole)).unwrap();
            log.delivered(worker, &parcel);
            assert!(!log.lacks_history(worker), "{worker}");
        }
    }
}
