//! What has changed lately: a node that has the files of a moment ago need not tell which it has.
//!
//! Each change of the files is a step, from the tree digest before it to the next. From any of these digests on, the steps
//! that follow are put together to one difference. They are few and short: where much has changed since then, two lists are
//! compared as ever.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    digest::Digest,
    manifest::{Entry, Manifest},
    remote::RemoteManifest,
};
use crate::system::hex::unhex;

/// Steps that are kept.
const STEPS: usize = 64;

/// Files of all steps.
const FILES: usize = 1024;

/// The last steps.
#[derive(Default)]
pub struct Lately {
    steps: VecDeque<Step>,
}

/// One change of the files.
struct Step {
    /// The digest of all files before it.
    before: Digest,
    files: Vec<Change<Entry>>,
}

/// One file, as it was and as it is.
struct Change<E> {
    before: Option<E>,
    after: Option<E>,
}

impl Change<Entry> {
    fn path(&self) -> Option<&Arc<str>> {
        self.before.as_ref().or(self.after.as_ref()).map(|entry| &entry.path)
    }
}

impl Change<&Entry> {
    /// Whether it is another file now.
    fn is_one(&self) -> bool {
        match (self.before, self.after) {
            (Some(before), Some(after)) => (before.item, before.sum) != (after.item, after.sum),
            (before, after) => before.is_some() || after.is_some(),
        }
    }
}

/// What a node lacks that has the files of then.
#[derive(Debug)]
pub struct Changes {
    /// Those files, as the digest of all of them.
    pub since: Digest,
    /// Files that came.
    pub(super) create: Vec<Entry>,
    /// Files with another content.
    pub(super) update: Vec<Entry>,
    /// As they were: those with another content, and those that went.
    pub(super) before: RemoteManifest,
}

impl Changes {
    /// The files with another content and those that went, as they were.
    pub fn before(&self) -> &RemoteManifest {
        &self.before
    }
}

impl Lately {
    /// The files of `after` have come in place of those of `before`.
    pub fn step(&mut self, before: &Manifest, after: &Manifest) {
        let Some(files) = changes(before.entries(), after.entries()) else { return self.steps.clear() };
        if !files.is_empty() {
            self.steps.push_back(Step { before: before.digests().tree(), files });
        }
        let surplus = |steps: &VecDeque<Step>| {
            steps.len() > STEPS || steps.iter().map(|step| step.files.len()).sum::<usize>() > FILES
        };
        while surplus(&self.steps) {
            self.steps.pop_front();
        }
    }

    /// What has changed since all files had the digest of this question, until those of `master`, the last ones; none if that is
    /// not known.
    pub fn since(&self, question: &[u8], master: &Manifest) -> Option<Changes> {
        let since = unhex::<16>(question)?;
        // The last one: files may have become again what they were.
        let from = self.steps.iter().rposition(|step| step.before == since)?;
        let mut all: BTreeMap<&Arc<str>, Change<&Entry>> = BTreeMap::new();
        for change in self.steps.range(from..).flat_map(|step| &step.files) {
            let Some(path) = change.path() else { continue };
            all.entry(path).or_insert(Change { before: change.before.as_ref(), after: None }).after =
                change.after.as_ref();
        }
        let (mut create, mut update, mut before) = (Vec::new(), Vec::new(), Vec::new());
        for change in all.into_values().filter(Change::is_one) {
            match (change.before, change.after) {
                (Some(_), Some(new)) => update.push(new.clone()),
                (None, Some(new)) => create.push(new.clone()),
                (_, None) => {}
            }
            before.extend(change.before);
        }
        let before = RemoteManifest::of(before.into_iter().map(|entry| (entry, master.key_of(entry))));
        Some(Changes { since, create, update, before })
    }
}

