//! What a worker's files lack against the master's (`spec/protocol.md` 10.5).

use std::{
    cmp::Ordering,
    io::{self, Write},
};

use super::{
    checksum::{Checksum, ChecksumKind, ContentSum},
    delta::Made,
    digest::Buckets,
    json,
    lately::Changes,
    manifest::{Entry, Manifest, NoChecksum},
    remote::{RemoteEntry, RemoteManifest},
};

/// The differences between a master and one worker, each list in path order.
#[derive(Debug)]
pub struct Difference<'a> {
    /// Files that the worker lacks; `missing` on the wire.
    pub create: Vec<&'a Entry>,
    /// Files whose content differs; `shared` on the wire.
    pub update: Vec<&'a Entry>,
    /// Files that the master certainly does not have; `extra` on the wire.
    pub delete: Vec<&'a RemoteEntry>,
    /// How many files of the worker are left alone because the master could not look at its own.
    pub protected: usize,
    /// How many files of the master are in no bucket that was compared.
    pub others: usize,
    master: &'a Manifest,
    worker: &'a RemoteManifest,
    kind: ChecksumKind,
}

/// Compares the files of the two lists that are in `buckets`, in one walk. The worker's claims are only compared, never
/// used as paths.
///
/// # Errors
/// When the master's manifest lacks checksums of this kind, which is a fault of the program.
pub fn compare<'a>(
    master: &'a Manifest,
    worker: &'a RemoteManifest,
    kind: ChecksumKind,
    buckets: Buckets,
) -> Result<Difference<'a>, NoChecksum> {
    let ours = master.within(buckets);
    let others = master.entries().len() - ours.len();
    let mut found =
        Difference { create: vec![], update: vec![], delete: vec![], protected: 0, others, master, worker, kind };
    let mut ours = ours.into_iter().peekable();
    let mut theirs = worker.entries().iter().filter(|entry| buckets.hold(&entry.path)).peekable();
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (Some(a), Some(b)) => (*a.path).cmp(&*b.path),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(found),
        };
        let our = if order.is_le() { ours.next() } else { None };
        let their = if order.is_ge() { theirs.next() } else { None };
        let sum = match our {
            Some(entry) => Some(entry.checksum(kind).ok_or_else(|| NoChecksum(entry.path.as_ref().to_owned()))?),
            None => None,
        };
        match (our, their) {
            (Some(entry), Some(claim)) => {
                if claim.checksum.as_ref().map(Checksum::bytes) != sum {
                    found.update.push(entry);
                }
            }
            (Some(entry), None) => found.create.push(entry),
            (None, Some(claim)) if master.protected().covers(&claim.path) => found.protected += 1,
            (None, Some(claim)) => found.delete.push(claim),
            (None, None) => return Ok(found),
        }
    }
}

/// How many files differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To create in the worker.
    pub create: usize,
    /// To update in the worker.
    pub update: usize,
    /// To delete in the worker.
    pub delete: usize,
}

impl Counts {
    /// All of them.
    pub fn sum(self) -> usize {
        self.create + self.update + self.delete
    }
}

impl<'a> Difference<'a> {
    /// Between the files of `master` and those that it had before these changes.
    pub fn of(changes: &'a Changes, master: &'a Manifest) -> Self {
        let (create, update) = (changes.create.iter().collect::<Vec<_>>(), changes.update.iter().collect::<Vec<_>>());
        let others = master.entries().len() - create.len() - update.len();
        let gone = changes.before.entries().iter().filter(|entry| master.find(&entry.path).is_none());
        let (protected, delete): (Vec<_>, Vec<_>) = gone.partition(|entry| master.protected().covers(&entry.path));
        let (protected, worker, kind) = (protected.len(), &changes.before, ChecksumKind::Md5Blake2b);
        Self { create, update, delete, protected, others, master, worker, kind }
    }
}

