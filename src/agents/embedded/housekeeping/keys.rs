//! A row for each agent that has a key (`spec/registration.md` 1, 11).

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use log::{info, warn};
use rusqlite::{params, types::ValueRef};

use super::{Failed, Rows};
use crate::{
    agents::{
        client_keys::{Key, LONGEST_FILE, Line, lines},
        embedded::{Database, answer::Failure},
    },
    system::{memory, stamp::Stamp},
};

/// Rows that are written at a time.
const BATCH: usize = 1_000;

/// From this number of rows on, losing more than half of them at once needs a second look.
const MANY: usize = 20;

/// Turns until that second look.
const SECOND_LOOK: u32 = 10;

/// The keys of this node and what is known of the file.
pub(super) struct Keys {
    path: PathBuf,
    /// On a master the registrar that wrote the file makes the row too, at nearly the same time. It is to be first: it
    /// knows which groups the agent has asked for.
    waits: bool,
    /// Of the file that the rows were made from.
    done: Option<Stamp>,
    /// Of the file at the turn before.
    seen: Option<Stamp>,
    /// Turns since many rows have lost their keys.
    suspicious: u32,
    told_missing: bool,
}

/// What client.keys says of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Agent {
    name: String,
    ip: String,
    key: String,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    write: Vec<(i64, Agent)>,
    remove: Vec<i64>,
    /// Rows of agents that there are now.
    rows: usize,
}

impl Keys {
    pub(super) fn new(path: PathBuf, waits: bool) -> Self {
        Self { path, waits, done: None, seen: None, suspicious: 0, told_missing: false }
    }

    /// The rows are not those of the file any more.
    pub(super) fn forget(&mut self) {
        self.done = None;
    }

    /// Makes the rows those of the file, if it has changed.
    pub(super) fn turn(&mut self, database: &impl Rows) -> Result<(), Failed> {
        let stamp = match Stamp::of(&self.path) {
            Ok(stamp) => stamp,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.done.is_some() && !std::mem::replace(&mut self.told_missing, true) {
                    warn!(
                        target: "[Cluster] [Agent database]",
                        "{} is missing; the agents that it named stay in the database.", self.path.display()
                    );
                }
                return Ok(());
            }
            Err(error) => return Err(Failed::File { path: self.path.clone(), error }),
        };
        let before = self.seen.replace(stamp);
        if self.done == Some(stamp) || (self.waits && before != Some(stamp)) {
            return Ok(());
        }
        let agents = read(&self.path).map_err(|error| Failed::File { path: self.path.clone(), error })?;
        let plan = database.with(move |database| plan(database, agents))??;
        // A registrar writes the file before the row: a row that the plan finds too many may be newer than what was read.
        if Stamp::of(&self.path).ok() != Some(stamp) {
            return Ok(());
        }
        if plan.rows >= MANY && plan.remove.len() * 2 > plan.rows && self.suspicious < SECOND_LOOK {
            if self.suspicious == 0 {
                warn!(
                    target: "[Cluster] [Agent database]",
                    "{} agents of {} have no key any more; they are removed if that is still so in {SECOND_LOOK} s.",
                    plan.remove.len(), plan.rows
                );
            }
            self.suspicious += 1;
            return Ok(());
        }
        self.suspicious = 0;
        let (written, removed) = (plan.write.len(), plan.remove.len());
        for batch in batches(plan) {
            database.with(move |database| batch.carry_out(database))??;
        }
        if written + removed > 0 {
            info!(
                target: "[Cluster] [Agent database]",
                "client.keys has changed: {written} agents added or changed, {removed} removed."
            );
        }
        (self.done, self.told_missing) = (Some(stamp), false);
        memory::give_back();
        Ok(())
    }
}

/// The agents of the file, by number. Removed ones, comments and lines that are not complete do not count.
fn read(path: &Path) -> io::Result<BTreeMap<i64, Agent>> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
    if length as u64 > LONGEST_FILE {
        return Err(io::Error::other(format!("it is longer than {LONGEST_FILE} bytes")));
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> BTreeMap<i64, Agent> {
    let agent = |line| {
        let Line::Agent(Key { id, name, ip, key }) = Line::parse(line) else { return None };
        let number: i64 = id.parse::<u32>().ok().filter(|id| *id > 0)?.into();
        Some((number, Agent { name: name.to_owned(), ip: ip.to_owned(), key: key.to_owned() }))
    };
    lines(bytes).filter(|(_, complete)| *complete).filter_map(|(line, _)| agent(line)).collect()
}

fn plan(database: &Database, mut agents: BTreeMap<i64, Agent>) -> Result<Plan, Failure> {
    let mut statement =
        database.connection.prepare_cached("SELECT id, name, internal_key FROM agent WHERE id > 0 ORDER BY id")?;
    let (mut rows, mut plan) = (statement.query([])?, Plan::default());
    while let Some(row) = rows.next()? {
        plan.rows += 1;
        let id: i64 = row.get(0)?;
        match agents.get(&id) {
            None => plan.remove.push(id),
            Some(agent) => {
                let name = ValueRef::Text(agent.name.as_bytes());
                let key = ValueRef::Text(agent.key.as_bytes());
                if row.get_ref(1)? == name && row.get_ref(2)? == key {
                    agents.remove(&id);
                }
            }
        }
    }
    plan.write = agents.into_iter().collect();
    Ok(plan)
}

fn batches(plan: Plan) -> impl Iterator<Item = Plan> {
    let Plan { write, remove, rows } = plan;
    // A name may move to another number, so the old row goes first.
    let mut removes: Vec<Plan> =
        remove.chunks(BATCH).map(|ids| Plan { remove: ids.to_vec(), write: Vec::new(), rows }).collect();
    removes.extend(write.chunks(BATCH).map(|agents| Plan { write: agents.to_vec(), remove: Vec::new(), rows }));
    removes.into_iter()
}

impl Plan {
    fn carry_out(self, database: &Database) -> Result<(), Failure> {
        database.transaction(|database| {
            database.group_hash.take();
            let mut delete = database.connection.prepare_cached("DELETE FROM agent WHERE id = ?1 AND id > 0")?;
            for id in self.remove {
                delete.execute([id])?;
            }
            let mut write = database.connection.prepare_cached(
                "INSERT INTO agent (id, name, register_ip, internal_key, date_add, `group`)
                 VALUES (?1, ?2, ?3, ?4, ?5, NULL)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, register_ip = excluded.register_ip,
                     internal_key = excluded.internal_key",
            )?;
            for (id, Agent { name, ip, key }) in self.write {
                write.execute(params![id, name, ip, key, database.now()])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_agents_comments_and_half_lines_are_no_agents() {
        let text = b"001 web any k1\n# 9 x any k\n 8 x any k\n002 !old any k2\n003 db 10.0.0.0/8 k3 k4\nx y z k\n4 a any\n0 m any k\n005 half any k";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[&1].name, "web");
        assert_eq!((found[&3].ip.as_str(), found[&3].key.as_str()), ("10.0.0.0/8", "k3 k4"));
        assert!(parse(b"").is_empty());
    }
}
