//! Digests of a manifest: whether two nodes have the same files and, if not, among which the difference is
//! (`spec/native.md` 2). So a check of files that did not change costs the same, however many they are.
//!
//! A file belongs to one of 256 *buckets*, by the first byte of the MD5 of its path. There is a digest of each bucket, and
//! one of all files, the *tree digest*.

use md5::{Digest as _, Md5};

use super::checksum::{ContentSum, md5_of};
use crate::system::hex::{hex, unhex};

/// MD5 over the files in path order, each as path, zero, item key, zero, [`ContentSum`].
pub type Digest = [u8; 16];

const COUNT: usize = 256;

/// The master's answer when the files are the same.
const SAME: &[u8] = b"same";

/// The other one, if it need not be told where they differ.
const KNOWN: &[u8] = b"known";

/// What comes before the digests in the other answer.
const BUCKETS: &[u8] = b"buckets ";

/// The digests of one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    tree: Digest,
    buckets: Vec<Digest>,
}

impl Digests {
    /// Of files in path order, each with its path, the key of its item and what its content is known by.
    pub(super) fn of<'f>(files: impl Iterator<Item = (&'f str, &'f str, &'f ContentSum)>) -> Self {
        let (mut tree, mut buckets, mut line) = (Md5::new(), vec![Md5::new(); COUNT], Vec::new());
        for (path, key, sum) in files {
            line.clear();
            [path.as_bytes(), b"\0", key.as_bytes(), b"\0", sum].iter().for_each(|part| line.extend_from_slice(part));
            tree.update(&line);
            buckets[bucket(path)].update(&line);
        }
        Self { tree: tree.finalize().into(), buckets: buckets.into_iter().map(|one| one.finalize().into()).collect() }
    }

    /// That of all files.
    pub(super) fn tree(&self) -> Digest {
        self.tree
    }

    /// The worker's question: the tree digest, in hexadecimal digits.
    pub fn question(&self) -> String {
        hex(&self.tree)
    }

    /// Whether the files of who asks this question are the same; `None` if it is none.
    pub fn are_those_of(&self, question: &[u8]) -> Option<bool> {
        unhex::<16>(question).map(|tree| tree == self.tree)
    }

    /// The master's answer, for files that are the `same` or not.
    pub fn answer(&self, same: bool) -> Vec<u8> {
        if same { SAME.to_vec() } else { [BUCKETS, self.buckets.as_flattened()].concat() }
    }

    /// The master's answer, if it has had these files a moment ago, and goes on by itself.
    pub fn known() -> Vec<u8> {
        KNOWN.to_vec()
    }

    /// Whether this is [`Digests::known`].
    pub fn is_known(answer: &[u8]) -> bool {
        answer == KNOWN
    }

    /// The buckets that differ from those of the node that gave this answer; none of them if the files are the same.
    ///
    /// An answer that is none tells nothing, so all may differ.
    pub fn differing(&self, answer: &[u8]) -> Buckets {
        if answer == SAME {
            return Buckets::NONE;
        }
        match answer.strip_prefix(BUCKETS).map(<[u8]>::as_chunks::<16>) {
            Some((theirs, [])) if theirs.len() == COUNT => {
                let mut found = Buckets::NONE;
                let pairs = self.buckets.iter().zip(theirs).enumerate();
                pairs.filter(|(_, (own, their))| own != their).for_each(|(at, _)| found.0[at / 8] |= 1 << (at % 8));
                found
            }
            _ => Buckets::ALL,
        }
    }
}

/// Some of the buckets: those whose files a check compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets([u8; COUNT / 8]);

impl Buckets {
    /// No file.
    pub const NONE: Self = Self([0; COUNT / 8]);

    /// Every file.
    pub const ALL: Self = Self([u8::MAX; COUNT / 8]);

    /// Whether the file with this path is in one of them.
    pub fn hold(&self, path: &str) -> bool {
        *self == Self::ALL || {
            let at = bucket(path);
            self.0[at / 8] & (1 << (at % 8)) != 0
        }
    }

