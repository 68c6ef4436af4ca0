//! A peer's file metadata, read from JSON that it sent.
//!
//! Everything in it is the peer's claim. Paths and keys are kept as they came and checked where they are used
//! ([`Items::permits_key`](super::items::Items::permits_key)), so that one bad entry spoils only itself.

use std::{borrow::Cow, collections::HashMap, fmt, num::NonZeroU64};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{
    checksum::{Checksum, ChecksumKind},
    manifest::Entry,
    path::LONGEST_PATH,
};

/// Most entries that are taken from one peer, in all lists of an update: more than its longest metadata can hold of real
/// ones, each of which has a checksum and some words.
pub const MOST_ENTRIES: usize = 400_000;
/// Most bytes of all their paths.
pub const LONGEST_PATHS: usize = 32 << 20;
/// Most different item keys that are taken from one peer.
const MOST_KEYS: usize = 1000;

/// One file of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteEntry {
    /// As the peer spelt it: unchecked.
    pub path: Box<str>,
    /// Seconds; only ever written back to the peer.
    pub mod_time: f64,
    /// `None` if `hash` is not a checksum of the link's kind.
    pub checksum: Option<Checksum>,
    /// If its content comes as a delta, the bytes of what that makes.
    pub made: Option<NonZeroU64>,
    key: u16,
}

/// A peer's files in path order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteManifest {
    entries: Vec<RemoteEntry>,
    keys: Vec<Box<str>>,
    unreadable: Vec<String>,
}

/// The three lists of a master's archive (`spec/protocol.md` 10.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteUpdate {
    /// Files that the worker lacks; `missing` on the wire.
    pub create: RemoteManifest,
    /// Files with another content; `shared` on the wire.
    pub update: RemoteManifest,
    /// Files that the master does not have; `extra` on the wire.
    pub delete: RemoteManifest,
}

/// The metadata cannot be understood. The peer is at fault.
#[derive(Debug, thiserror::Error)]
#[error("the file metadata of the peer cannot be read: {0}")]
pub struct RemoteError(#[from] serde_json::Error);

impl RemoteManifest {
    /// Reads a worker's flat `{path: object}` (10.2). Unknown fields are ignored, the last of equal paths stays.
    ///
    /// # Errors
    /// [`RemoteError`]: the text is not such an object, or beyond the bounds; the peer is at fault.
    pub fn parse(json: &[u8], kind: ChecksumKind) -> Result<Self, RemoteError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let manifest = Files(kind, &mut Room::default()).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(manifest)
    }

    /// Files of this node in path order, each with the key of its item, as another one would tell of them.
    pub(super) fn of<'a>(files: impl Iterator<Item = (&'a Entry, &'a str)>) -> Self {
        let (mut entries, mut keys) = (Vec::new(), Keys::default());
        for (Entry { path, mod_time, sum, .. }, key) in files {
            let (path, checksum) = ((&**path).into(), Some(Checksum::Md5Blake2b(*sum)));
            // A node has fewer items than a peer may have keys.
            let key = keys.number(key).unwrap_or_default();
            entries.push(RemoteEntry { path, mod_time: *mod_time, checksum, made: None, key });
        }
        Self { entries, keys: keys.in_order(), unreadable: Vec::new() }
    }

    /// All entries in ascending byte order of their paths, each path once.
    pub fn entries(&self) -> &[RemoteEntry] {
        &self.entries
    }

    /// The memory that it takes, in bytes.
    pub fn size(&self) -> usize {
        self.entries.iter().map(|entry| size_of::<RemoteEntry>() + entry.path.len()).sum()
    }

    /// The `cluster_item_key` of one of its entries; empty if it had none.
    pub fn key_of(&self, entry: &RemoteEntry) -> &str {
        self.keys.get(usize::from(entry.key)).map_or("", |key| key)
    }

    /// The entry of this path.
    pub fn find(&self, path: &str) -> Option<&RemoteEntry> {
        self.entries.binary_search_by(|entry| (*entry.path).cmp(path)).ok().map(|at| &self.entries[at])
    }

    /// Paths (made printable) that are not UTF-8 and so are in no entry. A stock node lists such files.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    fn sort(&mut self) {
        // Stable, so that of equal paths the one that came last is the last of its run.
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.entries.dedup_by(|later, earlier| {
            let same = later.path == earlier.path;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        self.entries.shrink_to_fit();
    }
}

impl RemoteUpdate {
    /// Reads a master's `{"missing": {…}, "extra": {…}, "shared": {…}}`. All three must be there.
    ///
    /// # Errors
    /// [`RemoteError`]: the text is not such an object, or beyond the bounds; the peer is at fault.
    pub fn parse(json: &[u8], kind: ChecksumKind) -> Result<Self, RemoteError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let update = Lists(kind).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(update)
    }
}

