//! A person has a candidate follow a master that lives.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    agents::Agents,
    cluster::{Cluster, Node, control_socket},
    support::control,
};

/// How long there may be nobody who registers.
const WITHOUT: Duration = Duration::from_secs(2);

#[test]
fn a_planned_change_takes_a_moment_and_sends_nothing_again() {
    change(200, 200, None);
}

#[test]
#[ignore = "`make failover` runs it"]
fn slow_a_planned_change_with_ten_thousand_files_and_agents() {
    change(10_000, 10_000, Some(WITHOUT));
}

/// How many files the node has been sent so far, as its log has it.
fn sent(node: &Node) -> usize {
    let log = node.log();
    let counts = log.lines().filter_map(|line| line.split_once("Files to create: ")).map(|(_, counts)| counts);
    let number = |text: &str| text.trim().rsplit(' ').next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
    counts.flat_map(|counts| counts.split('|')).map(number).sum()
}

fn change(files: usize, agents: u32, limit: Option<Duration>) {
    let Some(mut cluster) = Cluster::start(&json!({})) else { return };
    for number in 0..files {
        let path = format!("etc/lists/{}/list{number}", number % 10);
        cluster.nodes[0].home.write(&path, format!("key{number}:value\n"));
    }
    let mut keys = Vec::new();
    (1..=agents).for_each(|id| writeln!(keys, "{id:03} old-{id} any {:064x}", u64::from(id) * 7919).unwrap());
    cluster.nodes[0].home.write("etc/client.keys", &keys);
    cluster.settle();
    cluster.until("all have all", |nodes| nodes.iter().all(|node| node.keys().len() == keys.len()));
    let last = format!("etc/lists/{}/list{}", (files - 1) % 10, files - 1);
    cluster.until("all files", |nodes| nodes.iter().all(|node| node.home.read(&last).is_some()));
    let running = Agents::begin(&control_socket(&cluster.nodes[2].home), 20);
    running.next(Instant::now());
    cluster.until_may_follow("b");
    let (before, term) = (cluster.nodes.iter().map(sent).collect::<Vec<_>>(), cluster.nodes[0].term().unwrap());
    let begun = Instant::now();
    let said = control(&cluster.nodes[1].home, &["--promote"]);
    let answered = begun.elapsed();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    cluster.until("b is the master", |nodes| nodes[1].term() == Some(term + 1));
    running.next(begun + answered);
    running.next(Instant::now());
    let all = running.end();
    let mut moments: Vec<_> = all.iter().map(|answer| answer.at).collect();
    moments.sort();
    let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    cluster.until("all nodes have the same agents", |nodes| nodes.iter().all(|node| node.keys() == nodes[1].keys()));
    let after: Vec<_> = cluster.nodes.iter().map(sent).collect();
    println!(
        "{files} files, {agents} agents: {answered:.2?} until the answer; nobody was registered for {longest:.2?}; files sent before \
         {before:?}, after {after:?}"
    );
    assert!(limit.is_none_or(|limit| longest <= limit), "nobody was registered for {longest:?}");
    let again: Vec<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    // Only client.keys changes all the time.
    let registered = all.len();
    assert!(again.iter().all(|again| *again <= registered), "sent again: {again:?} for {registered} registrations");
}