    /// As a check announces them: nothing for all, as the stock daemon does; otherwise a bit for each, in hexadecimal
    /// digits.
    pub fn text(&self) -> String {
        if *self == Self::ALL { String::new() } else { hex(&self.0) }
    }

    /// What [`Buckets::text`] says; `None` if this is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() { Some(Self::ALL) } else { unhex(text).map(Self) }
    }
}

fn bucket(path: &str) -> usize {
    usize::from(md5_of(path.as_bytes())[0])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::files::{
        Entry,
        checksum::sum_of,
        items::{ItemId, Items},
        manifest::{Manifest, Protected},
    };

    type Files = BTreeMap<String, (u8, u8)>;

    /// Files with the number of their item and a content.
    fn manifest(files: &Files) -> Manifest {
        let entries = files.iter().map(|(path, (item, content))| Entry {
            path: path.as_str().into(),
            item: ItemId(*item),
            mod_time: f64::from(*content),
            sum: sum_of(&[*content]),
            blake2b: None,
        });
        Manifest::new(Arc::new(Items::standard()), entries.collect(), Protected::default())
    }

    fn files() -> impl Strategy<Value = Files> {
        proptest::collection::btree_map("[ab]/[a-f]", (0u8..2, 0u8..2), 0..8)
    }

    proptest! {
        #[test]
        fn the_buckets_that_differ_hold_every_file_that_differs_and_few_others(ours in files(), theirs in files()) {
            let (own, other) = (manifest(&ours), manifest(&theirs));
            let same = other.digests().are_those_of(own.digests().question().as_bytes()).unwrap();
            prop_assert_eq!(same, ours == theirs);
            let found = own.digests().differing(&other.digests().answer(same));
            let differs = |path: &&String| ours.get(*path) != theirs.get(*path);
            let mut expected = Buckets::NONE;
            for path in ours.keys().chain(theirs.keys()).filter(differs) {
                prop_assert!(found.hold(path), "{}", path);
                expected.0[bucket(path) / 8] |= 1 << (bucket(path) % 8);
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(Buckets::parse(found.text().as_bytes()), Some(found));
        }
    }

    /// They were calculated by another program (Python's hashlib), from the text of the specification.
    #[test]
    fn digests_are_those_of_the_specification() {
        let cases = [
            ("etc/rules/a.xml", 1, 139, "b741c77474f7c527e3158588e5e5026b"),
            ("etc/rules/b.xml", 2, 147, "b05b98c4da28675a4bb383d95264696b"),
        ];
        let rules = Items::standard().id_of_key("etc/rules/").unwrap().0;
        let manifest = manifest(&cases.map(|(path, content, ..)| (path.to_owned(), (rules, content))).into());
        assert_eq!(manifest.digests().question(), "51609b687de897c72d9a4aa033e0b718");
        for (path, _, at, digest) in cases {
            assert_eq!((bucket(path), hex(&manifest.digests().buckets[at])), (at, digest.to_owned()));
        }
    }

    #[test]
    fn what_is_no_question_or_answer_is_noticed() {
        let digests = manifest(&Files::new()).digests().clone();
        for question in [&b""[..], b"d41d8cd98f00b204e9800998ecf8427", b"D41d8cd98f00b204e9800998ecf8427e\n", b"\xff"] {
            assert_eq!(digests.are_those_of(question), None);
        }
        let whole = digests.answer(false);
        for answer in [&b""[..], b"same ", b"buckets", &whole[..whole.len() - 1], &[&whole[..], b"x"].concat()] {
            assert_eq!(digests.differing(answer), Buckets::ALL);
        }
        assert_eq!(digests.differing(&whole), Buckets::NONE);
        for text in ["x", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert_eq!(Buckets::parse(text.as_bytes()), None);
        }
        assert_eq!(Buckets::parse(b""), Some(Buckets::ALL));
    }
}
