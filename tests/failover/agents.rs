//! Agents that register through a worker all the time.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

use clusterd::{local::client::LocalClient, wire::Command};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Threads that register; so many registrations are under way at the most.
const THREADS: usize = 8;

/// An answer to a registration: when it came, with the id and the key that were given.
#[derive(Clone, Debug)]
pub struct Answered {
    pub at: Instant,
    pub name: String,
    pub id: u32,
    pub key: String,
}

/// Registers so many agents a second until it is dropped.
pub struct Agents {
    answered: Arc<Mutex<Vec<Answered>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Agents {
    /// Begins, at the control socket of a worker.
    pub fn begin(socket: &Path, each_second: u32) -> Self {
        let (answered, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let pause = Duration::from_secs(1) * THREADS as u32 / each_second;
        let threads = (0..THREADS).map(|thread| {
            let (answered, over, client) = (answered.clone(), over.clone(), LocalClient::new(socket));
            let client = client.with_time_limit(PATIENCE);
            spawn(move || {
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let answer = register(&client, &format!("agent-{thread}-{number}"));
                    answered.lock().extend(answer);
                    sleep(pause);
                }
            })
        });
        let threads = threads.collect();
        Self { answered, over, threads }
    }

    /// What was answered so far.
    pub fn answered(&self) -> Vec<Answered> {
        self.answered.lock().clone()
    }

    /// Waits until so many more were answered.
    pub fn wait_for(&self, more: usize) {
        let (begun, before) = (Instant::now(), self.answered.lock().len());
        while self.answered.lock().len() < before + more {
            assert!(begun.elapsed() < Duration::from_secs(180), "nobody is registered any more");
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the next answer to what is asked from now on.
    pub fn next(&self, since: Instant) -> Duration {
        loop {
            let first = self.answered.lock().iter().map(|answer| answer.at).filter(|at| *at > since).min();
            if let Some(at) = first {
                return at - since;
            }
            assert!(since.elapsed() < Duration::from_secs(180), "nobody is registered any more");
            sleep(Duration::from_millis(5));
        }
    }

    /// Ends it; gives all that was answered.
    pub fn end(mut self) -> Vec<Answered> {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        self.answered()
    }
}

/// The answer, if there was one.
pub fn register(client: &LocalClient, name: &str) -> Option<Answered> {
    let request = json!({"function": "add", "arguments": {"name": name, "ip": "any", "groups": "default"}});
    let request = json!({"daemon_name": "authd", "message": request}).to_string();
    let answer = client.ask(Command::SendAsync, request.as_bytes()).ok()?;
    let answer: Value = serde_json::from_slice(&answer).ok()?;
    let data = &answer["data"];
    let (id, key) = (data["id"].as_str()?.parse().ok()?, data["key"].as_str()?.to_owned());
    Some(Answered { at: Instant::now(), name: name.to_owned(), id, key })
}

/// Says which of the answered agents client.keys does not have, and which ids were given twice.
pub fn judge(answered: &[Answered], keys: &str) -> (Vec<u32>, Vec<u32>) {
    let has = |answer: &&Answered| keys.contains(&format!("{:03} {} any {}\n", answer.id, answer.name, answer.key));
    let missing = answered.iter().filter(|answer| !has(answer)).map(|answer| answer.id).collect();
    let mut given: BTreeMap<u32, usize> = BTreeMap::new();
    answered.iter().for_each(|answer| *given.entry(answer.id).or_default() += 1);
    let in_keys = keys.lines().filter_map(|line| line.split(' ').next()?.parse::<u32>().ok());
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    in_keys.for_each(|id| *seen.entry(id).or_default() += 1);
    let twice = given.iter().chain(&seen).filter(|(_, count)| **count > 1).map(|(id, _)| *id).collect();
    (missing, twice)
}
