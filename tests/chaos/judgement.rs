//! What has to be true when the disturbances of a trial have ended.

use std::{
    collections::BTreeSet,
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use crate::{
    agents::{BASE, Known},
    cluster::{Cluster, Node},
    evidence,
    files::Files,
    support::control_command,
    trial::Trial,
};

/// How often a worker and the master have to disagree on the groups until the worker asks for all
/// (`agent_groups_mismatch_limit`).
const MISMATCHES: u32 = 5;
/// What a machine that does much else may take for anything, such as a hundred files that are flushed.
const MACHINE: Duration = Duration::from_secs(8);

/// When all nodes have to be equal again.
pub struct Promise {
    /// The longest period of a task.
    pub cycle: Duration,
    /// How long it took in peace until all workers had all files.
    pub transfer: Duration,
    /// How long a connection may go on that carries no sense any more.
    pub damaged: Duration,
}

impl Promise {
    /// For the files.
    fn files(&self) -> Duration {
        2 * self.cycle + 2 * self.transfer + self.damaged + MACHINE
    }

    /// For what the databases have of agents.
    fn agents(&self) -> Duration {
        self.files() + MISMATCHES * self.cycle
    }
}

/// Waits until all nodes of a trial that has begun are equal; gives how long it took until their files were.
pub fn first(trial: &Trial, patience: Duration) -> Duration {
    wait_for_files(trial, patience);
    let took = trial.elapsed();
    let found = wait_for(|| differing_agents(&trial.cluster), Instant::now() + patience);
    assert_eq!(found, None);
    took
}

/// Waits until all nodes are equal; not for longer than promised.
pub fn converge(trial: &mut Trial, promise: &Promise) {
    wait_for_files(trial, promise.files().saturating_sub(trial.elapsed()));
    trial.outcome.files = trial.elapsed();
    // Registrations that are still waiting for an answer may come until now, and with them another client.keys.
    trial.join();
    let since = Instant::now();
    let look = || {
        let between_nodes = differing_agents(&trial.cluster).or_else(|| differing_files(&trial.cluster, &trial.files));
        between_nodes.or_else(|| not_as_answered(trial))
    };
    let found = wait_for(look, since + promise.agents());
    assert!(found.is_none(), "after {:?}: {}", promise.agents(), found.unwrap_or_default());
    trial.outcome.agents = trial.elapsed();
    let asked = |node: &Node| node.home.log().matches("times; asking for all of them").count();
    trial.outcome.asked = trial.cluster.nodes.iter().map(asked).sum();
}

/// Waits until the files of all nodes are what the master's are to be.
fn wait_for_files(trial: &Trial, patience: Duration) {
    let found = wait_for(|| differing_files(&trial.cluster, &trial.files), Instant::now() + patience);
    if let Some(found) = found {
        let nodes = trial.cluster.nodes.iter();
        let logs = nodes.map(|node| format!("{}:\n{}\n", node.home.path("").display(), node.last_lines()));
        panic!("not equal after {patience:?}: {found}\n{}", logs.collect::<String>());
    }
}

/// Waits until nothing is found; gives what is found at the end.
fn wait_for(mut look: impl FnMut() -> Option<String>, end: Instant) -> Option<String> {
    loop {
        let begun = Instant::now();
        let found = look();
        if found.is_none() || Instant::now() >= end {
            return found;
        }
        // A look at a large cluster is work, too.
        sleep(begun.elapsed().max(Duration::from_millis(20)));
    }
}

/// Where the files of a node are not what the master's are to be.
fn differing_files(cluster: &Cluster, files: &Files) -> Option<String> {
    let (keys, present) = (fs::read(cluster.master().join("etc/client.keys")).ok(), files.history.present());
    (0..cluster.nodes.len()).find_map(|node| {
        let home = cluster.home(node);
        let found = evidence::files(&home);
        let path = found.keys().chain(present.keys()).find(|path| found.get(*path) != present.get(*path));
        if let Some(path) = path {
            return Some(format!("node {node} has {:?} at {path}, not {:?}", found.get(path), present.get(path)));
        }
        (fs::read(home.join("etc/client.keys")).ok() != keys).then(|| format!("node {node} has other keys"))
    })
}

/// Where the agents of the nodes are not what they are to be.
fn differing_agents(cluster: &Cluster) -> Option<String> {
    let read = |node: usize| evidence::rows(&cluster.home(node)).map_err(|error| format!("node {node}: {error}"));
    let master = match read(0) {
        Ok(rows) => rows,
        Err(error) => return Some(error),
    };
    let keys: BTreeSet<u32> = evidence::keys(&cluster.master()).into_keys().collect();
    if !keys.iter().eq(master.keys()) {
        return Some(format!("client.keys has {keys:?}, the master's database {:?}", master.keys()));
    }
    (1..cluster.nodes.len()).find_map(|node| {
        let worker = match read(node) {
            Ok(rows) => rows,
            Err(error) => return Some(error),
        };
        let all: BTreeSet<&u32> = worker.keys().chain(master.keys()).collect();
        let same = |id: &u32| match (worker.get(id), master.get(id)) {
            (Some(here), Some(there)) => (&here.0, &here.1, &here.2) == (&there.0, &there.1, &there.2),
            _ => false,
        };
        let id = all.into_iter().find(|id| !same(id))?;
        Some(format!("node {node} has {:?} of agent {id}, the master {:?}", worker.get(id), master.get(id)))
    })
}

/// Panics if anything is not as it has to be. Stops the nodes.
pub fn judge(trial: &mut Trial, cycle: Duration) {
    let end = Instant::now() + 2 * cycle + MACHINE;
    let bad = |node: &Node| evidence::leftover(&node.home.path("")).or_else(|| not_in_sync(node));
    let found = wait_for(|| trial.cluster.nodes.iter().find_map(bad), end);
    assert_eq!(found, None);
    trial.cluster.stop();
    for node in &trial.cluster.nodes {
        let path = node.home.path("queue/db/global.db");
        let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let check: String = database.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "{}", path.display());
        assert!(!node.home.path("queue/db/global.db-wal").exists(), "{}", path.display());
        let log = node.home.log();
        let bad = log.lines().find(|line| line.contains("CRITICAL") || line.contains("panic"));
        assert_eq!(bad, None, "{}", path.display());
    }
}

