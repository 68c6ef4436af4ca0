//! A row for each agent that has a key (`spec/registration.md` 1, 11).
//!
//! The file is read twice, line by line: once to compare, once more for the agents that are to be written. Between the two
//! each agent is a number and a hash. Where the scan of the node knows the outline of the file, only the agents in what has
//! changed are compared ([`Index`]), and on a worker all of them once an hour; a master's registrar makes their rows.

use std::{
    collections::BTreeMap,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, Read, Seek},
    ops::RangeInclusive,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::params;

use super::{
    duty::{DutyFailure, Rows},
    index::{Changed, Index},
};
use crate::{
    agents::{
        Covered,
        client_keys::{Key, Line, Lines},
        embedded::{
            Database,
            answer::Failure,
            groups::{self, Assignment, Mode},
        },
    },
    files::{KEYS, Outlines, outline::Outline},
    logging::{info, warn},
    system::{known::Known, memory, stamp::Stamp},
};

/// Rows that are read or written at a time.
const BATCH: usize = 1_000;

/// Numbers of more than one line that are looked for, to tell of them.
const DOUBLES: usize = 8;

/// From this number of rows on, losing more than half of them at once needs a second look.
const MANY: usize = 20;

/// How long not all agents are compared, when the file changes.
const ALL_EVERY: Duration = Duration::from_secs(3600);

/// Turns until that second look.
const SECOND_LOOK: u32 = 10;

/// The keys of this node and what is known of the file.
pub(super) struct Keys {
    path: PathBuf,
    /// On a master the registrar that wrote the file makes the row too, at nearly the same time. It is to be first: it
    /// knows which groups the agent has asked for.
    waits: bool,
    /// The file that the rows were made from.
    covered: Covered,
    /// What the scan of this node knows of the file.
    outlines: Option<Arc<Outlines>>,
    /// Of the file that the rows were made from, if the scan knew it, and when all of it was compared.
    index: Option<(Index, Instant)>,
    /// Rows when all were compared.
    rows: usize,
    /// How long a row that the master's assignments have made waits for its key. Without the row the agent would have no
    /// groups when the key comes.
    patience: Duration,
    /// Of the file at the turn before.
    seen: Option<Stamp>,
    /// Turns since many rows have lost their keys.
    suspicious: u32,
    told_missing: bool,
    /// Whether rows wait for their keys, and when these have waited long enough.
    awaits: bool,
    looks_again: Option<Instant>,
}

/// What client.keys says of an agent.
struct Agent {
    id: u32,
    name: String,
    ip: String,
    key: String,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// In ascending order.
    write: Vec<u32>,
    remove: Vec<i64>,
    /// Rows of agents that there are now.
    rows: usize,
    /// Of these, without a key, but not for long.
    awaited: usize,
}

/// What a row says of its agent.
struct Row {
    id: i64,
    /// None if something is missing.
    hash: Option<u64>,
    /// Whether its key may still come.
    is_awaited: bool,
}

impl Keys {
    pub(super) fn new(path: PathBuf, waits: bool, covered: Covered, patience: Duration) -> Self {
        Self {
            path,
            waits,
            covered,
            outlines: None,
            index: None,
            rows: 0,
            patience,
            seen: None,
            suspicious: 0,
            told_missing: false,
            awaits: false,
            looks_again: None,
        }
    }

    /// Lets it compare no more than what has changed by these outlines.
    pub(super) fn with_outlines(mut self, outlines: Option<Arc<Outlines>>) -> Self {
        self.outlines = outlines;
        self
    }

    /// Sees to it that rows do not wait for their keys for ever; `are_new` if some were made since the turn before.
    pub(super) fn await_keys(&mut self, are_new: bool, now: Instant) {
        if std::mem::take(&mut self.awaits) || are_new {
            self.looks_again.get_or_insert(now + self.patience);
        }
        if self.looks_again.take_if(|then| *then <= now).is_some() {
            self.forget();
        }
    }

    /// The rows are not those of the file any more.
    pub(super) fn forget(&mut self) {
        self.covered.set(None);
        self.index = None;
    }

