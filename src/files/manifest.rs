//! The manifest: every synchronised file of this node with its checksums, in path order.

use std::{
    io::{self, Write},
    num::NonZeroU64,
    sync::{Arc, OnceLock},
};

use super::{
    checksum::{ChecksumKind, ContentSum, sum_of},
    digest::{Buckets, Digests},
    items::{ItemId, Items, KEYS},
    json,
};

/// One file of this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Relative to the home, without a leading slash. Shared between successive manifests.
    pub path: Arc<str>,
    /// The item that it belongs to.
    pub item: ItemId,
    /// Modification time in seconds since 1970, as the file system gives it.
    pub mod_time: f64,
    /// What the content is known by.
    pub sum: ContentSum,
    /// BLAKE2b-512 of the content; only there while some peer needs it.
    pub blake2b: Option<Arc<[u8; 64]>>,
}

impl Entry {
    /// MD5 of the content: 16 bytes.
    pub fn md5(&self) -> &[u8] {
        &self.sum[..16]
    }

    /// The checksum of this kind; `None` if it was not computed.
    pub fn checksum(&self, kind: ChecksumKind) -> Option<&[u8]> {
        match kind {
            ChecksumKind::Md5 => Some(self.md5()),
            ChecksumKind::Md5Blake2b => Some(&self.sum),
            ChecksumKind::Blake2b => self.blake2b.as_ref().map(|bytes| bytes.as_slice()),
        }
    }
}

/// What could not be looked at: it may exist, so nobody may be told to delete it.
///
/// The stock master tells its workers to delete a file that it cannot read (`spec/protocol.md` 18.11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    /// Files, sorted.
    pub files: Vec<String>,
    /// Directories with a final slash, sorted; all below them is protected.
    pub directories: Vec<String>,
}

impl Protected {
    /// Whether the path is one of these files or below one of these directories.
    pub fn covers(&self, path: &str) -> bool {
        self.files.binary_search_by(|file| file.as_str().cmp(path)).is_ok()
            || self.directories.iter().any(|directory| path.starts_with(directory.as_str()))
    }

    /// Whether nothing is protected.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty()
    }
}

/// All synchronised files of this node, as one scan found them. Never changed once made.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub(super) items: Arc<Items>,
    pub(super) entries: Vec<Entry>,
    pub(super) protected: Protected,
    /// Calculated when they are first asked for.
    digests: OnceLock<Digests>,
}

/// An entry lacks the checksum that was asked for: the scan was made without BLAKE2b. A fault of the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the BLAKE2b checksum of '{0}' has not been computed")]
pub struct NoChecksum(pub String);

