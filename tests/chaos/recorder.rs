//! Reads what the workers have, all the time.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{agents::Agents, content, history::History, random::Random, trial::Trial};

/// Of so many reads one is of the agents' keys.
const KEYS: usize = 100;

/// A thread that reads until it is stopped.
pub struct Recorder {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize, String>>,
}

impl Recorder {
    /// Reads on the workers of a trial, with a pause between two reads: those who are looked at need the processor, too.
    pub fn start(trial: &Trial, pause: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let its = over.clone();
        let workers: Vec<PathBuf> = (1..trial.cluster.nodes.len()).map(|worker| trial.cluster.home(worker)).collect();
        let (history, agents) = (trial.files.history.clone(), trial.agents.clone());
        let mut reader =
            Reader { seen: vec![HashSet::new(); workers.len()], workers, history, agents, random: Random::new(0) };
        let thread = thread::spawn(move || {
            let mut reads = 0;
            while !its.load(Ordering::Relaxed) {
                reader.read()?;
                reads += 1;
                thread::sleep(pause);
            }
            Ok(reads)
        });
        Self { over, thread }
    }

    /// Whether it has found something that it must not.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// How often it has read.
    ///
    /// # Errors
    ///
    /// What it has found.
    pub fn stop(self) -> Result<usize, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct Reader {
    /// Their homes; the first is node 1.
    workers: Vec<PathBuf>,
    history: Arc<History>,
    agents: Agents,
    random: Random,
    /// Ids of agents whose key each worker has had.
    seen: Vec<HashSet<u32>>,
}

impl Reader {
    fn read(&mut self) -> Result<(), String> {
        let worker = self.random.below(self.workers.len());
        if self.random.below(KEYS) == 0 {
            return self.keys(worker);
        }
        let Some(path) = self.history.path(self.random.below(usize::MAX)) else { return Ok(()) };
        let state = match fs::read(self.workers[worker].join(&path)) {
            Ok(content) => Some(content::generation(&content).map_err(|error| format!("{path}: {error}"))?),
            // It, or its directory, is not there.
            Err(_) => None,
        };
        self.history.shows(worker + 1, &path, state)
    }

    /// Whole lines, each id once, and nobody gone whom nobody wanted to remove.
    fn keys(&mut self, worker: usize) -> Result<(), String> {
        let ids = ids(&self.workers[worker])?;
        let gone = self.seen[worker].iter().find(|id| !ids.contains(id) && !self.agents.may_go(**id));
        if let Some(id) = gone {
            return Err(format!("worker {} has lost the key of agent {id}", worker + 1));
        }
        self.seen[worker] = ids;
        Ok(())
    }
}

/// The ids in the client.keys of a home.
fn ids(home: &Path) -> Result<HashSet<u32>, String> {
    let keys = fs::read_to_string(home.join("etc/client.keys")).unwrap_or_default();
    let mut ids = HashSet::new();
    let whole = (keys.is_empty() || keys.ends_with('\n'))
        && keys.lines().all(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            parts.len() == 4 && parts[3].len() == 64 && parts[0].parse().is_ok_and(|id| ids.insert(id))
        });
    if whole { Ok(ids) } else { Err(format!("client.keys is not whole:\n{keys}")) }
}
