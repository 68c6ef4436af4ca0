//! `queue/cluster-state/agents-pending`: what client.keys says already and the agent database may not know yet.
//!
//! It is written before client.keys, so whatever ends this process between the two files and the rows, the next start
//! makes the rows, with the groups that an agent asked for, which stand nowhere else. What the database was told stays for
//! two minutes: that of the stock daemon writes to the disk a minute later. The keys are not in it, only their hashes.
//!
//! | line | meaning |
//! |---|---|
//! | `+ ID HASH DATE GROUPS` | the agent with this id and key hash was registered at DATE, Unix seconds, for these groups |
//! | `- ID NAME` | the agent was removed |

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use crate::{
    agents::client_keys::LONGEST_FILE,
    system::{disk::Disk, replacement::Replacement, state_file::StateFile},
};

/// How long the database may take to write what it was told.
const KEPT: Duration = Duration::from_secs(120);

/// Bytes of what is kept although the database was told: of a flood of agents, the newest.
const KEPT_BYTES: usize = 256 * 1024;

/// What the agent database is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An agent was registered.
    Added {
        id: String,
        /// That of [`super::key::hash`].
        hash: String,
        /// Unix seconds.
        date_add: i64,
        /// Names joined by commas; empty for none.
        groups: String,
    },
    /// An agent was removed.
    Removed { id: String, name: String },
}

/// An entry and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) entry: Entry,
    /// Since when this process knows it.
    pub(super) since: Instant,
    /// Whether an earlier process has left it.
    pub(super) recovered: bool,
    pub(super) state: TellState,
}

impl Pending {
    /// Whether the database is to be told now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, TellState::Due(when) if when <= now)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TellState {
    /// To be told, not before this moment.
    Due(Instant),
    /// The database was told.
    Told(Instant),
}

/// The file and what it holds.
pub(super) struct Journal {
    path: PathBuf,
    disk: Disk,
    pub(super) entries: Vec<Pending>,
}

impl Journal {
    /// Reads what an earlier process has left.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is longer than any client.keys.
    pub(super) fn open(path: PathBuf, disk: Disk, now: Instant) -> io::Result<Self> {
        let bytes = StateFile::new(path.clone(), LONGEST_FILE).read()?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let pending = |entry| Pending { entry, since: now, recovered: true, state: TellState::Due(now) };
        // One without its end was not written whole.
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let entries = lines.filter_map(Entry::parse).map(pending).collect();
        Ok(Self { path, disk, entries })
    }

    /// An empty one, when the file cannot be read.
    pub(super) fn empty(path: PathBuf, disk: Disk) -> Self {
        Self { path, disk, entries: Vec::new() }
    }

    /// Whether the database was told all of it.
    pub(super) fn is_told(&self) -> bool {
        self.entries.iter().all(|pending| matches!(pending.state, TellState::Told(_)))
    }

    /// Adds what is to be told from now on.
    pub(super) fn push(&mut self, entry: Entry, now: Instant) {
        self.entries.push(Pending { entry, since: now, recovered: false, state: TellState::Due(now) });
    }

