//! A master and a worker that are in sync and have nothing to do: memory, processor time and traffic.

use std::{thread, time::Duration};

use crate::{
    Failure, Place,
    node::{Node, Setup, free_port, furnish},
    process::{Memory, memory, processor_seconds},
    proxy::Proxy,
    table::{Table, number, ratio},
    target::verdict,
    timing::{Samples, setting},
};

/// Resident MiB of the original, master and worker.
const ORIGINAL: [(&str, f64); 2] = [("master", 266.0), ("worker", 200.0)];
/// The most that ours may have.
const TARGET: f64 = 15.0;
/// From the end of the synchronisation until the nodes count as idle.
const CALM: Duration = Duration::from_secs(10);
/// Intervals of this measurement, and those of the original; seconds.
const INTERVAL: f64 = 0.5;
const DEFAULT: f64 = 9.0;

const IN_SYNC: [&str; 2] = ["[Integrity check] Finished in", "Sync not required."];

/// Synchronises an empty worker, lets both nodes become idle, measures and prints.
pub fn measure(place: &Place, link: &str, native: bool) -> Result<(), Failure> {
    let cycles = setting("BENCH_CYCLES", 30);
    let worker_home = place.worker(if native { "native-idle" } else { "classic-idle" });
    let setup = Setup { native, check: INTERVAL, local: INTERVAL };
    let port = free_port()?;
    let proxy = Proxy::start(port)?;
    furnish(&place.master, "master", port, setup)?;
    furnish(&worker_home, "worker", proxy.port, setup)?;
    let mut master = Node::start(&place.master)?;
    master.wait_for(0, &["[Local integrity] Finished in"])?;
    let mut worker = Node::start(&worker_home)?;
    let (synced, _) = worker.wait_for(0, &["[Integrity sync] Finished in"])?;
    worker.wait_for(synced, &IN_SYNC)?;
    thread::sleep(CALM);

    // From the end of one check to the end of another.
    worker.glance()?;
    let next = worker.lines.len();
    worker.wait_for(next, &IN_SYNC)?;
    let before = (worker.count(&IN_SYNC), proxy.bytes());
    let pids = [master.pid(), worker.pid()];
    let processor = [processor_seconds(pids[0])?, processor_seconds(pids[1])?];
    let mut memories = [Vec::new(), Vec::new()];
    loop {
        let next = worker.lines.len();
        worker.wait_for(next, &IN_SYNC)?;
        if worker.count(&IN_SYNC) - before.0 >= cycles {
            break;
        }
        // Between two checks.
        thread::sleep(Duration::from_secs_f64(INTERVAL / 3.0));
        for (memories, pid) in memories.iter_mut().zip(pids) {
            memories.push(memory(pid)?);
        }
    }
    let count = (worker.count(&IN_SYNC) - before.0) as f64;
    let bytes = proxy.bytes();
    let used = [processor_seconds(pids[0])? - processor[0], processor_seconds(pids[1])? - processor[1]];
    let title = format!("{}, {link}: idle, MiB, medians of {} moments", place.name, memories[0].len());
    print_memory(&title, &memories);

    let title = format!(
        "{}, {link}: one idle check, mean of {count:.0} (every {INTERVAL} s, the master's local integrity too)",
        place.name
    );
    let mut table = Table::new(title, ["what", "mean", "at a check every 9 s"]);
    for ((name, _), used) in ORIGINAL.iter().zip(used) {
        let share = format!("{:.3} % of a core", used / count / DEFAULT * 100.0);
        table.row([format!("processor time of the {name}, s"), format!("{:.4}", used / count), share]);
    }
    for (name, sent) in [("to the master", bytes.0 - before.1.0), ("to the worker", bytes.1 - before.1.1)] {
        let sent = sent as f64 / count;
        table.row([format!("bytes {name}"), format!("{sent:.0}"), format!("{:.1} KB/s", sent / DEFAULT / 1000.0)]);
    }
    table.print();
    worker.stop()?;
    Ok(master.stop()?)
}

fn print_memory(title: &str, memories: &[Vec<Memory>; 2]) {
    let columns =
        ["node", "resident", "least", "most", "shared in part", "allocated", "peak", "threads", "original", "verdict"];
    let mut table = Table::new(title, columns);
    for ((name, original), memories) in ORIGINAL.iter().zip(memories) {
        let of = |field: fn(&Memory) -> f64| {
            let mut samples = Samples::default();
            samples.extend(memories.iter().map(field));
            samples
        };
        let resident = of(|memory| memory.resident);
        table.row([
            (*name).to_owned(),
            number(resident.median()),
            number(resident.best()),
            number(resident.worst()),
            number(of(|memory| memory.proportional).median()),
            number(of(|memory| memory.anonymous).median()),
            number(of(|memory| memory.peak).worst()),
            format!("{:.0}", of(|memory| memory.threads).median()),
            format!("{original:.0} (ours: {} of it)", ratio(resident.median(), *original)),
            format!("at most {TARGET:.0}: {}", verdict(resident.median(), TARGET)),
        ]);
    }
    table.print();
}
