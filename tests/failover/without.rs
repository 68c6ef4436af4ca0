//! A cluster without `failover`.

use std::{collections::BTreeSet, fs};

use serde_json::json;

use crate::{
    cluster::{Cluster, WATCHED},
    support::{Daemon, Home, until},
};

/// The threads that a candidate has more than other nodes.
const OF_CANDIDATES: [&str; 7] = ["failover", "failover-files", "arbiter-watch", "presence", "lease", "fence", "hooks"];

/// The names of the threads of a process, as the kernel cuts them.
fn threads(pid: u32) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let name = |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
    tasks.filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

/// Its resident memory, in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn no_thread_of_a_candidate_runs() {
    let master = Home::master();
    let worker = Home::worker("w", master.address);
    let (served, follows) =
        (Daemon::start(&master), Daemon::spawn(&worker, crate::support::clusterd(&worker), &["-f", "-r"]));
    until("a worker", || threads(follows.pid()).contains("agent_groups").then_some(()));
    let running: BTreeSet<_> = [served.pid(), follows.pid()].into_iter().flat_map(threads).collect();
    assert!(OF_CANDIDATES.iter().all(|name| !running.contains(*name)), "{running:?}");
    assert!(running.contains("listen") && running.contains("connect"), "{running:?}");
    // Nothing of it is on the disk either.
    let term = fs::read_to_string(worker.path("queue/cluster-state/term.json")).unwrap();
    assert!(!term.contains("elected"), "{term}");
}

#[test]
#[ignore = "`make failover` runs it"]
fn slow_what_a_candidate_takes_more() {
    let master = Home::master();
    master.settings(json!({"metrics": {"listen": format!("{}:{WATCHED}", master.address.0)}}));
    let workers = ["b", "w1", "w2"].map(|name| Home::worker(name, master.address));
    let served = Daemon::start(&master);
    let _workers = workers.each_ref().map(Daemon::start);
    let Some(mut cluster) = Cluster::start(&json!({})) else { return };
    cluster.settle();
    std::thread::sleep(std::time::Duration::from_secs(20));
    let (with, without) = (cluster.nodes[0].pid(), served.pid());
    let more: Vec<_> = threads(with).difference(&threads(without)).cloned().collect();
    println!(
        "a master with three workers: {} KiB; one that was elected: {} KiB and {more:?}",
        memory(without),
        memory(with)
    );
}