/// What differs between two lists in path order; none if it is too much.
fn changes(before: &[Entry], after: &[Entry]) -> Option<Vec<Change<Entry>>> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(old), Some(new)) => old.path.cmp(&new.path),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Some(found),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        let change = Change { before: old, after: new };
        if change.is_one() {
            if found.len() == FILES {
                return None;
            }
            found.push(Change { before: old.cloned(), after: new.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{
        ChecksumKind, Difference,
        checksum::sum_of,
        compare,
        digest::Buckets,
        items::{ItemId, Items},
        manifest::Protected,
    };
    use proptest::prelude::*;

    type Files = BTreeMap<String, u8>;

    fn manifest(files: &Files) -> Manifest {
        let entries = files.iter().map(|(path, content)| Entry {
            path: format!("etc/rules/{path}").as_str().into(),
            item: ItemId(1),
            mod_time: 1.5,
            sum: sum_of(&[*content]),
            blake2b: None,
        });
        Manifest::new(Arc::new(Items::standard()), entries.collect(), Protected::default())
    }

    /// As a worker would tell it.
    fn told(manifest: &Manifest) -> RemoteManifest {
        let mut json = Vec::new();
        let entries: Vec<_> = manifest.entries().iter().collect();
        manifest.to_json(&entries, ChecksumKind::Md5Blake2b, &mut json).unwrap();
        RemoteManifest::parse(&json, ChecksumKind::Md5Blake2b).unwrap()
    }

    fn json(difference: &Difference<'_>) -> String {
        let mut out = Vec::new();
        difference.write_json(|_| false, &Default::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn files() -> impl Strategy<Value = Files> {
        prop::collection::btree_map("[a-d]", 0_u8..3, 0..4)
    }

    proptest! {
        #[test]
        fn it_is_what_a_comparison_of_both_finds(history in prop::collection::vec(files(), 1..8), hidden in any::<bool>()) {
            let mut manifests: Vec<Manifest> = history.iter().map(manifest).collect();
            if hidden && let Some(last) = manifests.last_mut() {
                last.protected.files = vec!["etc/rules/b".to_owned()];
            }
            let mut lately = Lately::default();
            manifests.windows(2).for_each(|pair| lately.step(&pair[0], &pair[1]));
            let last = &manifests[manifests.len() - 1];
            for before in &manifests {
                let question = before.digests().question();
                if question == last.digests().question() {
                    continue;
                }
                let changes = lately.since(question.as_bytes(), last).unwrap();
                let remote = told(before);
                let whole = compare(last, &remote, ChecksumKind::Md5Blake2b, Buckets::ALL).unwrap();
                let quick = Difference::of(&changes, last);
                prop_assert_eq!(json(&quick), json(&whole));
                prop_assert_eq!(quick.protected, whole.protected);
                prop_assert_eq!(quick.others + changes.before.entries().len(), before.entries().len());
                for entry in &quick.update {
                    prop_assert_eq!(quick.held(&entry.path), whole.held(&entry.path));
                }
            }
        }
    }

    #[test]
    fn what_is_too_much_is_not_known() {
        let numbered = |count: usize| manifest(&(0..count).map(|n| (format!("{n:05}"), 0)).collect());
        let (few, many, all) = (numbered(1), numbered(FILES + 2), numbered(FILES + 3));
        let mut lately = Lately::default();
        let ask = |lately: &Lately, of: &Manifest| lately.since(of.digests().question().as_bytes(), &all).is_some();
        lately.step(&few, &many);
        assert!(!ask(&lately, &few), "too much at once");
        lately.step(&many, &all);
        assert!(ask(&lately, &many) && !ask(&lately, &few));
        assert!(lately.since(b"x", &all).is_none());
        for n in 0..=STEPS as u8 {
            lately.step(&manifest(&[("a".into(), n)].into()), &manifest(&[("a".into(), n + 1)].into()));
        }
        assert!(!ask(&lately, &manifest(&[("a".into(), 0)].into())), "too many steps");
        assert!(ask(&lately, &manifest(&[("a".into(), 1)].into())));
    }
}
