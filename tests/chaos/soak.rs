//! `make soak`: a large cluster for a long time, and whether anything grows.
//!
//! A master and 20 workers with the intervals of an installation and 20 000 agents, of which each reports once a minute.
//! Agents come and go, files change, workers of the second half are killed all the time, the master three times in the
//! first third. At the end all nodes have to be equal, as after any trial, and no process that lived for the second half
//! or longer may grow in memory, descriptors, threads or disk (`slope.rs`).
//!
//! | variable | meaning |
//! |---|---|
//! | `SOAK_MINUTES` | how long; 30 |
//! | `SOAK_WORKERS`, `SOAK_AGENTS` | how many; 20 and 20 000 |
//! | `CHAOS_SEED` | decides what happens |

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    agents::base,
    judgement::{self, Promise},
    keepalives::Keepalives,
    machine,
    process::memory,
    recorder::Recorder,
    replay::setting,
    schedule::{Action, Plan},
    slope::{Slope, means},
    trial::Trial,
};

/// The longest period of an installation.
const CYCLE: Duration = Duration::from_secs(10);
/// Between two samples of all processes. What the nodes do every minute is to be met in all its states.
const SAMPLING: Duration = Duration::from_secs(7);
/// Minutes of a process that do not count: caches fill, threads and buffers come to be.
const WARM_UP: f64 = 5.0;

const QUANTITIES: [&str; 4] = ["resident MiB", "descriptors", "threads", "disk MiB"];

/// What was measured of one process: minutes since the begin, and each quantity.
type Series = Vec<(f64, [f64; 4])>;

/// All processes, by node and process number.
#[derive(Default)]
struct Samples {
    last: Option<Instant>,
    processes: BTreeMap<(usize, u32), Series>,
}

/// Runs it, and panics if anything is not as it has to be.
pub fn run() {
    let minutes = setting("SOAK_MINUTES", 30);
    let (workers, agents) = (setting("SOAK_WORKERS", 20) as usize, setting("SOAK_AGENTS", 20_000) as u32);
    let plan = Plan::soak(setting("CHAOS_SEED", 1), workers, Duration::from_secs(60 * minutes));
    let mut trial = Trial::new(
        &plan,
        &json!({
            "intervals": {
                "worker": {"sync_integrity": 9, "connection_retry": 10}, "master": {"recalculate_integrity": 8},
            },
            "link": {"reconnect_min": 1},
        }),
    );
    for node in &trial.cluster.nodes {
        node.home.write("etc/local_internal_options.conf", "");
    }
    fs::write(trial.cluster.master().join("etc/client.keys"), base(agents)).unwrap();
    trial.calm();
    let transfer = judgement::first(&trial, Duration::from_secs(120));

    let keepalives = Keepalives::start((1..=workers).map(|worker| trial.cluster.home(worker)).collect(), agents);
    let recorder = Recorder::start(&trial, Duration::from_millis(5));
    let (begun, mut samples) = (Instant::now(), Samples::default());
    trial.disturb(&with_master(&plan), &recorder, |trial| samples.take(trial, begun));
    let reported = keepalives.stop();
    trial.calm();
    judgement::converge(&mut trial, &Promise { cycle: CYCLE, transfer, damaged: Duration::ZERO });
    trial.outcome.reads = recorder.stop().unwrap_or_else(|found| panic!("{found}"));
    let growing = report(&trial, &samples, begun.elapsed());
    println!("{}\n{reported} keep-alives of agents", trial.outcome);
    judgement::judge(&mut trial, CYCLE);
    assert!(growing.is_empty(), "these grow: {}", growing.join("; "));
}

/// The schedule with three kills of the master in its first third.
fn with_master(plan: &Plan) -> Vec<(Duration, Action)> {
    let mut schedule = plan.schedule();
    for part in [0.1, 0.2, 0.3] {
        let at = plan.lasting.mul_f64(part);
        schedule.extend([(at, Action::Kill(0)), (at + Duration::from_secs(2), Action::Start(0))]);
    }
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}

impl Samples {
    /// Measures all processes, if it is time.
    fn take(&mut self, trial: &Trial, begun: Instant) {
        if self.last.is_some_and(|last| last.elapsed() < SAMPLING) {
            return;
        }
        self.last = Some(Instant::now());
        let now = begun.elapsed().as_secs_f64() / 60.0;
        for (number, node) in trial.cluster.nodes.iter().enumerate() {
            let Some(pid) = node.pid() else { continue };
            // A process that is about to end has nothing to show.
            let (Ok(memory), Ok(descriptors)) = (memory(pid), fs::read_dir(format!("/proc/{pid}/fd"))) else {
                continue;
            };
            let disk = ["queue", "var"].map(|directory| size(&node.home.path(directory))).iter().sum::<u64>();
            let quantities = [memory.resident, descriptors.count() as f64, memory.threads, disk as f64 / 1048576.0];
            self.processes.entry((number, pid)).or_default().push((now, quantities));
        }
    }
}

/// Bytes of all files below a directory.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some(if about.is_dir() { size(&entry.path()) } else { about.len() })
        })
        .sum()
}

/// Prints the table of the processes that lived long enough; gives what grows.
fn report(trial: &Trial, samples: &Samples, lasting: Duration) -> Vec<String> {
    println!("{}\n", machine::facts());
    println!("| node | minutes | {} |\n|---|---|{}", QUANTITIES.join(" | "), "---|".repeat(QUANTITIES.len()));
    let mut growing = Vec::new();
    for ((node, pid), series) in &samples.processes {
        let lives = trial.cluster.nodes[*node].pid() == Some(*pid);
        let after: Series = series.iter().filter(|(at, _)| *at >= series[0].0 + WARM_UP).copied().collect();
        let minutes = after.last().map_or(0.0, |(end, _)| end - after[0].0);
        if !lives || minutes < lasting.as_secs_f64() / 60.0 / 2.0 {
            continue;
        }
        let name = if *node == 0 { "master".to_owned() } else { format!("w{node}") };
        let mut row = format!("| {name} | {minutes:.0} |");
        for (at, quantity) in QUANTITIES.iter().enumerate() {
            let series: Vec<(f64, f64)> = after.iter().map(|(time, values)| (*time, values[at])).collect();
            let last = series.last().map_or(0.0, |(_, value)| *value);
            let Some(slope) = Slope::of(&means(&series)) else { continue };
            let [median, low, high] = [slope.median, slope.low, slope.high].map(|slope| slope * 60.0);
            let _ = write!(row, " {last:.1}; {median:+.2} [{low:+.2}, {high:+.2}] |");
            if slope.grows() {
                growing.push(format!("{quantity} of {name}"));
            }
        }
        println!("{row}");
    }
    println!("\nEach cell: the last value; the slope in an hour with its interval.");
    growing
}
