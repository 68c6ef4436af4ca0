//! The master stands still, another one takes over, and the former one goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, TTL},
    support::register,
};

/// A file of the master.
const RULE: &str = "etc/rules/local_rules.xml";

/// How long the former master may take to follow.
const FOLLOWS: Duration = Duration::from_secs(15);

#[test]
fn a_master_that_stood_still_answers_nobody_and_changes_nothing() {
    rounds(1);
}

#[test]
#[ignore = "`make failover` runs it, for minutes"]
fn slow_twenty_masters_stand_still() {
    rounds(20);
}

fn rounds(count: usize) {
    let Some(mut cluster) = Cluster::start(&json!({})) else { return };
    cluster.settle();
    let over = Arc::new(AtomicBool::new(false));
    // What the workers follow, all the time: no lower term after a higher one.
    let watched = [2, 3].map(|at| {
        let (over, path) = (over.clone(), cluster.nodes[at].home.path("queue/cluster-state/term.json"));
        spawn(move || {
            let mut highest = 0;
            while !over.load(Ordering::Relaxed) {
                let term = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
                let term = term.map_or(highest, |term| term["term"].as_u64().unwrap());
                assert!(term >= highest, "{term} after {highest}");
                highest = term;
                sleep(Duration::from_millis(5));
            }
            highest
        })
    });
    for round in 0..count {
        let (master, other) = if cluster.master() == 0 { (0, 1) } else { (1, 0) };
        cluster.until_may_follow(cluster.nodes[other].name);
        let term = cluster.nodes[master].term().unwrap();
        cluster.nodes[master].signal(Signal::SIGSTOP);
        let stopped = Instant::now();
        cluster.until("another master", |nodes| nodes[other].term() == Some(term + 1));
        let took = stopped.elapsed();
        // The workers notice the silence of the former one by themselves.
        cluster.until("the workers follow it", |nodes| {
            nodes[2..].iter().all(|node| node.status().is_some_and(|status| status["term"] == term + 1))
        });
        let followed = stopped.elapsed();
        assert!(followed <= Duration::from_secs(2 * TTL + 2), "the workers follow after {followed:?} only");
        // These wait until it goes on: a file, and a registration.
        let alone = format!("of {} alone, round {round}", cluster.nodes[master].name);
        cluster.nodes[master].home.write(RULE, &alone);
        let asked = std::thread::scope(|scope| {
            let home = &cluster.nodes[master].home;
            let asked = scope.spawn(move || {
                register(
                    home,
                    &json!({"function": "add", "arguments": {"name": format!("late{round}"), "ip": "any"}}).to_string(),
                )
            });
            sleep(Duration::from_millis(50));
            cluster.nodes[master].signal(Signal::SIGCONT);
            asked.join().unwrap()
        });
        let goes_on = Instant::now();
        assert!(!asked.as_deref().unwrap_or_default().contains(r#""error":0"#), "it answers: {asked:?}");
        cluster.until("it follows", |nodes| {
            nodes[master].status().is_some_and(|status| status["role"] == "worker" && status["term"] == term + 1)
        });
        cluster.until("it has what the other one has", |nodes| {
            nodes[master].home.read(RULE) == nodes[other].home.read(RULE)
        });
        let back = goes_on.elapsed();
        assert!(back <= FOLLOWS, "only after {back:?}");
        let kept = cluster.nodes[master].home.read(&format!("queue/diverged/{term}/{RULE}"));
        assert_eq!(kept.as_deref(), Some(alone.as_bytes()), "it is set aside");
        println!(
            "round {round}: another master after {took:.2?}, workers after {followed:.2?}, the former one after {back:.2?}"
        );
    }
    over.store(true, Ordering::Relaxed);
    for highest in watched {
        assert!(highest.join().unwrap() > count as u64);
    }
}
