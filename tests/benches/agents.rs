//! `make bench`: agents, from the database of a worker to that of its master, with the daemons as they are installed.
//!
//! Two processes of this machine. The times are what the nodes write to their logs. In the same run the same rows are
//! written by bare SQLite: the figures of a shared machine mean something only as a ratio to that.
//!
//! | variable | meaning |
//! |---|---|
//! | `BENCH_RUNS` | sendings of 10 000 agents; 5 |
//! | `BENCH_CYCLES` | cycles of 100 000 agents of which 1 % change; 20 |
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
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clusterd::{agents::embedded::Database, config::NodeType, system::clock::Clock};
use node::{Node, Setup, free_port, furnish};
use process::{memory, processor_seconds};
use program::Failure;
use table::Table;
use target::verdict;
use timing::{Samples, setting, timed};

/// Seconds of the original for 10 000 agents, on the worker and on the master; ours is to take a fifth.
const ORIGINAL: [(&str, f64); 2] = [("worker", 1.0), ("master", 0.56)];
/// Resident MiB of a master with 100 000 agents.
const MEMORY: f64 = 60.0;
const AGENTS: u32 = 10_000;
const MANY: u32 = 100_000;

fn main() -> ExitCode {
    program::measure("agents-", run)
}

fn run(place: &Path) -> Result<(), Failure> {
    send_all(place)?;
    rest(place)?;
    requests(place)
}

/// A master and a worker whose databases know `count` agents, and programs that are connected to these.
struct Pair {
    master: Node,
    worker: Node,
    there: Program,
    here: Program,
}

impl Pair {
    fn start(place: &Path, name: &str, count: u32, interval: f64) -> Result<Self, Failure> {
        let port = free_port()?;
        let setup = Setup { native: true, check: 3600.0, local: 3600.0 };
        let homes = ["master", "worker"].map(|kind| place.join(format!("{name}-{kind}")));
        let intervals = serde_json::json!({"intervals": {
            "worker": {"sync_integrity": 3600, "sync_agent_info": interval},
            "master": {"recalculate_integrity": 3600, "sync_agent_groups": interval, "agent_group_start_delay": 1}}});
        for (home, kind) in homes.iter().zip(["master", "worker"]) {
            furnish(home, kind, port, setup)?;
            fs::write(home.join("etc/cluster.json"), intervals.to_string())?;
            fs::create_dir_all(home.join("queue/db"))?;
            fill(&home.join("queue/db/global.db"), kind, count)?;
        }
        let master = Node::start(&homes[0])?;
        let mut worker = Node::start(&homes[1])?;
        worker.wait_for(0, &["Successfully connected to master."])?;
        let [there, here] = homes.map(|home| Program::connect(&home.join("queue/db/wdb")));
        Ok(Self { master, worker, there: there?, here: here? })
    }

    /// Waits for the next turns that begin now: seconds on the worker and on the master.
    fn turn(&mut self) -> Result<[f64; 2], Failure> {
        const FINISHED: [&str; 2] = ["[Agent-info sync] Finished in", "Updated 1 chunks"];
        self.worker.glance()?;
        self.master.glance()?;
        let from = [self.worker.lines.len(), self.master.lines.len()];
        let (_, worker) = self.worker.wait_for(from[0], &FINISHED)?;
        let (_, master) = self.master.wait_for(from[1], &FINISHED)?;
        Ok([worker, master].map(|line| line.finished_in().unwrap_or(f64::NAN)))
    }
}

