//! `make bench`: 10, 100 and 400 workers of one master.
//!
//! The master is a process, the workers are nodes in this one. In the same run the file that changes is written in the home
//! of each worker by a bare loop, made durable and renamed.
//!
//! | variable | meaning |
//! |---|---|
//! | `BENCH_WORKERS` | how many workers, one number instead of the three |
//! | `BENCH_CHANGES` | changes of a rule; 7 |
//! | `BENCH_IDLE` | seconds over which the idle master is measured; 20 |
//! | `BENCH_DIR` | where the homes are made; `target/tmp` |

mod crowd;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod files;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod machine;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod node;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod process;
mod program;
mod rule;
mod table;
mod target;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod timing;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clusterd::system::process::raise_file_limit;
use crowd::Crowd;
use files::{Random, SMALL};
use node::{Node, Setup, free_port, furnish};
use process::{memory, processor_seconds};
use program::Failure;
use rule::{RULE, change};
use table::{Table, number, ratio};
use target::verdict;
use timing::{Samples, setting};

/// Workers, the files of their master, and what is to be reached: MiB resident, percent of a core when idle, seconds for one
/// change.
const CLUSTERS: [(usize, usize, [f64; 3]); 3] =
    [(10, 2000, [f64::NAN; 3]), (100, 2000, [15.0, 0.2, 0.3]), (400, 200, [30.0, 0.6, 0.8])];
/// The default intervals of a check and of the master's look at its files, seconds.
const SETUP: Setup = Setup { native: true, check: 9.0, local: 8.0 };
/// From the start, or the last change, until the nodes count as idle: what the master keeps for the next worker is old then.
const CALM: Duration = Duration::from_secs(12);
/// A file that was changed within the last two seconds is read again by every scan.
const FRESH: Duration = Duration::from_millis(2500);
/// From one change to the next, milliseconds: at least, and at most that much more.
const PAUSE: [u64; 2] = [600, 900];

fn main() -> ExitCode {
    program::measure("workers-", run)
}

fn run(place: &Path) -> Result<(), Failure> {
    raise_file_limit();
    let instances = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    println!(
        "The workers are in one process, and fs.inotify.max_user_instances is {}: those beyond it look at the stamps of all \
         their files when they are checked.",
        instances.trim()
    );
    let one = setting("BENCH_WORKERS", 0);
    for (workers, files, goals) in CLUSTERS.into_iter().filter(|(workers, ..)| one == 0 || one == *workers) {
        Cluster { place: &place.join(workers.to_string()), workers, files, goals }.measure()?;
    }
    Ok(())
}

struct Cluster<'a> {
    place: &'a Path,
    workers: usize,
    files: usize,
    goals: [f64; 3],
}

