//! Which entries of an update may be carried out: every claim of the master is checked before anything is touched.

use std::{collections::HashMap, fs::File};

use super::{
    newer::Contents,
    outcome::{Failure, What},
};
use crate::files::{
    archive::Member,
    checksum::{Checksum, ContentSum, Proof},
    delta,
    items::{ItemId, Items, KEYS},
    path,
    remote::{RemoteEntry, RemoteManifest, RemoteUpdate},
};

/// One file to be written.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) path: Box<str>,
    pub(super) item: ItemId,
    pub(super) what: What,
    /// Where its zlib stream begins in the archive.
    pub(super) offset: u64,
    /// Bytes of the content that is to be written.
    pub(super) size: u64,
    pub(super) comes: Comes,
}

/// How a content comes, and what proves it.
#[derive(Debug)]
pub(super) enum Comes {
    /// As a whole.
    Whole(Proof),
    /// As a delta of this length, from a content that may be here, to one with this sum.
    Delta { length: u64, sum: ContentSum },
}

/// A directory of an item, with its final slash: what is changed as a whole, or not at all where there is no room for it.
pub(super) type Directory<'p> = (ItemId, &'p str);

impl Write {
    pub(super) fn directory(&self) -> Directory<'_> {
        (self.item, path::split(&self.path).0)
    }
}

impl Removal {
    pub(super) fn directory(&self) -> Directory<'_> {
        (self.item, path::split(&self.path).0)
    }
}

/// One file to be deleted.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) path: Box<str>,
    pub(super) item: ItemId,
}

/// What is done at a time.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Sorted by item, directory and name, each path once.
    pub(super) writes: Vec<Write>,
    /// The same; no path is also written.
    pub(super) removals: Vec<Removal>,
}

/// All that is to be done, and what will not be.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The keys of the agents, before everything else: nothing that goes wrong with a rule or a list holds them up.
    pub(super) keys: Part,
    /// All the rest.
    pub(super) others: Part,
    pub(super) failures: Vec<Failure>,
    /// Files that are being changed on the master; the next check brings them.
    pub(super) unsettled: Vec<String>,
}

/// Sorts so that the files of a directory stand together.
pub(super) fn order(item: ItemId, path: &str) -> (ItemId, &str, &str) {
    let (directory, name) = path::split(path);
    (item, directory, name)
}

impl Part {
    pub(super) fn count(&self) -> usize {
        self.writes.len() + self.removals.len()
    }

    pub(super) fn names(&self, path: &str) -> bool {
        self.all().any(|(named, _)| named == path)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, What)> {
        let removals = self.removals.iter().map(|removal| (&*removal.path, What::Delete));
        self.writes.iter().map(|write| (&*write.path, write.what)).chain(removals)
    }
}

impl Plan {
    pub(super) fn new(
        lists: &RemoteUpdate,
        archive: &File,
        members: &HashMap<Box<str>, Member>,
        items: &Items,
        contents: Contents<'_>,
    ) -> Self {
        let mut plan = Self::default();
        for (list, what) in [(&lists.create, What::Create), (&lists.update, What::Update)] {
            for entry in list.entries() {
                let twice = what == What::Update && lists.create.find(&entry.path).is_some();
                let whole = |member: &Member| contents.whole(archive, &entry.path, member);
                match write(list, entry, what, members, items, whole) {
                    Ok(_) if twice => plan.fail(&entry.path, what, TWICE.to_owned()),
                    Ok(write) => plan.part(&write.path).writes.push(write),
                    Err(Not::Ever(reason)) => plan.fail(&entry.path, what, reason),
                    Err(Not::Yet) => plan.unsettled.push(entry.path.to_string()),
                }
            }
            plan.fail_unreadable(list, what);
        }
        for entry in lists.delete.entries() {
            let twice = lists.create.find(&entry.path).is_some() || lists.update.find(&entry.path).is_some();
            match items.permits_key(lists.delete.key_of(entry), &entry.path) {
                Ok(_) if twice => plan.fail(&entry.path, What::Delete, TWICE.to_owned()),
                Ok(item) => plan.part(&entry.path).removals.push(Removal { path: entry.path.clone(), item }),
                Err(refusal) => plan.fail(&entry.path, What::Delete, refusal.rule.to_string()),
            }
        }
        plan.fail_unreadable(&lists.delete, What::Delete);
        for part in [&mut plan.keys, &mut plan.others] {
            part.writes.sort_unstable_by(|a, b| order(a.item, &a.path).cmp(&order(b.item, &b.path)));
            part.removals.sort_unstable_by(|a, b| order(a.item, &a.path).cmp(&order(b.item, &b.path)));
        }
        plan
    }

    fn part(&mut self, path: &str) -> &mut Part {
        if path == KEYS { &mut self.keys } else { &mut self.others }
    }

    fn fail(&mut self, path: &str, what: What, reason: String) {
        self.failures.push(Failure { path: path.to_owned(), what, reason });
    }

    fn fail_unreadable(&mut self, list: &RemoteManifest, what: What) {
        for path in list.unreadable() {
            self.fail(path, what, "its name is not UTF-8".to_owned());
        }
    }
}

const TWICE: &str = "the master names it in two lists";

/// Why a file is not written.
enum Not {
    /// The reason, as a sentence without its end.
    Ever(String),
    /// It is being changed on the master.
    Yet,
}

/// `whole`: whether a content that has another checksum is newer and whole; none if it may not be newer.
fn write(
    list: &RemoteManifest,
    entry: &RemoteEntry,
    what: What,
    members: &HashMap<Box<str>, Member>,
    items: &Items,
    whole: impl Fn(&Member) -> Option<bool>,
) -> Result<Write, Not> {
    let never = |reason: &str| Not::Ever(reason.to_owned());
    let item =
        items.permits_key(list.key_of(entry), &entry.path).map_err(|refusal| Not::Ever(refusal.rule.to_string()))?;
    let member = members.get(&entry.path).ok_or_else(|| never("the archive does not hold its content"))?;
    let said = entry.checksum.as_ref().ok_or_else(|| never("its checksum in the metadata cannot be read"))?;
    let put = |size, comes| Write { path: entry.path.clone(), item, what, offset: member.offset, size, comes };
    if let (Some(made), Checksum::Md5Blake2b(sum)) = (entry.made, said) {
        if member.size > delta::LONGEST {
            return Err(never("its difference is longer than any that is sent"));
        }
        return Ok(put(made.get(), Comes::Delta { length: member.size, sum: *sum }));
    }
    if !member.proof.fits(said) {
        match whole(member) {
            Some(true) => {}
            Some(false) => return Err(Not::Yet),
            None => {
                let reason = "its content in the archive does not have the checksum that the metadata gives";
                return Err(never(reason));
            }
        }
    }
    Ok(put(member.size, Comes::Whole(member.proof.clone())))
}
