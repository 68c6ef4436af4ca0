//! Many workers in this process: what they cost their master is measured, not what they cost.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use clusterd::{
    config::{Config, Home},
    daemon::{Prepared, Running},
    local::Role,
    system::clock::Clock,
};

use crate::{
    Failure,
    node::{PATIENCE, Setup, furnish_named},
    rule::{RULE, content, reads},
};

/// How often the workers are looked at: the precision of times measured from outside.
const GLANCE: Duration = Duration::from_millis(2);

/// Workers of one master. Dropping it stops them.
pub struct Crowd {
    nodes: Vec<Running>,
    homes: Vec<PathBuf>,
}

impl Crowd {
    /// Starts so many of the master at `port`, one after the other, with homes in `place`.
    pub fn start(place: &Path, count: usize, port: u16, setup: Setup) -> Result<Self, Failure> {
        let mut crowd = Self { nodes: Vec::new(), homes: Vec::new() };
        for number in 0..count {
            let name = format!("w{number:03}");
            let home = place.join(&name);
            furnish_named(&home, ("worker", &name), port, setup)?;
            let loaded = Config::load(Home::new(home.clone()), None).map_err(|faults| faults.to_string())?;
            let prepared = Prepared::new(loaded.config, Clock::real())?;
            crowd.nodes.push(prepared.start()?);
            crowd.homes.push(home);
        }
        Ok(crowd)
    }

    /// Waits until each has shown since then to have the files of its master; gives when the last one had.
    pub fn in_sync(&self, since: Instant) -> Result<Instant, Failure> {
        self.each("is in sync", |_, node| match node.role() {
            Role::Worker(worker) => {
                let verified = worker.files.state.lock().standing.verified;
                worker.master().is_some() && verified.is_some_and(|verified| verified > since)
            }
            Role::Master(_) => false,
        })
    }

    /// Waits until each has the rule with this text; gives when the last one had.
    pub fn have(&self, text: &str) -> Result<Instant, Failure> {
        self.each("has the rule", |home, _| reads(&home.join(RULE), text))
    }

    /// Writes the rule in each home, where no daemon looks at it, makes it durable and renames it.
    pub fn write_bare(&self, text: &str) -> io::Result<()> {
        self.homes.iter().map(|home| home.join("logs")).try_for_each(|directory| {
            let mut file = File::create(directory.join("new"))?;
            file.write_all(content(text).as_bytes())?;
            file.sync_all()?;
            fs::rename(directory.join("new"), directory.join("bare.txt"))?;
            File::open(&directory)?.sync_all()
        })
    }

    fn each(&self, what: &str, holds: impl Fn(&Path, &Running) -> bool) -> Result<Instant, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut missing: Vec<(&PathBuf, &Running)> = self.homes.iter().zip(&self.nodes).collect();
        loop {
            missing.retain(|(home, node)| !holds(home, node));
            let now = Instant::now();
            let Some((home, _)) = missing.first() else { return Ok(now) };
            if now > deadline {
                let (count, home) = (missing.len(), home.display());
                return Err(
                    format!("of {count} workers, {home} first, it is not so within {PATIENCE:?}: {what}").into()
                );
            }
            thread::sleep(GLANCE);
        }
    }
}
