//! Which entries of an update may be carried out: every claim of the master is checked before anything is touched.

use std::collections::HashMap;

use super::{Failure, What};
use crate::files::archive::Member;
use crate::files::checksum::Checksum;
use crate::files::items::{ItemId, Items};
use crate::files::path;
use crate::files::remote::{RemoteEntry, RemoteManifest, RemoteUpdate};

/// One file to be written.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) path: Box<str>,
    pub(super) item: ItemId,
    pub(super) what: What,
    /// Where its zlib stream begins in the archive.
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) checksum: Checksum,
}

/// One file to be deleted.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) path: Box<str>,
    pub(super) item: ItemId,
}

/// All that is to be done, and what will not be.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Sorted by item, directory and name, each path once.
    pub(super) writes: Vec<Write>,
    /// The same; no path is also written.
    pub(super) removals: Vec<Removal>,
    pub(super) failures: Vec<Failure>,
}

/// Sorts so that the files of a directory stand together.
pub(super) fn order(item: ItemId, path: &str) -> (ItemId, &str, &str) {
    let (directory, name) = path::split(path);
    (item, directory, name)
}

impl Plan {
    pub(super) fn new(lists: &RemoteUpdate, members: &HashMap<Box<str>, Member>, items: &Items) -> Plan {
        let mut plan = Plan::default();
        for (list, what) in [(&lists.missing, What::Create), (&lists.shared, What::Update)] {
            for entry in list.entries() {
                let twice = what == What::Update && lists.missing.find(&entry.path).is_some();
                match write(list, entry, what, members, items) {
                    Ok(_) if twice => plan.fail(&entry.path, what, TWICE.to_owned()),
                    Ok(write) => plan.writes.push(write),
                    Err(reason) => plan.fail(&entry.path, what, reason),
                }
            }
            plan.fail_unreadable(list, what);
        }
        for entry in lists.extra.entries() {
            let twice = lists.missing.find(&entry.path).is_some() || lists.shared.find(&entry.path).is_some();
            match items.permits_key(lists.extra.key_of(entry), &entry.path) {
                Ok(_) if twice => plan.fail(&entry.path, What::Delete, TWICE.to_owned()),
                Ok(item) => plan.removals.push(Removal { path: entry.path.clone(), item }),
                Err(refusal) => plan.fail(&entry.path, What::Delete, refusal.rule.to_string()),
            }
        }
        plan.fail_unreadable(&lists.extra, What::Delete);
        plan.writes.sort_unstable_by(|a, b| order(a.item, &a.path).cmp(&order(b.item, &b.path)));
        plan.removals.sort_unstable_by(|a, b| order(a.item, &a.path).cmp(&order(b.item, &b.path)));
        plan
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

fn write(
    list: &RemoteManifest,
    entry: &RemoteEntry,
    what: What,
    members: &HashMap<Box<str>, Member>,
    items: &Items,
) -> Result<Write, String> {
    let item = items.permits_key(list.key_of(entry), &entry.path).map_err(|refusal| refusal.rule.to_string())?;
    let member = members.get(&entry.path).ok_or("the archive does not hold its content")?;
    match &entry.checksum {
        None => Err("its checksum in the metadata cannot be read".to_owned()),
        Some(checksum) if *checksum != member.checksum => {
            Err("its content in the archive does not have the checksum that the metadata gives".to_owned())
        }
        Some(checksum) => Ok(Write {
            path: entry.path.clone(),
            item,
            what,
            offset: member.offset,
            size: member.size,
            checksum: checksum.clone(),
        }),
    }
}