/// The object of one file. `merged` and what else there may be is ignored.
#[derive(serde::Deserialize)]
struct Object<'a> {
    mod_time: Option<f64>,
    #[serde(borrow, default)]
    cluster_item_key: Cow<'a, str>,
    #[serde(borrow, default)]
    hash: Cow<'a, str>,
    delta: Option<NonZeroU64>,
}

/// A key of the map as bytes: Python writes a file name that is not UTF-8 with unpaired surrogates, which no `str`
/// can hold, and one such file must not spoil the rest.
struct PathBytes;

impl<'de> DeserializeSeed<'de> for PathBytes {
    type Value = Result<Box<str>, String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for PathBytes {
    type Value = Result<Box<str>, String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path")
    }
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        if bytes.len() > LONGEST_PATH {
            let start = String::from_utf8_lossy(&bytes[..60]);
            return Err(E::custom(format_args!("the path '{start}…' is longer than {LONGEST_PATH} bytes")));
        }
        Ok(std::str::from_utf8(bytes).map(Box::from).map_err(|_| String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// What the entries so far have taken of the bounds.
#[derive(Default)]
struct Room {
    entries: usize,
    paths: usize,
}

impl Room {
    fn take<E: serde::de::Error>(&mut self, path: &str) -> Result<(), E> {
        self.entries += 1;
        self.paths += path.len();
        if self.entries > MOST_ENTRIES {
            return Err(E::custom(format_args!("more than {MOST_ENTRIES} files")));
        }
        if self.paths > LONGEST_PATHS {
            return Err(E::custom(format_args!("the paths are longer than {LONGEST_PATHS} bytes in all")));
        }
        Ok(())
    }
}

/// The different item keys so far, each with its number.
#[derive(Default)]
struct Keys(HashMap<Box<str>, u16>);

impl Keys {
    /// The number of a key; none if it is too long, or there are too many.
    fn number(&mut self, key: &str) -> Option<u16> {
        if let Some(number) = self.0.get(key) {
            return Some(*number);
        }
        let number =
            u16::try_from(self.0.len()).ok().filter(|_| self.0.len() < MOST_KEYS && key.len() <= LONGEST_PATH)?;
        self.0.insert(key.into(), number);
        Some(number)
    }

    fn in_order(self) -> Vec<Box<str>> {
        let mut keys: Vec<_> = self.0.into_iter().collect();
        keys.sort_unstable_by_key(|(_, number)| *number);
        keys.into_iter().map(|(key, _)| key).collect()
    }
}

struct Files<'r>(ChecksumKind, &'r mut Room);

impl<'de> DeserializeSeed<'de> for Files<'_> {
    type Value = RemoteManifest;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RemoteManifest, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Files<'_> {
    type Value = RemoteManifest;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one object per file")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RemoteManifest, A::Error> {
        let (mut manifest, mut keys) = (RemoteManifest::default(), Keys::default());
        while let Some(path) = map.next_key_seed(PathBytes)? {
            let name: &str = match &path {
                Ok(path) => path,
                Err(printable) => printable,
            };
            self.1.take(name)?;
            let object: Object<'de> =
                map.next_value().map_err(|error| A::Error::custom(format_args!("file '{name}': {error}")))?;
            let Some(key) = keys.number(&object.cluster_item_key) else {
                return Err(A::Error::custom(format_args!(
                    "more than {MOST_KEYS} different keys of directories, or a longer one than {LONGEST_PATH} bytes"
                )));
            };
            match path {
                Ok(path) => manifest.entries.push(RemoteEntry {
                    path,
                    mod_time: object.mod_time.unwrap_or(0.0),
                    checksum: Checksum::from_hex(self.0, &object.hash),
                    made: object.delta,
                    key,
                }),
                Err(name) => manifest.unreadable.push(name),
            }
        }
        manifest.keys = keys.in_order();
        manifest.sort();
        Ok(manifest)
    }
}

struct Lists(ChecksumKind);

