//! `make bench`: registrations through the socket of a master, each answered when it is on the disk.
//!
//! In the same run client.keys is rewritten and made durable by a bare loop: the figures of a shared machine mean something
//! only as a ratio to that.
//!
//! | variable | meaning |
//! |---|---|
//! | `BENCH_REGISTRATIONS` | registrations of each row; 1000 |
//! | `BENCH_DIR` | where the homes are made; `target/tmp` |

#[allow(dead_code, reason = "other benchmarks use the rest")]
mod machine;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod node;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod process;
mod program;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod table;
mod target;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod timing;

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use node::{Node, Setup, free_port, furnish};
use process::memory;
use program::Failure;
use table::{Table, ratio};
use target::verdict;
use timing::{Samples, setting, timed};

/// Agents of a large installation.
const MANY: usize = 100_000;
/// MiB that a master with so many may take at most.
const MEMORY: f64 = 60.0;
/// After this long without a registration a master rests.
const REST: Duration = Duration::from_secs(65);

fn main() -> ExitCode {
    program::measure("registration-", run)
}

fn run(place: &Path) -> Result<(), Failure> {
    let columns = ["registrations", "per second", "limit", "ratio", "median ms", "worst ms"];
    let mut table = Table::new("Registrations through queue/sockets/auth, durable when answered", columns);
    let columns =
        ["agents before", "client.keys", "filled", "most, filled", "registering", "most, registering", "resident"];
    let mut memories = Table::new("Memory of the master, MiB, at last resident 65 s later", columns);
    let (mut most, count) = (0.0, setting("BENCH_REGISTRATIONS", 1000));
    for agents in [0, MANY] {
        let home = place.join(format!("home-{agents}"));
        let mut master = start(&home, agents)?;
        let (filled, mut resident) = (memory(master.pid())?, Samples::default());
        for (groups, clients) in [("", 1), ("default", 1), ("", 16), ("default", 100)] {
            // Disks of shared machines change their pace within seconds.
            let before = bare_rewrites(&home)?;
            let (seconds, latencies) = register(&home, groups, clients)?;
            resident.push(memory(master.pid())?.resident);
            let bare = f64::midpoint(before, bare_rewrites(&home)?);
            let rate = count as f64 / seconds;
            let into = if groups.is_empty() { "no group" } else { "one group" };
            table.row([
                format!("beside {agents} agents, {clients} at a time, {into}"),
                format!("{rate:.0}"),
                format!("{bare:.0}"),
                ratio(rate, bare),
                format!("{:.2}", latencies.median() * 1000.0),
                format!("{:.2}", latencies.worst() * 1000.0),
            ]);
        }
        check(&home, agents + 4 * count)?;
        thread::sleep(REST);
        let end = memory(master.pid())?;
        let keys = home.join("etc/client.keys").metadata()?.len() as f64 / 1024.0 / 1024.0;
        let figures = [keys, filled.resident, filled.peak, resident.median(), end.peak, end.resident];
        let [keys, filled, first, resident, last, rest] = figures.map(|figure| format!("{figure:.1}"));
        memories.row([agents.to_string(), keys, filled, first, resident, last, rest]);
        most = end.peak;
        master.glance()?;
    }
    table.print();
    memories.print();
    println!("  limit: bare rewrites of client.keys per second, each durable");
    println!(
        "  {MANY} agents: {} of at most {MEMORY} MiB; client.keys is what a table of all keys takes at least",
        verdict(most, MEMORY)
    );
    Ok(())
}

/// A master whose database has a row for each agent of client.keys.
fn start(home: &Path, agents: usize) -> Result<Node, Failure> {
    furnish(home, "master", free_port()?, Setup { native: true, check: 3600.0, local: 3600.0 })?;
    let lines: String = (1..=agents).map(|id| format!("{id:03} there-{id} any {:064x}\n", id * 7919)).collect();
    fs::write(home.join("etc/client.keys"), lines)?;
    let mut master = Node::start(home)?;
    master.wait_for(0, &["[Local Server] [Main] Serving on "])?;
    if agents > 0 {
        master.wait_for(0, &["client.keys has changed: "])?;
    }
    Ok(master)
}

/// The seconds that all registrations took, and what each took.
fn register(home: &Path, groups: &str, clients: usize) -> Result<(f64, Samples), Failure> {
    let (next, count) = (AtomicUsize::new(0), setting("BENCH_REGISTRATIONS", 1000));
    let socket = home.join("queue/sockets/auth");
    let client = || -> io::Result<Vec<f64>> {
        let mut took = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(took);
            }
            let asked = if groups.is_empty() { String::new() } else { format!(r#","groups":"{groups}""#) };
            let name = format!("new-{groups}-{clients}-{number}");
            let request = format!(r#"{{"function":"add","arguments":{{"name":"{name}","ip":"any"{asked}}}}}"#);
            let (seconds, answer) = timed(|| ask(&socket, &request));
            let answer = answer?;
            if !answer.starts_with(r#"{"error":0"#) {
                return Err(io::Error::other(answer));
            }
            took.push(seconds);
        }
    };
    fs::create_dir_all(home.join("etc/shared/default"))?;
    let (seconds, outcomes) = timed(|| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        })
    });
    let mut samples = Samples::default();
    for outcome in outcomes {
        samples.extend(outcome.map_err(|_| "a client failed")??);
    }
    Ok((seconds, samples))
}

fn ask(socket: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&[&(request.len() as u32).to_le_bytes(), request.as_bytes()].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    String::from_utf8(answer).map_err(io::Error::other)
}

/// How often client.keys as it is can be written anew and made durable in a second, by one who does nothing else.
fn bare_rewrites(home: &Path) -> Result<f64, Failure> {
    const LASTING: Duration = Duration::from_secs(1);
    let content = fs::read(home.join("etc/client.keys"))?;
    let (staged, path) = (home.join("staged"), home.join("bare"));
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < LASTING {
        let mut file = File::create(&staged)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&staged, &path)?;
        File::open(home)?.sync_all()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// That every agent is there once.
fn check(home: &Path, agents: usize) -> Result<(), Failure> {
    let keys = fs::read_to_string(home.join("etc/client.keys"))?;
    let mut ids: Vec<&str> = keys.lines().filter_map(|line| line.split(' ').next()).collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.len() == agents && keys.lines().count() == agents {
        true => Ok(()),
        false => Err(format!("{} ids on {} lines, not {agents}", ids.len(), keys.lines().count()).into()),
    }
}
