//! Deletions that a person is to confirm: a master that starts with an empty volume must not empty its workers.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;

use crate::{
    files::{Checksum, ChecksumKind, Difference, KEYS, Manifest, Proof, RemoteManifest},
    tasks::integrity::Held,
};

/// Deletions of so many files are never held back.
const FEW: usize = 10;

/// Names of workers that are remembered. Beyond, all are forgotten and judged anew.
const NAMES: usize = 4096;

/// What the first comparison of each worker since the start of this master would take from it.
///
/// A worker is released by the first comparison that takes little from it, or by a person. From then on it is sent every
/// deletion.
#[derive(Default)]
pub struct Deletions(Mutex<Workers>);

#[derive(Default)]
struct Workers {
    released: HashSet<String>,
    held: BTreeMap<String, Held>,
}

impl Deletions {
    /// Takes out of `difference` what is held back from `worker`; gives what that is. `keyless` is whether this
    /// master started without keys of agents.
    pub(super) fn hold(
        &self,
        worker: &str,
        difference: &mut Difference<'_>,
        (master, remote): (&Manifest, &RemoteManifest),
        keyless: bool,
    ) -> Option<Held> {
        let mut workers = self.0.lock();
        if workers.released.contains(worker) {
            return None;
        }
        let (surplus, of) = (difference.delete.len(), difference.others + remote.entries().len());
        let held = Held {
            deletions: if surplus > FEW && 2 * surplus > of { surplus } else { 0 },
            of,
            keys: keyless && has_other_keys(remote, master, difference.kind()),
        };
        if held.is_nothing() {
            // Files that this master cannot read now may be gone when it can.
            if difference.protected == 0 {
                workers.release(worker);
            }
            return None;
        }
        workers.held.insert(worker.to_owned(), held);
        if workers.held.len() > NAMES {
            workers.held.pop_first();
        }
        drop(workers);
        if held.deletions > 0 {
            difference.delete.clear();
        }
        if held.keys {
            difference.update.retain(|entry| &*entry.path != KEYS);
        }
        Some(held)
    }

    /// Whether `worker` is sent every deletion.
    pub(super) fn are_sent(&self, worker: &str) -> bool {
        self.0.lock().released.contains(worker)
    }

    /// The files of `worker` are those of this master.
    pub(super) fn equal(&self, worker: &str) {
        let mut workers = self.0.lock();
        if !workers.released.contains(worker) {
            workers.release(worker);
        }
    }

    /// A worker of this name would be another one: it is judged anew.
    pub fn forget(&self, worker: &str) {
        let mut workers = self.0.lock();
        workers.released.remove(worker);
        workers.held.remove(worker);
    }

    /// Lets go what is held back from the workers that `chosen` takes; gives their names, and what that is.
    pub fn confirm(&self, chosen: impl Fn(&str) -> bool) -> BTreeMap<String, Held> {
        let mut workers = self.0.lock();
        let held = std::mem::take(&mut workers.held);
        let (confirmed, left): (BTreeMap<_, _>, _) = held.into_iter().partition(|(name, _)| chosen(name));
        workers.held = left;
        confirmed.keys().for_each(|name| workers.release(name));
        confirmed
    }
}

impl Workers {
    fn release(&mut self, worker: &str) {
        if self.released.len() == NAMES {
            self.released.clear();
        }
        self.released.insert(worker.to_owned());
        self.held.remove(worker);
    }
}

/// Whether the worker would lose keys to those of the master.
fn has_other_keys(remote: &RemoteManifest, master: &Manifest, kind: ChecksumKind) -> bool {
    let Some(theirs) = remote.find(KEYS) else { return false };
    let theirs = theirs.checksum.as_ref();
    let ours = master.find(KEYS).and_then(|keys| keys.checksum(kind));
    theirs.map(Checksum::bytes) != ours && !theirs.is_some_and(|theirs| Proof::of(kind, b"").fits(theirs))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::files::{Buckets, Entry, Items, compare, sum_of};

    fn manifest(files: &[(String, &str)]) -> Manifest {
        let items = Arc::new(Items::standard());
        let rules = items.id_of_key("etc/rules/").unwrap();
        let entry = |(path, content): &(String, &str)| Entry {
            path: path.as_str().into(),
            item: rules,
            mod_time: 0.0,
            sum: sum_of(content.as_bytes()),
            blake2b: None,
        };
        Manifest::new(items, files.iter().map(entry).collect(), Default::default())
    }

    fn rules(count: usize) -> Vec<(String, &'static str)> {
        (0..count).map(|number| (format!("etc/rules/{number}"), "rule")).collect()
    }

    /// What is held back from a worker with `theirs`, and which of its keys and surplus files is sent all the same.
    fn held(
        deletions: &Deletions,
        ours: &[(String, &str)],
        theirs: &[(String, &str)],
        keyless: bool,
    ) -> (Option<Held>, [usize; 2]) {
        let (master, worker) = (manifest(ours), manifest(theirs));
        let mut json = Vec::new();
        worker.to_json(&worker.within(Buckets::ALL), ChecksumKind::Md5, &mut json).unwrap();
        let remote = RemoteManifest::parse(&json, ChecksumKind::Md5).unwrap();
        let mut difference = compare(&master, &remote, ChecksumKind::Md5, Buckets::ALL).unwrap();
        let held = deletions.hold("w1", &mut difference, (&master, &remote), keyless);
        (held, [difference.update.len(), difference.delete.len()])
    }

    #[test]
    fn more_than_half_of_the_files_and_more_than_ten_are_held_back_until_they_are_confirmed() {
        for (ours, theirs, expected) in [(0, 10, 0), (0, 11, 11), (11, 22, 0), (10, 21, 11), (90, 100, 0)] {
            let (found, [_, sent]) = held(&Deletions::default(), &rules(ours), &rules(theirs), false);
            assert_eq!(found.map_or(0, |held| held.deletions), expected, "{ours} of {theirs}");
            assert_eq!(sent, theirs - ours - expected);
        }
        let deletions = Deletions::default();
        let (found, [_, sent]) = held(&deletions, &[], &rules(20), false);
        assert_eq!((found, sent), (Some(Held { deletions: 20, of: 20, keys: false }), 0));
        assert!(deletions.confirm(|name| name == "w2").is_empty());
        assert_eq!(deletions.confirm(|name| name == "w1").len(), 1);
        assert_eq!(held(&deletions, &[], &rules(20), false), (None, [0, 20]));
        assert!(deletions.confirm(|_| true).is_empty());
    }

    #[test]
    fn keys_are_left_alone_if_the_master_started_without_any() {
        let keys = |content| vec![(KEYS.to_owned(), content)];
        let cases = [
            (keys("first agent"), keys("others"), true, true),
            (vec![], keys("others"), true, true),
            (keys("first agent"), keys("others"), false, false),
            (keys("first agent"), keys(""), true, false),
            (keys("first agent"), vec![], true, false),
            (keys("same"), keys("same"), true, false),
        ];
        for (ours, theirs, keyless, expected) in cases {
            let (found, [shared, _]) = held(&Deletions::default(), &ours, &theirs, keyless);
            assert_eq!(found.is_some_and(|held| held.keys), expected, "{ours:?} {theirs:?}");
            assert!(!expected || shared == 0);
        }
    }

    #[test]
    fn names_without_end_take_no_more_memory() {
        let deletions = Deletions::default();
        (0..3 * NAMES).for_each(|number| deletions.equal(&format!("w{number}")));
        assert!(deletions.0.lock().released.len() <= NAMES);
    }
}