    /// Makes the rows those of the file, if it has changed.
    pub(super) fn turn(&mut self, database: &impl Rows) -> Result<(), DutyFailure> {
        let path = self.path.clone();
        let failed = |error| DutyFailure::File { path: path.clone(), error };
        let stamp = match Stamp::of(&self.path) {
            Ok(stamp) => stamp,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.tell_missing();
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        let before = self.seen.replace(stamp);
        let outline = self.outlines.as_ref().and_then(|outlines| outlines.at(KEYS, &stamp));
        if self.turn_by_index(database, (before, stamp), outline.as_ref())? {
            return Ok(());
        }
        if self.covered.is_at(&self.path).map_err(failed)? {
            if self.waits {
                // The registrar has made all rows since.
                self.index = None;
            }
            return self.begin_index(outline);
        }
        if self.waits && before != Some(stamp) {
            return Ok(());
        }
        let mut file = File::open(&self.path).map_err(failed)?;
        let hasher = RandomState::new();
        let (known, (agents, doubles)) = Known::read(&file, |file| hashes(file, &hasher)).map_err(failed)?;
        if !doubles.is_empty() {
            file.rewind().map_err(failed)?;
            self.tell_doubles(&file, &doubles).map_err(failed)?;
        }
        let plan = plan(database, (&agents, &hasher), self.patience, &[1..=i64::MAX])?;
        // A registrar writes the file before the row: a row that the plan finds too many may be newer than what was read.
        if Stamp::of(&self.path).ok().as_ref() != Some(known.stamp()) || self.needs_another_look(&plan) {
            return Ok(());
        }
        file.rewind().map_err(failed)?;
        self.carry_out(database, &plan, &file)?;
        self.covered.set(Some(known));
        self.told_missing = false;
        (self.rows, self.awaits) = (agents.len(), plan.awaited > 0);
        self.index = None;
        self.begin_index(outline)?;
        memory::give_back();
        Ok(())
    }

    /// The rows are those of the file with this outline.
    fn begin_index(&mut self, outline: Option<Arc<Outline>>) -> Result<(), DutyFailure> {
        let failed = |error| DutyFailure::File { path: self.path.clone(), error };
        if let (None, Some(outline)) = (&self.index, outline) {
            let index = File::open(&self.path).and_then(|file| Index::of(&file, outline)).map_err(failed)?;
            self.index = index.map(|index| (index, Instant::now()));
        }
        Ok(())
    }

    /// Compares the agents in what has changed. Gives false if all are to be compared.
    fn turn_by_index(
        &mut self,
        database: &impl Rows,
        (before, stamp): (Option<Stamp>, Stamp),
        outline: Option<&Arc<Outline>>,
    ) -> Result<bool, DutyFailure> {
        let path = self.path.clone();
        let failed = |error| DutyFailure::File { path: path.clone(), error };
        let Some((index, since)) = self.index.as_ref().filter(|(_, since)| since.elapsed() < ALL_EVERY) else {
            return Ok(false);
        };
        let Some(outline) = outline else {
            // The scan comes to it soon.
            return Ok(before != Some(stamp));
        };
        if index.is_of(outline) || self.waits && before != Some(stamp) {
            return Ok(true);
        }
        let changed = File::open(&self.path).and_then(|file| index.changed(&file, outline.clone())).map_err(failed)?;
        let Some(Changed { ids, text, index }) = changed else { return Ok(false) };
        let (hasher, since) = (RandomState::new(), *since);
        let (mut agents, doubles) = hashes(&text[..], &hasher).map_err(failed)?;
        if !doubles.is_empty() {
            return Ok(false);
        }
        agents.retain(|(id, _)| ids.iter().any(|ids| ids.contains(&i64::from(*id))));
        let mut plan = plan(database, (&agents, &hasher), self.patience, &ids)?;
        plan.rows = plan.rows.max(self.rows);
        if Stamp::of(&self.path).ok() != Some(stamp) || self.needs_another_look(&plan) {
            return Ok(true);
        }
        self.carry_out(database, &plan, &text[..])?;
        self.told_missing = false;
        self.awaits |= plan.awaited > 0;
        self.index = Some((index, since));
        Ok(true)
    }

    fn tell_missing(&mut self) {
        if self.covered.get().is_some() && !std::mem::replace(&mut self.told_missing, true) {
            warn!(
                "[Cluster] [Agent database]",
                "{} is missing; the agents that it named stay in the database.",
                self.path.display()
            );
        }
    }

    /// Whether so many rows have lost their keys that the file may be wrong, or half there.
    fn needs_another_look(&mut self, plan: &Plan) -> bool {
        let suspicious = plan.rows >= MANY && plan.remove.len() * 2 > plan.rows && self.suspicious < SECOND_LOOK;
        if suspicious && self.suspicious == 0 {
            warn!(
                "[Cluster] [Agent database]",
                "{} agents of {} have no key any more; they are removed if that is still so in {SECOND_LOOK} s.",
                plan.remove.len(),
                plan.rows
            );
        }
        self.suspicious = if suspicious { self.suspicious + 1 } else { 0 };
        suspicious
    }

    /// `text` has the lines of the agents that are to be written.
    fn carry_out(&self, database: &impl Rows, plan: &Plan, text: impl Read) -> Result<(), DutyFailure> {
        let failed = |error| DutyFailure::File { path: self.path.clone(), error };
        // A name may move to another number, so the old row goes first.
        for ids in plan.remove.chunks(BATCH).map(<[i64]>::to_vec) {
            database.with(move |database| remove(database, &ids))??;
        }
        if !plan.write.is_empty() {
            let (mut lines, mut taken) = (Lines::new(text), vec![false; plan.write.len()]);
            loop {
                let agents = wanted(&mut lines, &plan.write, &mut taken).map_err(failed)?;
                if agents.is_empty() {
                    break;
                }
                database.with(move |database| write(database, &agents))??;
            }
        }
        let (written, removed) = (plan.write.len(), plan.remove.len());
        if written + removed > 0 {
            info!(
                "[Cluster] [Agent database]",
                "client.keys has changed: {written} agents added or changed, {removed} removed."
            );
        }
        Ok(())
    }

    /// Names the first of the lines that do not count because of an earlier one.
    fn tell_doubles(&self, file: &File, doubles: &[u32]) -> io::Result<()> {
        let (mut lines, mut number, mut first) = (Lines::new(file), 0_u64, BTreeMap::new());
        while let Some((line, is_whole)) = lines.read()? {
            number += 1;
            let Some((id, key)) = agent(line, is_whole).filter(|(id, _)| doubles.contains(id)) else { continue };
            let Some(before) = first.insert(id, number) else { continue };
            let (path, name) = (self.path.display(), key.name);
            let more = if doubles.len() > 1 { "; there are more such lines" } else { "" };
            warn!(
                "[Cluster] [Agent database]",
                "{path}, line {number}: the agent '{name}' does not count, because line {before} has the same number {id:03}, \
                 and the first counts{more}. Remove one of them."
            );
            break;
        }
        Ok(())
    }
}

/// The agent of a line. Removed ones, comments and lines that are not complete do not count.
pub(super) fn agent(line: &[u8], is_whole: bool) -> Option<(u32, Key<'_>)> {
    let Line::Agent(key) = Line::parse(line) else { return None };
    let id = key.id.parse().ok().filter(|id| is_whole && *id > 0)?;
    Some((id, key))
}

/// Equal ones are taken for the same name and key. Of two that differ, one in 2^64 pairs would be overlooked until the
/// file changes again.
fn hash(hasher: &RandomState, name: &str, key: &str) -> u64 {
    hasher.hash_one((name, key))
}

/// Numbers of agents, and what [`hash`] makes of the rest.
type Hashes = Vec<(u32, u64)>;

/// The agents of the file, by number, and some numbers that more than one line has.
fn hashes(file: impl Read, hasher: &RandomState) -> io::Result<(Hashes, Vec<u32>)> {
    let (mut lines, mut agents) = (Lines::new(file), Vec::new());
    while let Some((line, is_whole)) = lines.read()? {
        agents.extend(agent(line, is_whole).map(|(id, key)| (id, hash(hasher, key.name, key.key))));
    }
    // Of lines with one number the first counts, and this leaves it first.
    agents.sort_by_key(|(id, _)| *id);
    let mut doubles = Vec::new();
    agents.dedup_by(|(id, _), (first, _)| {
        if id == first && doubles.len() < DOUBLES {
            doubles.push(*id);
        }
        id == first
    });
    Ok((agents, doubles))
}

/// Compares the agents and the rows with these numbers.
fn plan(
    database: &impl Rows,
    (agents, hasher): (&[(u32, u64)], &RandomState),
    patience: Duration,
    ids: &[RangeInclusive<i64>],
) -> Result<Plan, DutyFailure> {
    let (mut plan, mut agents) = (Plan::default(), agents.iter().peekable());
    for ids in ids {
        let (mut last, end) = (*ids.start() - 1, *ids.end());
        loop {
            let hasher = hasher.clone();
            let rows = database.with(move |database| rows(database, (last, end), &hasher, patience))??;
            let Some(further) = rows.last() else { break };
            last = further.id;
            plan.rows += rows.len();
            for Row { id, hash: known, is_awaited } in rows {
                while let Some((new, _)) = agents.next_if(|(number, _)| i64::from(*number) < id) {
                    plan.write.push(*new);
                }
                match agents.next_if(|(number, _)| i64::from(*number) == id) {
                    None if is_awaited => plan.awaited += 1,
                    None => plan.remove.push(id),
                    Some((changed, hash)) if known != Some(*hash) => plan.write.push(*changed),
                    Some(_) => {}
                }
            }
        }
        while let Some((new, _)) = agents.next_if(|(number, _)| i64::from(*number) <= end) {
            plan.write.push(*new);
        }
    }
    Ok(plan)
}

/// The next rows behind the number `last`, up to `end`.
fn rows(
    database: &Database,
    (last, end): (i64, i64),
    hasher: &RandomState,
    patience: Duration,
) -> Result<Vec<Row>, Failure> {
    let mut statement = database.connection.prepare_cached(
        "SELECT id, name, internal_key, internal_key IS NULL AND date_add BETWEEN ?3 AND ?4
         FROM agent WHERE id > ?1 AND id <= ?5 ORDER BY id LIMIT ?2",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let texts = (row.get_ref(1)?.as_str(), row.get_ref(2)?.as_str());
        let hash = if let (Ok(name), Ok(key)) = texts { Some(hash(hasher, name, key)) } else { None };
        Ok(Row { id: row.get(0)?, hash, is_awaited: row.get(3)? })
    };
    let (now, patience) = (database.now(), patience.as_secs() as i64);
    let found = statement.query_map(params![last, BATCH as i64, now - patience + 1, now, end], row)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The next agents of the file that are among `ids` and not `taken` yet, as many as are written at a time.
fn wanted(lines: &mut Lines<impl Read>, ids: &[u32], taken: &mut [bool]) -> io::Result<Vec<Agent>> {
    let mut agents = Vec::new();
    while agents.len() < BATCH
        && let Some((line, is_whole)) = lines.read()?
    {
        let mut is_first = |id: &u32| ids.binary_search(id).is_ok_and(|at| !std::mem::replace(&mut taken[at], true));
        let agent = agent(line, is_whole).filter(|(id, _)| is_first(id));
        agents.extend(agent.map(|(id, Key { name, ip, key, .. })| {
            let [name, ip, key] = [name, ip, key].map(str::to_owned);
            Agent { id, name, ip, key }
        }));
    }
    Ok(agents)
}

fn remove(database: &Database, ids: &[i64]) -> Result<(), Failure> {
    database.transaction(|database| {
        database.group_hash.take();
        let mut delete = database.connection.prepare_cached("DELETE FROM agent WHERE id = ?1 AND id > 0")?;
        for id in ids {
            delete.execute([id])?;
        }
        Ok(())
    })
}

/// Writes agents. One with another name or key than the row under its number is another agent, which gets nothing of what
/// is known of the old one, but the groups that the master has assigned to it by its name. A row without a key is what the
/// master has told of this agent before its key came.
fn write(database: &Database, agents: &[Agent]) -> Result<(), Failure> {
    database.transaction(|database| {
        let connection = &database.connection;
        let mut is_another =
            connection.prepare_cached("SELECT 1 FROM agent WHERE id = ?1 AND (name <> ?2 OR internal_key <> ?3)")?;
        let mut delete = connection.prepare_cached("DELETE FROM agent WHERE id = ?1")?;
        let mut write = connection.prepare_cached(
            "INSERT INTO agent (id, name, register_ip, internal_key, date_add, `group`)
             VALUES (?1, ?2, ?3, ?4, ?5, NULL)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, register_ip = excluded.register_ip,
                 internal_key = excluded.internal_key",
        )?;
        for Agent { id, name, ip, key } in agents {
            let agent = i64::from(*id);
            let mut assigned = Vec::new();
            if is_another.exists(params![id, name, key])? {
                if database.named.borrow_mut().remove(&agent).as_ref() == Some(name) {
                    assigned = groups::names_of(database, agent)?;
                }
                // The hash of all assignments has no part of rows without groups, as new ones are.
                database.group_hash.take();
                delete.execute([id])?;
            }
            write.execute(params![id, name, ip, key, database.now()])?;
            if !assigned.is_empty() {
                let groups: Vec<&str> = assigned.iter().map(String::as_str).collect();
                let assignment = Assignment { agent, name: Some(name), groups: &groups };
                assignment.apply(database, Mode::Override, "synced", &mut true)?;
            }
        }
        Ok(())
    })
}
