//! `make bench`: agents registered through two workers, with the daemons as they are installed.
//!
//! Three processes of this machine, and programs written like those in C. In the same run client.keys is rewritten by bare
//! calls, made durable and renamed: the figures of a shared machine mean something only as a ratio to that.
//!
//! | variable | meaning |
//! |---|---|
//! | `BENCH_RUNS` | rounds of registrations; 5 |
//! | `BENCH_DIR` | where the homes are made; `target/tmp` |

#[path = "../programs/support/c_client.rs"]
mod c_client;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod machine;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod node;
mod program;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod table;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod timing;

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use node::{Node, PATIENCE, Setup, free_port, furnish_named};
use program::Failure;
use table::{Table, number};
use timing::{Samples, setting};

/// Agents that are there from the beginning.
const KNOWN: u32 = 10_000;
/// Agents that are registered in a round.
const NEW: usize = 400;
/// Programs that register at a time.
const PROGRAMS: [usize; 3] = [1, 2, 16];

fn main() -> ExitCode {
    program::measure("registration-", run)
}

fn run(place: &Path) -> Result<(), Failure> {
    let cluster = Cluster::start(place)?;
    cluster.rates(place)?;
    cluster.delays()
}

struct Cluster {
    /// The master and two workers.
    nodes: [Node; 3],
}

impl Cluster {
    fn start(place: &Path) -> Result<Self, Failure> {
        let port = free_port()?;
        let setup = Setup { native: true, check: 9.0, local: 8.0 };
        let homes = ["master", "worker", "second"].map(|name| place.join(name));
        for (home, node) in homes.iter().zip([("master", "master"), ("worker", "worker"), ("worker", "second")]) {
            furnish_named(home, node, port, setup)?;
        }
        fs::write(homes[0].join("etc/client.keys"), keys())?;
        let [master, one, two] = homes;
        let mut nodes = [Node::start(&master)?, Node::start(&one)?, Node::start(&two)?];
        for node in &mut nodes[1..] {
            node.wait_for(0, &["[Integrity sync] Finished in"])?;
        }
        Ok(Self { nodes })
    }

    /// Registrations per second, and how often the file could be rewritten.
    fn rates(&self, place: &Path) -> Result<(), Failure> {
        let runs = setting("BENCH_RUNS", 5);
        let title = format!("Registrations per second through two workers, {KNOWN} agents known, {NEW} in a round");
        let mut table = Table::new(title, ["programs at a time", "median", "least", "most", "limit", "ratio"]);
        for programs in PROGRAMS {
            let (mut ours, mut bare) = (Samples::default(), Samples::default());
            for round in 0..runs {
                ours.push(self.round(programs, round)?);
                bare.push(rewrites(place)?);
            }
            let median = [&ours, &bare].map(Samples::median);
            table.row([
                programs.to_string(),
                format!("{:.0}", median[0]),
                format!("{:.0}", ours.best()),
                format!("{:.0}", ours.worst()),
                format!("{:.0}", median[1]),
                table::ratio(median[0], median[1]),
            ]);
        }
        table.print();
        println!(
            "  limit: rewrites per second, the file written anew beside itself, made durable, renamed, its directory made durable."
        );
        Ok(())
    }

    fn round(&self, programs: usize, round: usize) -> Result<f64, Failure> {
        let begun = Instant::now();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..programs)
                .map(|program| {
                    let socket = socket(&self.nodes[1 + program % 2]);
                    scope.spawn(move || {
                        let each = NEW / programs;
                        (0..each).try_for_each(|n| {
                            register(&socket, &format!("r{programs}-{round}-{program}-{n}")).map(drop)
                        })
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a program failed".into())))
        })?;
        Ok(NEW as f64 / begun.elapsed().as_secs_f64())
    }

    /// From the answer to the key in the file of the other worker.
    fn delays(&self) -> Result<(), Failure> {
        let runs = 4 * setting("BENCH_RUNS", 5);
        let (mut asking, mut arriving) = (Samples::default(), Samples::default());
        for n in 0..runs {
            // Longer than the master rests after a look at its files: an agent that comes alone.
            thread::sleep(Duration::from_millis(300 + 37 * (n as u64 % 7)));
            let begun = Instant::now();
            let key = register(&socket(&self.nodes[1]), &format!("alone-{n}"))?;
            asking.push(begun.elapsed().as_secs_f64());
            let (answered, file) = (Instant::now(), self.nodes[2].home.join("etc/client.keys"));
            while !fs::read(&file)?.windows(key.len()).rev().take(200_000).any(|window| window == key.as_bytes()) {
                if answered.elapsed() > PATIENCE {
                    return Err(self.nodes[2].failure("the key has not come"));
                }
                thread::sleep(Duration::from_micros(500));
            }
            arriving.push(answered.elapsed().as_secs_f64());
        }
        let mut table = Table::new("One agent registered on a worker, seconds", ["", "median", "least", "most"]);
        for (what, samples) in [("request to answer", asking), ("answer to key on the other worker", arriving)] {
            table.row([what.into(), number(samples.median()), number(samples.best()), number(samples.worst())]);
        }
        table.print();
        println!("  The original: until the next integrity check of the other worker, up to 17 s.");
        Ok(())
    }
}

fn socket(node: &Node) -> PathBuf {
    node.home.join("queue/cluster/c-internal.sock")
}

/// The key of a new agent.
fn register(socket: &Path, name: &str) -> Result<String, String> {
    let request = format!(
        r#"{{"daemon_name":"authd","message":{{"arguments":{{"name":"{name}","ip":"any"}},"function":"add"}}}}"#
    );
    let answer: serde_json::Value =
        serde_json::from_str(&c_client::ask(socket, &request)?).map_err(|error| error.to_string())?;
    answer["data"]["key"].as_str().map(str::to_owned).ok_or_else(|| answer.to_string())
}

fn keys() -> String {
    let mut text = String::new();
    for id in 1..=KNOWN {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{id:03} known-{id} any {id:064x}");
    }
    text
}

fn rewrites(place: &Path) -> Result<f64, Failure> {
    const COUNT: usize = 20;
    let (directory, text) = (place.join("bare"), keys());
    fs::create_dir_all(&directory)?;
    let begun = Instant::now();
    for _ in 0..COUNT {
        let mut file = File::create(directory.join("new"))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(directory.join("new"), directory.join("keys"))?;
        File::open(&directory)?.sync_all()?;
    }
    Ok(COUNT as f64 / begun.elapsed().as_secs_f64())
}