impl Cluster<'_> {
    fn measure(&self) -> Result<(), Failure> {
        let (home, port) = (self.place.join("master"), free_port()?);
        furnish(&home, "master", port, SETUP)?;
        SMALL.so_many(self.files).create(&home)?;
        change(&home.join(RULE), "begin")?;
        thread::sleep(FRESH);
        let columns = ["what", "median", "best", "worst", "limit", "ratio", "to reach", "verdict"];
        let title =
            format!("{}: {} workers, {} files of 1 KB", machine::file_system(self.place), self.workers, self.files);
        let mut table = Table::new(title, columns);
        let [resident, idle, changed] = self.goals;

        let mut master = Node::start(&home)?;
        master.wait_for(0, &["[Local integrity] Finished in"])?;
        let alone = memory(master.pid())?;
        self.tell("starting");
        let begun = Instant::now();
        let crowd = Crowd::start(self.place, self.workers, port, SETUP)?;
        let started = begun.elapsed().as_secs_f64();
        let synced = crowd.in_sync(begun)?.duration_since(begun).as_secs_f64();
        let peak = memory(master.pid())?.peak;

        self.tell("changes of a rule");
        thread::sleep(FRESH);
        let [seconds, processor, bare] = self.changes(&home, &master, &crowd)?;
        self.tell("idle");
        thread::sleep(CALM);
        let share = idle_share(master.pid())?;
        let (rest, own) = (memory(master.pid())?, memory(std::process::id())?);

        self.tell("a restart of the master");
        master.stop()?;
        let begun = Instant::now();
        let mut master = Node::start(&home)?;
        let back = crowd.in_sync(begun)?.duration_since(begun).as_secs_f64();
        master.glance()?;

        let each = (rest.resident - alone.resident) * 1024.0 / self.workers as f64;
        row(&mut table, "one change to all, s", &seconds, bare.median(), changed);
        row(&mut table, "processor time of the master for it, s", &processor, f64::NAN, f64::NAN);
        row(&mut table, "idle master, % of a core", &one(share), f64::NAN, idle);
        row(&mut table, "resident memory of the master, MiB", &one(rest.resident), f64::NAN, resident);
        row(&mut table, "of that for each worker, KiB", &one(each), f64::NAN, f64::NAN);
        row(&mut table, "most that was resident till all were in sync, MiB", &one(peak), f64::NAN, f64::NAN);
        row(&mut table, "threads of the master", &one(rest.threads), f64::NAN, f64::NAN);
        row(&mut table, "all started, from empty homes, s", &one(started), f64::NAN, f64::NAN);
        row(&mut table, "... and in sync, s", &one(synced), f64::NAN, f64::NAN);
        row(&mut table, "all in sync after a restart of the master, s", &one(back), f64::NAN, f64::NAN);
        row(
            &mut table,
            "resident memory of a worker in this process, MiB",
            &one(own.resident / self.workers as f64),
            f64::NAN,
            f64::NAN,
        );
        table.print();
        Ok(())
    }

    /// Changes a rule again and again. Gives the seconds until the last worker had it, the processor time of the master, and the
    /// seconds of the bare work.
    fn changes(&self, home: &Path, master: &Node, crowd: &Crowd) -> Result<[Samples; 3], Failure> {
        // What a worker has just written it reads once more at its next look, and all of them share this machine.
        thread::sleep(CALM);
        let (mut all, mut random) = (<[Samples; 3]>::default(), Random(1));
        for number in 0..setting("BENCH_CHANGES", 7) {
            thread::sleep(Duration::from_millis(PAUSE[0] + random.next() % PAUSE[1]));
            let (text, before) = (format!("change {number}"), processor_seconds(master.pid())?);
            let begun = Instant::now();
            change(&home.join(RULE), &text)?;
            let seconds = crowd.have(&text)?.duration_since(begun).as_secs_f64();
            // Each shows that it has it.
            crowd.in_sync(begun)?;
            let used = processor_seconds(master.pid())? - before;
            let begun = Instant::now();
            crowd.write_bare(&text)?;
            let figures = [seconds, used, begun.elapsed().as_secs_f64()];
            all.iter_mut().zip(figures).for_each(|(samples, figure)| samples.push(figure));
        }
        Ok(all)
    }

    fn tell(&self, what: &str) {
        eprintln!("{} workers: {what}", self.workers);
    }
}

fn idle_share(pid: u32) -> Result<f64, Failure> {
    let (before, begun) = (processor_seconds(pid)?, Instant::now());
    thread::sleep(Duration::from_secs(setting("BENCH_IDLE", 20) as u64));
    Ok((processor_seconds(pid)? - before) / begun.elapsed().as_secs_f64() * 100.0)
}

fn one(value: f64) -> Samples {
    let mut samples = Samples::default();
    samples.push(value);
    samples
}

fn row(table: &mut Table, what: &str, samples: &Samples, limit: f64, goal: f64) {
    let median = samples.median();
    table.row([
        what.to_owned(),
        number(median),
        number(samples.best()),
        number(samples.worst()),
        number(limit),
        ratio(median, limit),
        number(goal),
        if goal.is_finite() { verdict(median, goal) } else { String::new() },
    ]);
}
