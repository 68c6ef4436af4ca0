//! A group for each folder in etc/shared (`spec/agentdb.md` 7.11).

use std::{collections::BTreeSet, io, path::PathBuf};

use super::duty::{DutyFailure, Rows};
use crate::{
    agents::{
        GroupFolders,
        embedded::{Answer, Database, answer::Failure, groups},
        is_group,
    },
    logging::info,
    system::stamp::{Moment, Seen, Stamp},
};

/// The group that agents without one belong to; it is always there.
const DEFAULT: &str = "default";

/// Turns that a folder must be missing before its group goes: a folder may be replaced.
const MISSING: u32 = 10;

/// The folder of the groups' folders.
pub(super) struct Folders {
    path: PathBuf,
    /// On a worker, who makes the folder of a group again that has agents: groups come and go with the master's.
    kept: Option<GroupFolders>,
    done: Option<Seen>,
    /// Groups without a folder, and the turns since.
    missing: BTreeSet<String>,
    turns: u32,
}

impl Folders {
    pub(super) fn new(path: PathBuf, kept: Option<GroupFolders>) -> Self {
        Self { path, kept, done: None, missing: BTreeSet::new(), turns: 0 }
    }

    /// The groups are not those of the folders any more.
    pub(super) fn forget(&mut self) {
        self.done = None;
    }

    /// Makes the groups those of the folders, if anything has changed. If there is no folder at all, something else is
    /// wrong, and no group goes.
    pub(super) fn turn(&mut self, database: &impl Rows) -> Result<(), DutyFailure> {
        let now = Moment::now();
        let stamp = match Stamp::of(&self.path) {
            Ok(stamp) => Some(stamp),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(DutyFailure::File { path: self.path.clone(), error }),
        };
        let is_done = |stamp: &Stamp| self.done.is_some_and(|done| done.holds(stamp, now));
        if stamp.as_ref().is_some_and(is_done) && self.missing.is_empty() {
            return Ok(());
        }
        let folders = self.list().map_err(|error| DutyFailure::File { path: self.path.clone(), error })?;
        let keeps_all = folders.is_empty();
        let mut missing = database.with(move |database| make(database, &folders))??;
        if let Some(kept) = self.kept.as_ref().filter(|_| !missing.is_empty()) {
            // The last file of the group has gone, or there was none.
            let used = database.with(with_agents)??;
            kept.make(missing.intersection(&used).map(String::as_str));
            missing.retain(|name| !used.contains(name));
        }
        let missing = if keeps_all { BTreeSet::new() } else { missing };
        if missing != self.missing {
            (self.missing, self.turns) = (missing, 0);
        } else if !self.missing.is_empty() {
            self.turns += 1;
            if self.turns >= MISSING {
                let gone = self.missing.clone();
                info!("[Cluster] [Agent database]", "Groups without a directory are removed: {gone:?}");
                database.with(move |database| remove(database, &gone))??;
                self.missing.clear();
            }
        }
        self.done = stamp.map(|stamp| Seen::new(stamp, now, self.done.as_ref()));
        Ok(())
    }

    fn list(&self) -> io::Result<BTreeSet<String>> {
        let entries = match self.path.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let mut folders = BTreeSet::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().filter(|name| groups::is_valid_name(name));
            let is_dir = entry.file_type()?.is_dir();
            folders.extend(name.filter(|name| is_dir || is_group(&self.path, name)));
        }
        Ok(folders)
    }
}

/// Makes the groups that are not there; gives those that have no folder.
fn make(database: &Database, folders: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    let mut statement = database.connection.prepare_cached("SELECT name FROM `group`")?;
    let groups: BTreeSet<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let wanted: BTreeSet<&str> = folders.iter().map(String::as_str).chain([DEFAULT]).collect();
    let new: Vec<&str> = wanted.into_iter().filter(|name| !groups.contains(*name)).collect();
    if !new.is_empty() {
        database.transaction(|database| new.iter().try_for_each(|name| groups::insert(database, name).map(drop)))?;
    }
    Ok(groups.into_iter().filter(|name| name != DEFAULT && !folders.contains(name)).collect())
}

/// The groups that agents belong to.
fn with_agents(database: &Database) -> Result<BTreeSet<String>, Failure> {
    let sql = "SELECT name FROM `group` WHERE EXISTS (SELECT 1 FROM belongs WHERE id_group = `group`.id)";
    let mut statement = database.connection.prepare_cached(sql)?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn remove(database: &Database, groups: &BTreeSet<String>) -> Result<(), Failure> {
    for name in groups {
        let _: Answer = database.transaction(|database| groups::delete(database, name))?;
    }
    Ok(())
}
