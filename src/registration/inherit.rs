//! What an earlier master has registered, and answered, is made to stand in client.keys here.

use std::{collections::BTreeMap, io};

use super::{
    file::{KeysFile, NotWritten, Written},
    journal::{Entry, Journal},
    key,
    lines::Agent,
    table::Table,
};
use crate::{
    agents::client_keys::{Line, number},
    config::{Auth, Home},
    election::Change,
    system::{clock::Clock, disk::Disk},
};

/// How often it begins anew because somebody else changes client.keys.
const ATTEMPTS: u32 = 10;

/// Makes these changes, in their order, as far as they are not made yet; gives how many were. The agent database is told by
/// the registrar, which has to run afterwards. No id up to `floor` is given again.
///
/// An id is given to one agent only, so what comes of the changes does not depend on which of them the file has already:
/// the last of each id decides.
///
/// # Errors
/// When a file cannot be read or written: nothing, or all of it, is done then.
pub fn inherit(
    home: &Home,
    auth: &Auth,
    changes: &[Change],
    floor: u32,
    clock: &Clock,
    disk: &Disk,
) -> io::Result<usize> {
    let mut last: BTreeMap<u32, &Change> = BTreeMap::new();
    for change in changes {
        let id = match change {
            Change::Added { .. } => change.id(),
            Change::Removed { id, .. } => number(id).parse().ok(),
        };
        let id = id.ok_or_else(|| io::Error::other("a record of etcd names an agent without a number"))?;
        last.insert(id, change);
    }
    let mut file = KeysFile::new(home.client_keys(), home.highest_id(), floor, auth.purge, disk.clone());
    for _ in 0..ATTEMPTS {
        let mut journal = Journal::open(home.agents_pending(), disk.clone(), clock.now())?;
        let table = file.table()?;
        let mut made = 0;
        // Those who are to go first: one that comes may have their name.
        let (removed, added): (Vec<&Change>, Vec<_>) =
            last.values().partition(|change| matches!(change, Change::Removed { .. }));
        for change in removed.into_iter().chain(added) {
            made += usize::from(make(change, table, auth, &mut journal, clock)?);
        }
        if !last.is_empty() {
            journal.write()?;
        }
        if made == 0 {
            return Ok(0);
        }
        match file.write() {
            Ok(Written { .. }) => return Ok(made),
            Err(NotWritten::Changed) => {}
            Err(NotWritten::Disk(error)) => return Err(error),
        }
    }
    Err(io::Error::other("another program changes client.keys all the time"))
}

/// Whether the table is another one now.
fn make(change: &Change, table: &mut Table, auth: &Auth, journal: &mut Journal, clock: &Clock) -> io::Result<bool> {
    let now = clock.now();
    match change {
        Change::Removed { id, name } => {
            journal.push(Entry::Removed { id: id.clone(), name: name.clone() }, now);
            let at = table.by_id(id);
            Ok(at.and_then(|at| table.remove(at, auth.purge)).is_some())
        }
        Change::Added { line, groups, date } => {
            let Line::Agent(agent) = Line::parse(line.as_bytes()) else {
                return Err(io::Error::other("a record of etcd has a line that is no agent"));
            };
            let hash = key::hash(agent.id, agent.name, agent.key);
            let (id, groups) = (agent.id.to_owned(), groups.clone());
            journal.push(Entry::Added { id, hash, date_add: *date, groups }, now);
            let present = table.by_id(agent.id);
            if present.is_some_and(|at| Agent::line(&table.agent(at)) == line) {
                return Ok(false);
            }
            if let Some(at) = present {
                table.remove(at, true);
            }
            table.add(Some(agent.id), agent.name, agent.ip, agent.key);
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::disk::faults::Fault;

    fn added(line: &str) -> Change {
        Change::Added { line: line.to_owned(), groups: "web".to_owned(), date: 1_700_000_000 }
    }

    fn removed(id: &str) -> Change {
        Change::Removed { id: id.to_owned(), name: "x".to_owned() }
    }

    fn home(keys: &str) -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("queue/cluster-state")).unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc/client.keys"), keys).unwrap();
        let home = Home::new(folder.path());
        (folder, home)
    }

    fn make_all(home: &Home, changes: &[Change], floor: u32) -> io::Result<usize> {
        inherit(home, &Auth { purge: true, ..Auth::default() }, changes, floor, &Clock::real(), &Disk::new())
    }

    fn keys(home: &Home) -> String {
        fs::read_to_string(home.client_keys()).unwrap()
    }

    /// However many of the changes the file has already, the same comes of it, and what is not told is in the journal.
    #[test]
    fn what_comes_of_the_changes_is_the_same_whatever_is_there_already() {
        let changes =
            [added("002 db any k2"), removed("001"), added("003 web any k3"), removed("002"), added("004 db any k4")];
        let all = "005 other any k5\n003 web any k3\n004 db any k4\n";
        for before in [
            "001 web any k1\n005 other any k5\n",
            "001 web any k1\n005 other any k5\n002 db any k2\n",
            "005 other any k5\n002 db any k2\n003 web any k3\n",
            all,
        ] {
            let (_folder, home) = home(before);
            make_all(&home, &changes, 5).unwrap();
            assert_eq!(keys(&home), all, "{before}");
            let journal = Journal::open(home.agents_pending(), Disk::new(), Clock::real().now()).unwrap();
            assert_eq!(journal.entries.len(), 4, "the last of each id");
            assert_eq!(make_all(&home, &changes, 5).unwrap(), 0, "once");
        }
    }

    #[test]
    fn ids_that_were_given_stay_so() {
        let (_folder, home) = home("001 web any k1\n");
        assert_eq!(make_all(&home, &[added("007 db any k7"), removed("007")], 9).unwrap(), 0);
        assert_eq!(fs::read_to_string(home.highest_id()).unwrap(), "9\n");
        assert_eq!(keys(&home), "001 web any k1\n");
    }

    #[test]
    fn what_is_no_change_and_a_disk_that_fails_change_nothing() {
        let (_folder, home) = home("001 web any k1\n");
        for nonsense in [added("x web any k"), added("002 !web any k"), removed("one"), added("")] {
            assert!(make_all(&home, std::slice::from_ref(&nonsense), 0).is_err(), "{nonsense:?}");
        }
        let before = Disk::new();
        inherit(&home, &Auth::default(), &[added("002 a any k")], 0, &Clock::real(), &before).unwrap();
        let steps = before.faults.done();
        for at in 0..steps {
            let (_folder, home) = self::home("001 web any k1\n");
            let disk = Disk::failing(at, Fault::Once(nix::errno::Errno::ENOSPC));
            let made = inherit(&home, &Auth::default(), &[added("002 a any k")], 0, &Clock::real(), &disk);
            let whole = "001 web any k1\n002 a any k\n";
            assert!(
                keys(&home) == whole || made.is_err() && keys(&home) == "001 web any k1\n",
                "{at}: {}",
                keys(&home)
            );
            make_all(&home, &[added("002 a any k")], 0).unwrap();
            assert_eq!(keys(&home), whole);
        }
    }
}