impl Manifest {
    /// A manifest of these entries, which are put in path order; of two with one path the first stays.
    pub fn new(items: Arc<Items>, mut entries: Vec<Entry>, mut protected: Protected) -> Self {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|later, earlier| later.path == earlier.path);
        entries.shrink_to_fit();
        for list in [&mut protected.files, &mut protected.directories] {
            list.sort_unstable();
            list.dedup();
        }
        Self::of_sorted(items, entries, protected)
    }

    /// A manifest of what is in order already.
    pub(super) fn of_sorted(items: Arc<Items>, entries: Vec<Entry>, protected: Protected) -> Self {
        Self { items, entries, protected, digests: OnceLock::new() }
    }

    /// The items to which the entries' ids refer.
    pub fn items(&self) -> &Arc<Items> {
        &self.items
    }

    /// All entries in ascending byte order of their paths.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of this path.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| (*entry.path).cmp(path)).ok().map(|at| &self.entries[at])
    }

    /// What could not be looked at.
    pub fn protected(&self) -> &Protected {
        &self.protected
    }

    /// The key of an entry's item, as the wire spells it.
    pub fn key_of(&self, entry: &Entry) -> &str {
        &self.items.item(entry.item).key
    }

    /// Whether it has no key of an agent.
    pub fn is_keyless(&self) -> bool {
        self.find(KEYS).is_none_or(|keys| keys.sum == sum_of(b""))
    }

    /// Whether every entry has the checksum of this kind.
    pub fn has(&self, kind: ChecksumKind) -> bool {
        kind != ChecksumKind::Blake2b || self.entries.iter().all(|entry| entry.blake2b.is_some())
    }

    /// By what two manifests are compared without their entries.
    pub fn digests(&self) -> &Digests {
        self.digests.get_or_init(|| {
            Digests::of(self.entries.iter().map(|entry| (&*entry.path, self.key_of(entry), &entry.sum)))
        })
    }

    /// The entries of the files in these buckets.
    pub fn within(&self, buckets: Buckets) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| buckets.hold(&entry.path)).collect()
    }

    /// Writes the flat object that a worker sends (`spec/protocol.md` 10.2, 10.4 step 3), of these entries of its.
    ///
    /// # Errors
    /// When `out` cannot be written to, or with [`NoChecksum`] inside the error if a checksum was not computed.
    pub fn to_json(&self, entries: &[&Entry], kind: ChecksumKind, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{")?;
        self.write_entries(entries.iter().copied(), kind, |_| None, out)?;
        out.write_all(b"}")
    }

    /// Writes these entries of this manifest, comma-separated, without the braces around. `made` gives
    /// the size of those that are sent as deltas.
    pub(super) fn write_entries<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry>,
        kind: ChecksumKind,
        made: impl Fn(&Entry) -> Option<NonZeroU64>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for (at, entry) in entries.enumerate() {
            if at > 0 {
                out.write_all(b", ")?;
            }
            let checksum =
                entry.checksum(kind).ok_or_else(|| io::Error::other(NoChecksum(entry.path.as_ref().to_owned())))?;
            json::write_entry(out, &entry.path, entry.mod_time, self.key_of(entry), checksum, made(entry))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{checksum::Checksum, remote::RemoteManifest};

    fn entry(path: &str, blake2b: bool) -> Entry {
        Entry {
            path: path.into(),
            item: Items::standard().id_of_key("etc/shared/").unwrap(),
            mod_time: 1_795_426_503.5,
            sum: sum_of(path.as_bytes()),
            blake2b: blake2b.then(|| Arc::new([7; 64])),
        }
    }

    #[test]
    fn entries_stand_in_path_order_and_are_found() {
        let manifest = Manifest::new(
            Arc::new(Items::standard()),
            vec![entry("etc/shared/b", false), entry("etc/shared/a-", false), entry("etc/shared/a/x", false)],
            Protected::default(),
        );
        let paths: Vec<&str> = manifest.entries().iter().map(|entry| &*entry.path).collect();
        assert_eq!(paths, ["etc/shared/a-", "etc/shared/a/x", "etc/shared/b"]);
        assert!(manifest.find("etc/shared/a/x").is_some());
        assert!(manifest.find("etc/shared/a").is_none());
    }

    #[test]
    fn json_round_trips_for_every_checksum() {
        let manifest = Manifest::new(
            Arc::new(Items::standard()),
            vec![entry("etc/shared/ü \"q\"", true), entry("etc/shared/b", true)],
            Protected::default(),
        );
        for kind in [ChecksumKind::Md5, ChecksumKind::Md5Blake2b, ChecksumKind::Blake2b] {
            let mut json = Vec::new();
            manifest.to_json(&manifest.within(Buckets::ALL), kind, &mut json).unwrap();
            assert!(json.is_ascii());
            let remote = RemoteManifest::parse(&json, kind).unwrap();
            for (ours, theirs) in manifest.entries().iter().zip(remote.entries()) {
                assert_eq!((&*ours.path, ours.mod_time), (&*theirs.path, theirs.mod_time));
                assert_eq!(ours.checksum(kind), theirs.checksum.as_ref().map(Checksum::bytes));
                assert_eq!(remote.key_of(theirs), "etc/shared/");
            }
        }
    }

    #[test]
    fn a_checksum_that_was_not_computed_is_an_error() {
        let manifest =
            Manifest::new(Arc::new(Items::standard()), vec![entry("etc/shared/b", false)], Protected::default());
        assert!(!manifest.has(ChecksumKind::Blake2b));
        let error =
            manifest.to_json(&manifest.within(Buckets::ALL), ChecksumKind::Blake2b, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the BLAKE2b checksum of 'etc/shared/b' has not been computed");
    }

    #[test]
    fn protection_covers_files_and_all_below_directories() {
        let protected = Protected { files: vec!["a/b".into()], directories: vec!["c/".into()] };
        for (path, covered) in [("a/b", true), ("a/bc", false), ("c/d/e", true), ("c", false), ("cd/e", false)] {
            assert_eq!(protected.covers(path), covered, "{path}");
        }
    }
}
