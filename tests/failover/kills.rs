//! The master is killed while agents register.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    agents::{Agents, judge},
    cluster::{Cluster, TTL, control_socket},
};

/// The share of the rounds that must keep the limit.
const OF_ALL: f64 = 0.95;

#[test]
fn all_that_was_answered_is_there_and_no_id_twice() {
    rounds(2, 10);
}

#[test]
#[ignore = "`make failover` runs it, for minutes"]
fn slow_fifty_kills_under_twenty_registrations_a_second() {
    let mut times = rounds(50, 20);
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    println!(
        "{} kills, ttl {TTL} s: without a master for {:.2?} in the median, {:.2?} in 95 of 100, {:.2?} at most",
        times.len(),
        at(0.5),
        at(OF_ALL),
        at(1.0)
    );
    assert!(at(OF_ALL) <= Duration::from_secs(TTL + 1), "longer than ttl + 1 s");
}

/// Kills the master so many times; gives how long nobody was registered.
fn rounds(count: usize, each_second: u32) -> Vec<Duration> {
    let Some(mut cluster) = Cluster::start(&json!({})) else { return vec![Duration::ZERO] };
    cluster.settle();
    let agents = Agents::begin(&control_socket(&cluster.nodes[2].home), each_second);
    let mut times = Vec::new();
    for round in 0..count {
        // A second of registrations.
        agents.wait_for(each_second as usize);
        let (master, other) = match cluster.master() {
            0 => (0, 1),
            _ => (1, 0),
        };
        cluster.until_may_follow(cluster.nodes[other].name);
        // Not always at the same moment of a registration.
        std::thread::sleep(Duration::from_millis(37 * (round as u64 % 11)));
        let term = cluster.nodes[master].term().unwrap();
        cluster.nodes[master].kill();
        let killed = Instant::now();
        cluster.until("another master", |nodes| nodes[other].term() == Some(term + 1));
        let took = agents.next(killed);
        println!("round {round}: {} follows, registration after {took:.2?}", cluster.nodes[other].name);
        times.push(took);
        cluster.nodes[master].start();
    }
    let answered = agents.end();
    let master = cluster.master();
    let (missing, twice) = judge(&answered, &cluster.nodes[master].keys());
    println!("{} registrations were answered; missing: {missing:?}; ids twice: {twice:?}", answered.len());
    assert!(!answered.is_empty() && missing.is_empty() && twice.is_empty());
    let keys = cluster.nodes[master].keys();
    cluster.until("all nodes have the same agents", |nodes| nodes.iter().all(|node| node.keys() == keys));
    times
}