impl Difference<'_> {
    /// How many files differ.
    pub fn counts(&self) -> Counts {
        Counts { create: self.create.len(), update: self.update.len(), delete: self.delete.len() }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.counts().sum() == 0
    }

    /// The checksum that the lists were compared by.
    pub fn kind(&self) -> ChecksumKind {
        self.kind
    }

    /// The sum of the worker's file of this path, if the lists were compared by sums.
    pub fn held(&self, path: &str) -> Option<&ContentSum> {
        match self.worker.find(path)?.checksum.as_ref()? {
            Checksum::Md5Blake2b(sum) => Some(sum),
            Checksum::Md5(_) | Checksum::Blake2b(_) => None,
        }
    }

    /// Writes the metadata of the master's archive (10.6) without the files to create and to update for which `left_out`
    /// holds: those that could not be read or did not fit. They come in a later cycle. Those that are to be `made` are
    /// sent as deltas.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_json(&self, left_out: impl Fn(&Entry) -> bool, made: &Made, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{\"missing\": {")?;
        self.write_ours(&self.create, &left_out, made, out)?;
        out.write_all(b"}, \"extra\": {")?;
        for (at, entry) in self.delete.iter().enumerate() {
            if at > 0 {
                out.write_all(b", ")?;
            }
            let checksum = entry.checksum.as_ref().map_or(&[][..], Checksum::bytes);
            json::write_entry(out, &entry.path, entry.mod_time, self.worker.key_of(entry), checksum, None)?;
        }
        out.write_all(b"}, \"shared\": {")?;
        self.write_ours(&self.update, &left_out, made, out)?;
        out.write_all(b"}}")
    }

    fn write_ours(
        &self,
        list: &[&Entry],
        left_out: impl Fn(&Entry) -> bool,
        made: &Made,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let kept = list.iter().copied().filter(|entry| !left_out(entry));
        self.master.write_entries(kept, self.kind, |entry| made.get(&entry.path).copied(), out)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::files::{items::Items, manifest::Protected, remote::RemoteUpdate};

    fn manifest(files: &BTreeMap<String, u8>, protected: Protected) -> Manifest {
        let items = Arc::new(Items::standard());
        let shared = items.id_of_key("etc/shared/").unwrap();
        let entries = files.iter().map(|(path, content)| Entry {
            path: path.as_str().into(),
            item: shared,
            mod_time: 1.5,
            sum: [*content; 32],
            blake2b: None,
        });
        Manifest::new(items, entries.collect(), protected)
    }

    fn remote(files: &BTreeMap<String, u8>) -> RemoteManifest {
        let mut json = Vec::new();
        let manifest = manifest(files, Protected::default());
        manifest.to_json(&manifest.within(Buckets::ALL), ChecksumKind::Md5, &mut json).unwrap();
        RemoteManifest::parse(&json, ChecksumKind::Md5).unwrap()
    }

    fn files() -> impl Strategy<Value = BTreeMap<String, u8>> {
        proptest::collection::btree_map("[ab]{1,3}/[a-c-]{1,2}", 0u8..3, 0..12)
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_naive_comparison(ours in files(), theirs in files()) {
            let (master, worker) = (manifest(&ours, Protected::default()), remote(&theirs));
            let found = compare(&master, &worker, ChecksumKind::Md5, Buckets::ALL).unwrap();
            let missing: Vec<&str> = ours.keys().filter(|p| !theirs.contains_key(*p)).map(|p| &**p).collect();
            let extra: Vec<&str> = theirs.keys().filter(|p| !ours.contains_key(*p)).map(|p| &**p).collect();
            let shared: Vec<&str> =
                ours.iter().filter(|(p, c)| theirs.get(*p).is_some_and(|d| d != *c)).map(|(p, _)| &**p).collect();
            prop_assert_eq!(found.create.iter().map(|e| &*e.path).collect::<Vec<_>>(), missing);
            prop_assert_eq!(found.update.iter().map(|e| &*e.path).collect::<Vec<_>>(), shared);
            prop_assert_eq!(found.delete.iter().map(|e| &*e.path).collect::<Vec<_>>(), extra);
            prop_assert_eq!(found.is_empty(), ours == theirs);

            // Where the digests differ, there is all that differs.
            let other = manifest(&theirs, Protected::default());
            let buckets = other.digests().differing(&master.digests().answer(ours == theirs));
            let part = compare(&master, &worker, ChecksumKind::Md5, buckets).unwrap();
            prop_assert_eq!((&part.create, &part.update, &part.delete), (&found.create, &found.update, &found.delete));

            let mut json = Vec::new();
            found.write_json(|_| false, &Made::default(), &mut json).unwrap();
            let read = RemoteUpdate::parse(&json, ChecksumKind::Md5).unwrap();
            prop_assert_eq!(read.create.entries().len(), found.create.len());
            prop_assert_eq!(read.update.entries().len(), found.update.len());
            prop_assert_eq!(read.delete.entries().len(), found.delete.len());
        }
    }

    fn map(list: &[(&str, u8)]) -> BTreeMap<String, u8> {
        list.iter().map(|(path, content)| ((*path).to_owned(), *content)).collect()
    }

    #[test]
    fn protected_files_of_the_worker_are_left_alone() {
        let protected = Protected { files: vec!["a/x".into()], directories: vec!["b/".into()] };
        let (master, worker) = (manifest(&map(&[]), protected), remote(&map(&[("a/x", 1), ("a/y", 1), ("b/c/d", 1)])));
        let found = compare(&master, &worker, ChecksumKind::Md5, Buckets::ALL).unwrap();
        assert_eq!(found.delete.iter().map(|e| &*e.path).collect::<Vec<_>>(), ["a/y"]);
        assert_eq!(found.protected, 2);
    }

    #[test]
    fn left_out_files_are_not_in_the_metadata() {
        let (master, worker) =
            (manifest(&map(&[("a/x", 1), ("a/y", 2)]), Protected::default()), remote(&map(&[("a/y", 3)])));
        let found = compare(&master, &worker, ChecksumKind::Md5, Buckets::ALL).unwrap();
        let mut json = Vec::new();
        found.write_json(|entry| &*entry.path == "a/x", &Made::default(), &mut json).unwrap();
        let text = String::from_utf8(json).unwrap();
        assert_eq!(
            text,
            r#"{"missing": {}, "extra": {}, "shared": {"a/y": {"mod_time": 1.5, "cluster_item_key": "etc/shared/", "merged": false, "hash": "02020202020202020202020202020202"}}}"#
        );
    }

    #[test]
    fn a_manifest_without_blake2b_cannot_be_compared_by_it() {
        let files = map(&[("a/x", 1)]);
        let error =
            compare(&manifest(&files, Protected::default()), &remote(&files), ChecksumKind::Blake2b, Buckets::ALL)
                .unwrap_err();
        assert_eq!(error, NoChecksum("a/x".into()));
        let lacking = remote(&map(&[]));
        assert!(
            compare(&manifest(&files, Protected::default()), &lacking, ChecksumKind::Blake2b, Buckets::ALL).is_err()
        );
    }

    #[test]
    fn a_claim_without_checksum_counts_as_different() {
        let worker = RemoteManifest::parse(br#"{"a/x": {"hash": "zz"}}"#, ChecksumKind::Md5).unwrap();
        let master = manifest(&map(&[("a/x", 1)]), Protected::default());
        assert_eq!(compare(&master, &worker, ChecksumKind::Md5, Buckets::ALL).unwrap().update.len(), 1);
    }
}
