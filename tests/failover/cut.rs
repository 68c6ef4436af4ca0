//! The machine of the master loses its network: nobody is told, and nobody answers there any more.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    agents::Agents,
    cluster::{Cluster, control_socket},
    lan::{CANDIDATES, Lan, MIDDLE},
    members::Members,
    support::{Address, skip},
};

const RULE: &str = "etc/rules/local_rules.xml";

#[test]
fn workers_follow_the_next_master_although_the_last_is_silent() {
    match Lan::new() {
        Ok(lan) => lan.middle.on(|| follows(&lan)),
        Err(error) => skip(&format!("no network namespaces here: {error}")),
    }
}

/// Done on the machine in the middle.
fn follows(lan: &Lan) {
    let Some(members) = Members::at(vec![MIDDLE]) else { return };
    let members = members.begin(&[]);
    members.serve();
    let own = Address(Ipv4Addr::LOCALHOST);
    let mut cluster = Cluster::of(members, &CANDIDATES, &[("a", own), ("b", own), ("w", own)], &json!({}));
    for (node, machine) in cluster.nodes.iter_mut().zip(&lan.machines) {
        node.home.option("bind_addr", "0.0.0.0");
        machine.on(|| node.start());
    }
    cluster.nodes[2].start();
    cluster.until_settled();
    let has = |cluster: &Cluster, rule: &str| {
        cluster.until("the worker has a rule of the master", |nodes| {
            nodes[2].home.read(RULE).as_deref() == Some(rule.as_bytes())
        });
    };
    cluster.nodes[0].home.write(RULE, "of a");
    has(&cluster, "of a");
    cluster.until_may_follow("b");
    let agents = Agents::begin(&control_socket(&cluster.nodes[2].home), 20);
    agents.wait_for(20);

    lan.pull(0);
    let pulled = Instant::now();
    cluster.until("b is the master", |nodes| nodes[1].term() == Some(2));
    cluster.nodes[1].home.write(RULE, "of b");
    has(&cluster, "of b");
    let worked = pulled.elapsed();
    // What was under way on the wire may have come a moment later.
    let moment = Duration::from_secs(1);
    let registered = moment + agents.next(pulled + moment);
    println!(
        "the master was cut off: a worker had a rule of the next one after {worked:.2?}, and registered after \
         {registered:.2?}"
    );
    // What it answered at its end was recorded, or was never answered.
    let answered = agents.end();
    let (missing, twice) = crate::agents::judge(&answered, &cluster.nodes[1].keys());
    assert!(missing.is_empty() && twice.is_empty(), "missing: {missing:?}; twice: {twice:?}");
}