/// Why a node does not say that all are in sync.
fn not_in_sync(node: &Node) -> Option<String> {
    let said = control_command(&node.home).arg("-l").output().unwrap();
    (!said.status.success()).then(|| String::from_utf8_lossy(&said.stderr).into_owned())
}

/// What was answered of the agents and is not so on the master. The workers are as the master.
fn not_as_answered(trial: &Trial) -> Option<String> {
    let master = trial.cluster.master();
    let keys = evidence::keys(&master);
    let rows = match evidence::rows(&master) {
        Ok(rows) => rows,
        Err(error) => return Some(error.to_string()),
    };
    let agents = trial.agents.all();
    let asked: BTreeSet<&String> = agents.iter().map(|agent| &agent.name).collect();
    let mut names = BTreeSet::new();
    for (name, _) in keys.values() {
        if !names.insert(name) || !(asked.contains(name) || name.starts_with(BASE)) {
            return Some(format!("{name} is there twice, or nobody has registered it"));
        }
    }
    let mut ids = BTreeSet::new();
    agents.iter().find_map(|agent| {
        let (id, key) = agent.registered.as_ref()?;
        if !ids.insert(id) {
            return Some(format!("{agent:?} has the id that another one had"));
        }
        let is_there = keys.get(id) == Some(&(agent.name.clone(), key.clone()));
        if agent.to_remove {
            return (agent.removed && is_there).then(|| format!("{agent:?} is there"));
        }
        if !is_there {
            return Some(format!("{agent:?} is not there"));
        }
        let (_, _, groups, version) = rows.get(id)?;
        let said = |known: &Known, found: &Option<String>| match known {
            Known::Surely(known) => Some(known) == found.as_ref(),
            Known::Nothing | Known::Unsure => true,
        };
        let both = said(&agent.groups, groups) && said(&agent.version, version);
        (!both).then(|| format!("of {agent:?} the database has {groups:?} and {version:?}"))
    })
}