impl<'de> DeserializeSeed<'de> for Lists {
    type Value = RemoteUpdate;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RemoteUpdate, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Lists {
    type Value = RemoteUpdate;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the lists missing, shared and extra")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RemoteUpdate, A::Error> {
        let (mut create, mut update, mut delete) = (None, None, None);
        let mut room = Room::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "missing" => create = Some(map.next_value_seed(Files(self.0, &mut room))?),
                "shared" => update = Some(map.next_value_seed(Files(self.0, &mut room))?),
                "extra" => delete = Some(map.next_value_seed(Files(self.0, &mut room))?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(RemoteUpdate {
            create: create.ok_or_else(|| A::Error::missing_field("missing"))?,
            update: update.ok_or_else(|| A::Error::missing_field("shared"))?,
            delete: delete.ok_or_else(|| A::Error::missing_field("extra"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    fn parse(json: &str) -> Result<RemoteManifest, String> {
        RemoteManifest::parse(json.as_bytes(), ChecksumKind::Md5).map_err(|error| error.to_string())
    }

    #[test]
    fn entries_are_sorted_and_the_last_duplicate_stays() {
        let json = format!(
            r#"{{"b": {{"hash": "{MD5}", "mod_time": 1}}, "a": {{"hash": "{MD5}", "mod_time": 2.5,
                "cluster_item_key": "etc/", "merged": false, "later": [{{}}]}}, "b": {{"hash": "x", "mod_time": 3}}}}"#
        );
        let manifest = parse(&json).unwrap();
        let short: Vec<_> = manifest
            .entries()
            .iter()
            .map(|e| (&*e.path, e.mod_time, e.checksum.is_some(), manifest.key_of(e)))
            .collect();
        assert_eq!(short, [("a", 2.5, true, "etc/"), ("b", 3.0, false, "")]);
    }

    #[test]
    fn a_name_that_is_not_utf8_spoils_only_itself() {
        let manifest = parse(r#"{"etc/\udcff": {"hash": ""}, "etc/\u00fc": {"hash": ""}}"#).unwrap();
        assert_eq!(manifest.entries().len(), 1);
        assert_eq!(&*manifest.entries()[0].path, "etc/ü");
        assert_eq!(manifest.unreadable().len(), 1);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(parse("").unwrap_err().contains("the file metadata of the peer cannot be read"));
        assert!(parse("{} x").is_err());
        assert!(parse("[]").is_err());
        assert!(parse(r#"{"etc/a": 5}"#).unwrap_err().contains("file 'etc/a'"));
        assert!(parse(r#"{"etc/a": {"hash": 5}}"#).unwrap_err().contains("file 'etc/a'"));
        let long = format!(r#"{{"{}": {{}}}}"#, "a".repeat(LONGEST_PATH + 1));
        assert!(parse(&long).unwrap_err().contains("longer than 4095 bytes"));
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn each_file_keeps_its_key_among_as_many_as_there_may_be() {
        let text = |keys: usize| {
            let files = (0..2 * keys).map(|n| format!(r#""{n:04}": {{"cluster_item_key": "{}/"}}"#, n % keys));
            format!("{{{}}}", files.collect::<Vec<_>>().join(", "))
        };
        let manifest = parse(&text(MOST_KEYS)).unwrap();
        for (n, entry) in manifest.entries().iter().enumerate() {
            assert_eq!(manifest.key_of(entry), format!("{}/", n % MOST_KEYS));
        }
        assert!(parse(&text(MOST_KEYS + 1)).unwrap_err().contains("more than 1000 different keys"));
        let long = format!(r#"{{"a": {{"cluster_item_key": "{}"}}}}"#, "k".repeat(LONGEST_PATH + 1));
        assert!(parse(&long).unwrap_err().contains("or a longer one than 4095 bytes"));
    }

    /// Case 5.7: the bounds hold for all lists of an update together.
    #[test]
    fn the_paths_of_a_peer_are_bounded_in_all() {
        let list = |from: usize| -> String {
            let paths: Vec<String> = (0..3000).map(|n| format!("\"{:0>4000}\": {{}}", from + n)).collect();
            format!("{{{}}}", paths.join(", "))
        };
        let [one, two, three] = [0, 10_000, 20_000].map(list);
        let update = format!(r#"{{"missing": {one}, "shared": {two}, "extra": {three}}}"#);
        let error = RemoteUpdate::parse(update.as_bytes(), ChecksumKind::Md5).unwrap_err().to_string();
        assert!(error.contains("the paths are longer than 33554432 bytes in all"), "{error}");
        assert_eq!(parse(&one).unwrap().entries().len(), 3000);
        let long = format!(r#"{{"etc/a": {{"cluster_item_key": "{}/"}}}}"#, "k".repeat(LONGEST_PATH));
        assert!(parse(&long).unwrap_err().contains("a longer one than 4095 bytes"));
    }

    #[test]
    fn a_master_must_send_all_three_lists() {
        let update =
            RemoteUpdate::parse(br#"{"missing": {}, "extra": {"a": {}}, "shared": {}, "n": 1}"#, ChecksumKind::Md5);
        assert_eq!(update.unwrap().delete.entries().len(), 1);
        let short = RemoteUpdate::parse(br#"{"missing": {}, "extra": {}}"#, ChecksumKind::Md5).unwrap_err();
        assert!(short.to_string().contains("shared"), "{short}");
    }
}