/// Makes a database with these agents, each with all that is known of one, two labels and a group. No home has a
/// client.keys, so nobody removes them.
fn fill(path: &Path, node: &str, count: u32) -> Result<(), Failure> {
    let role = if node == "master" { NodeType::Master } else { NodeType::Worker };
    let mut database = Database::open(path, role, Clock::real())?;
    let mut ask = |request: &str| -> Result<(), Failure> {
        let frames = database.answer(request).frames();
        if frames.first().is_some_and(|frame| frame.starts_with(b"ok")) { Ok(()) } else { Err(text(&frames).into()) }
    };
    let numbers = format!("WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {count})");
    ask("global insert-agent-group default")?;
    ask(&format!(
        "global sql INSERT INTO agent (id, name, ip, register_ip, internal_key, os_name, os_version, os_major, os_minor, \
         os_codename, os_platform, os_uname, os_arch, version, config_sum, merged_sum, manager_host, node_name, date_add, \
         last_keepalive, connection_status, group_config_status) {numbers} \
         SELECT id, 'agent-' || id, '10.0.0.5', 'any', hex(zeroblob(32)), 'Ubuntu', '24.04.1 LTS', '24', '04', \
         'Noble Numbat', 'ubuntu', 'Linux |agent-' || id || ' |6.8.0-48-generic |#48-Ubuntu SMP |x86_64', 'x86_64', \
         'Wazuh v4.14.7', 'ab73af41699f13fdd81903b5f23d8d00', '4a8724b20dee0124ff9656783c490c4e', 'manager', 'worker', \
         1700000000, 1700000000, 'active', 'synced' FROM n"
    ))?;
    for label in ["\"environment\"', 'production", "#\"_agent_ip\"', '10.0.0.5"] {
        ask(&format!("global sql INSERT INTO labels (id, key, value) {numbers} SELECT id, '{label}' FROM n"))?;
    }
    ask(&format!("global sql INSERT INTO belongs (id_agent, id_group, priority) {numbers} SELECT id, 1, 0 FROM n"))?;
    ask("global recalculate-agent-group-hashes")?;
    database.close();
    Ok(())
}

fn text(frames: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&frames.concat()).into_owned()
}

/// A program at the socket of a database.
struct Program(UnixStream);

impl Program {
    fn connect(path: &Path) -> Result<Self, Failure> {
        Ok(Self(UnixStream::connect(path)?))
    }

    fn ask(&mut self, request: &str) -> Result<String, Failure> {
        self.0.write_all(&[&(request.len() as u32).to_le_bytes(), request.as_bytes()].concat())?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut answer)?;
        Ok(String::from_utf8(answer)?)
    }
}