    /// Makes the file what is pending.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn write(&self) -> io::Result<()> {
        if self.entries.is_empty() {
            return match self.disk.remove_file_at(&self.path) {
                Ok(()) | Err(Errno::ENOENT) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        let lines: Vec<String> = self.entries.iter().map(|pending| pending.entry.line()).collect();
        let pieces = lines.iter().map(String::as_bytes);
        // After a power cut everybody starts anew and makes the rows those of client.keys: only groups would be lost.
        let durable = self.entries.iter().any(|pending| pending.entry.has_groups());
        Replacement::new(&self.disk, &self.path, durable, pieces).and_then(Replacement::commit).map(drop)
    }

    /// Drops what need not be kept any longer; whether that was anything, so that the file has it too much.
    pub(super) fn drop_old(&mut self, now: Instant) -> bool {
        let (mut bytes, before) = (0, self.entries.len());
        let is_kept = |pending: &Pending| match pending.state {
            TellState::Due(_) => true,
            TellState::Told(when) => {
                bytes += pending.entry.line().len();
                now.saturating_duration_since(when) < KEPT && bytes <= KEPT_BYTES
            }
        };
        // The newest first.
        let mut kept: Vec<bool> = self.entries.iter().rev().map(is_kept).collect();
        self.entries.retain(|_| kept.pop().unwrap_or(true));
        self.entries.len() < before
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut next = || words.next().filter(|word| !word.is_empty());
        Some(match next()? {
            "+" => Self::Added {
                id: next()?.to_owned(),
                hash: next()?.to_owned(),
                date_add: next()?.parse().ok()?,
                groups: next().unwrap_or_default().to_owned(),
            },
            "-" => Self::Removed { id: next()?.to_owned(), name: next()?.to_owned() },
            _ => return None,
        })
    }

    fn has_groups(&self) -> bool {
        matches!(self, Self::Added { groups, .. } if !groups.is_empty())
    }

    fn line(&self) -> String {
        match self {
            Self::Added { id, hash, date_add, groups } => format!("+ {id} {hash} {date_add} {groups}\n"),
            Self::Removed { id, name } => format!("- {id} {name}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn added(id: u32, groups: &str) -> Entry {
        Entry::Added {
            id: format!("{id:03}"),
            hash: "ab".repeat(20),
            date_add: 1_700_000_000,
            groups: groups.to_owned(),
        }
    }

    fn entries(journal: &Journal) -> Vec<Entry> {
        journal.entries.iter().map(|pending| pending.entry.clone()).collect()
    }

    #[test]
    fn what_is_written_is_read_and_what_is_wrong_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (path, now) = (folder.path().join("agents-pending"), Instant::now());
        let mut journal = Journal::open(path.clone(), Disk::new(), now).unwrap();
        let all = [added(1, "web,db"), Entry::Removed { id: "002".to_owned(), name: "old".to_owned() }, added(3, "")];
        all.iter().for_each(|entry| journal.push(entry.clone(), now));
        journal.write().unwrap();
        let again = Journal::open(path.clone(), Disk::new(), now).unwrap();
        assert_eq!(entries(&again), all);
        assert!(again.entries.iter().all(|pending| pending.recovered));
        fs::write(&path, "+ 001 hash soon web\n- 001\n* 1 2\n\n- 004 web\n+ 005 hash 17\n+ 006 hash 17").unwrap();
        assert_eq!(Journal::open(path.clone(), Disk::new(), now).unwrap().entries.len(), 2);
        assert!(Journal::open(folder.path().to_owned(), Disk::new(), now).is_err());
        fs::File::options().write(true).open(&path).unwrap().set_len(LONGEST_FILE + 1).unwrap();
        assert!(Journal::open(path, Disk::new(), now).is_err());
    }

    #[test]
    fn what_the_database_was_told_goes_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let (path, now) = (folder.path().join("agents-pending"), Instant::now());
        let mut journal = Journal::open(path.clone(), Disk::new(), now).unwrap();
        for id in 1..=3 {
            journal.push(added(id, ""), now);
        }
        journal.entries[0].state = TellState::Told(now);
        assert!(!journal.drop_old(now + KEPT - Duration::from_secs(1)));
        assert!(journal.drop_old(now + KEPT));
        assert_eq!(entries(&journal), [added(2, ""), added(3, "")]);
        // Of very many, the newest stay.
        let later = now + KEPT;
        for id in 4..=10_000 {
            journal.push(added(id, ""), later);
        }
        journal.entries.iter_mut().skip(2).for_each(|pending| pending.state = TellState::Told(later));
        assert!(journal.drop_old(later));
        journal.write().unwrap();
        let left = entries(&journal);
        assert_eq!(
            (left.len() < 5_000, &left[..2], left.last()),
            (true, &[added(2, ""), added(3, "")][..], Some(&added(10_000, "")))
        );
        assert!(path.metadata().unwrap().len() < 300 * 1024);
        journal.entries.iter_mut().for_each(|pending| pending.state = TellState::Told(now));
        assert!(journal.drop_old(now + KEPT));
        journal.write().unwrap();
        assert!(!path.exists());
        journal.write().unwrap();
    }
}