/// 10 000 agents, all pending, from the worker's database to the master's.
fn send_all(place: &Path) -> Result<(), Failure> {
    let runs = setting("BENCH_RUNS", 5);
    let mut pair = Pair::start(place, "all", AGENTS, 1.0)?;
    let (mut ours, mut bare) = ([Samples::default(), Samples::default()], [Samples::default(), Samples::default()]);
    for run in 0..runs {
        // New labels too: what is unchanged is not written again.
        pair.here.ask(&format!("global sql UPDATE labels SET value = 'run {run}'"))?;
        pair.here.ask("global sql UPDATE agent SET sync_status = 'syncreq' WHERE id > 0")?;
        for (samples, seconds) in ours.iter_mut().zip(pair.turn()?) {
            samples.push(seconds);
        }
        for (samples, seconds) in bare.iter_mut().zip(bare_work(&place.join(format!("bare-{run}.db")))?) {
            samples.push(seconds);
        }
    }
    let stored = pair.there.ask("global sql SELECT count(*) AS n FROM agent WHERE last_keepalive = 1700000000")?;
    assert_eq!(stored, format!(r#"ok [{{"n":{}}}]"#, AGENTS), "all were stored");
    let title = format!("Agent information of {AGENTS} agents, all pending (seconds; {runs} runs)");
    let mut table =
        Table::new(title, ["node", "median", "best", "worst", "original", "limit", "ratio", "a fifth of the original"]);
    for (at, (name, original)) in ORIGINAL.iter().enumerate() {
        let (ours, bare) = (&ours[at], bare[at].median());
        let of_bare = ours.median() / bare;
        let seconds =
            [ours.median(), ours.best(), ours.worst(), *original, bare].map(|seconds| format!("{seconds:.3}"));
        let [median, best, worst, then, bare] = seconds;
        let verdict = verdict(ours.median(), original / 5.0);
        table.row([(*name).to_owned(), median, best, worst, then, bare, format!("{of_bare:.2}"), verdict]);
    }
    table.print();
    println!(
        "limit: the same rows read and marked (worker; with the writing on the master) or written (master) by SQLite"
    );
    Ok(())
}

/// The same rows in bare SQLite, prepared and in one transaction: seconds of reading, marking and writing, and of writing.
fn bare_work(path: &Path) -> Result<[f64; 2], Failure> {
    fill(path, "worker", AGENTS)?;
    let database = rusqlite::Connection::open(path)?;
    database.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    let (reading, sum) = timed(|| -> rusqlite::Result<usize> {
        let transaction = database.unchecked_transaction()?;
        let mut select = transaction.prepare("SELECT * FROM agent WHERE id = ?1")?;
        let mut labels = transaction.prepare("SELECT key, value FROM labels WHERE id = ?1")?;
        let mut mark = transaction.prepare("UPDATE agent SET sync_status = 'synced' WHERE id = ?1")?;
        let mut sum = 0;
        for id in 1..=AGENTS {
            let length = |row: &rusqlite::Row<'_>| {
                (0..row.as_ref().column_count())
                    .map(|column| Ok(row.get_ref(column)?.as_str().map_or(8, str::len)))
                    .sum::<rusqlite::Result<usize>>()
            };
            sum += select.query_row([id], length)?;
            let mut rows = labels.query([id])?;
            while let Some(row) = rows.next()? {
                sum += length(row)?;
            }
            mark.execute([id])?;
        }
        drop((select, labels, mark));
        transaction.commit()?;
        Ok(sum)
    });
    std::hint::black_box(sum?);
    let (writing, done) = timed(|| -> rusqlite::Result<()> {
        let transaction = database.unchecked_transaction()?;
        let mut update = transaction.prepare(
            "UPDATE agent SET name = ?2, ip = ?3, os_name = ?4, os_version = ?5, os_major = ?6, os_minor = ?7,
                os_codename = ?8, os_platform = ?9, os_uname = ?10, os_arch = ?11, version = ?12, config_sum = ?13,
                merged_sum = ?14, manager_host = ?15, node_name = ?16, last_keepalive = ?17, connection_status = ?18,
                group_config_status = ?19, sync_status = 'synced' WHERE id = ?1",
        )?;
        let mut delete = transaction.prepare("DELETE FROM labels WHERE id = ?1")?;
        let mut insert = transaction.prepare("INSERT INTO labels (id, key, value) VALUES (?1, ?2, ?3)")?;
        for id in 1..=AGENTS {
            update.execute(rusqlite::params![
                id,
                "agent",
                "10.0.0.5",
                "Ubuntu",
                "24.04.1 LTS",
                "24",
                "04",
                "Noble Numbat",
                "ubuntu",
                "Linux |agent |6.8.0-48-generic |#48-Ubuntu SMP |x86_64",
                "x86_64",
                "Wazuh v4.14.7",
                "ab73af41699f13fdd81903b5f23d8d00",
                "4a8724b20dee0124ff9656783c490c4e",
                "manager",
                "worker",
                1_700_000_000,
                "active",
                "synced"
            ])?;
            delete.execute([id])?;
            insert.execute(rusqlite::params![id, "\"environment\"", "production"])?;
            insert.execute(rusqlite::params![id, "#\"_agent_ip\"", "10.0.0.5"])?;
        }
        drop((update, delete, insert));
        transaction.commit()
    });
    done?;
    Ok([reading + writing, writing])
}

/// 100 000 agents of which 1 % change in each cycle, and none.
fn rest(place: &Path) -> Result<(), Failure> {
    let cycles = setting("BENCH_CYCLES", 20);
    let mut pair = Pair::start(place, "rest", MANY, 1.0)?;
    // The first turns read everything once.
    pair.here.ask(r#"global update-keepalive {"id":1,"connection_status":"active","sync_status":"syncreq"}"#)?;
    pair.turn()?;
    thread::sleep(Duration::from_secs(5));
    let pids = [pair.worker.pid(), pair.master.pid()];
    let idle = [processor_seconds(pids[0])?, processor_seconds(pids[1])?];
    let (seconds, ()) = timed(|| thread::sleep(Duration::from_secs(10)));
    let idle =
        [processor_seconds(pids[0])? - idle[0], processor_seconds(pids[1])? - idle[1]].map(|used| used / seconds);

    let mut turns = [Samples::default(), Samples::default()];
    let mut resident = [Samples::default(), Samples::default()];
    for cycle in 0..cycles as u32 {
        let ids = (0..MANY / 100).map(|n| 1 + (cycle * 997 + n * 100) % MANY);
        let named: Vec<String> = ids.map(|id| id.to_string()).collect();
        pair.here
            .ask(&format!("global sql UPDATE agent SET sync_status = 'syncreq' WHERE id IN ({})", named.join(",")))?;
        for (samples, seconds) in turns.iter_mut().zip(pair.turn()?) {
            samples.push(seconds);
        }
        for (samples, pid) in resident.iter_mut().zip(pids) {
            samples.push(memory(pid)?.resident);
        }
    }
    let title = format!("{MANY} agents, {} of them pending in each of {cycles} cycles, seconds of one", MANY / 100);
    let columns = ["node", "median", "worst", "resident MiB", "most MiB", "processor %, nothing pending"];
    let mut table = Table::new(title, columns);
    for (at, name) in ["worker", "master"].iter().enumerate() {
        let (turns, resident) = (&turns[at], &resident[at]);
        table.row([
            (*name).to_owned(),
            format!("{:.4}", turns.median()),
            format!("{:.4}", turns.worst()),
            format!("{:.1}", resident.median()),
            format!("{:.1}", resident.worst()),
            format!("{:.2}", idle[at] * 100.0),
        ]);
    }
    table.print();
    println!("memory of the master: {} of at most {MEMORY} MiB", verdict(resident[1].worst(), MEMORY));
    Ok(())
}

/// Small requests of other programs, each a transaction of its own.
fn requests(place: &Path) -> Result<(), Failure> {
    const LASTING: Duration = Duration::from_secs(2);
    let pair = Pair::start(place, "requests", AGENTS, 3600.0)?;
    let socket = pair.worker.home.join("queue/db/wdb");
    let mut table = Table::new("update-keepalive, requests of other programs", ["what", "per second"]);
    for clients in [1_u32, 8] {
        let begun = Instant::now();
        let counts: Vec<Result<u32, String>> = thread::scope(|scope| {
            let start = |client: u32| {
                let socket = &socket;
                scope.spawn(move || -> Result<u32, String> {
                    let mut program = Program::connect(socket).map_err(|error| error.to_string())?;
                    let mut count = 0;
                    while begun.elapsed() < LASTING {
                        let id = 1 + (count * 8 + client) % AGENTS;
                        let request = format!(
                            r#"global update-keepalive {{"id":{id},"connection_status":"active","sync_status":"syncreq_keepalive"}}"#
                        );
                        let answer = program.ask(&request).map_err(|error| error.to_string())?;
                        if answer != "ok" {
                            return Err(answer);
                        }
                        count += 1;
                    }
                    Ok(count)
                })
            };
            let threads: Vec<_> = (0..clients).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a client failed".into()))).collect()
        });
        let total = counts.into_iter().sum::<Result<u32, String>>()?;
        let rate = f64::from(total) / begun.elapsed().as_secs_f64();
        table.row([format!("{clients} at a time through the socket"), format!("{rate:.0}")]);
    }
    for mode in ["WAL", "DELETE"] {
        let path = place.join(format!("journal-{mode}.db"));
        fill(&path, "worker", AGENTS)?;
        let database = rusqlite::Connection::open(&path)?;
        database.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()))?;
        database.pragma_update(None, "synchronous", "NORMAL")?;
        let mut update = database.prepare("UPDATE agent SET last_keepalive = ?2 WHERE id = ?1")?;
        let (begun, mut count) = (Instant::now(), 0);
        while begun.elapsed() < LASTING {
            update.execute([1 + i64::from(count % AGENTS), i64::from(count)])?;
            count += 1;
        }
        let rate = f64::from(count) / begun.elapsed().as_secs_f64();
        table.row([format!("bare SQLite, journal mode {mode}"), format!("{rate:.0}")]);
    }
    table.print();
    Ok(())
}
