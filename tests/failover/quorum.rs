//! etcd fails while candidates and workers go on.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    agents::Agents,
    cluster::{Cluster, TTL, control_socket},
};

#[test]
fn without_a_quorum_there_is_no_master_and_with_one_the_same_one_again() {
    let Some(mut cluster) = Cluster::start(&json!({})) else { return };
    cluster.settle();
    let agents = Agents::begin(&control_socket(&cluster.nodes[2].home), 10);
    agents.next(Instant::now());
    let term = cluster.nodes[0].term().unwrap();
    // One member of three changes nothing for longer than etcd needs to elect a leader.
    cluster.members.stop(0);
    let one = Instant::now();
    agents.next(one + Duration::from_secs(3));
    assert_eq!(cluster.nodes[0].term(), Some(term), "the same master");
    cluster.members.stop(1);
    let stopped = Instant::now();
    let none = |at: &crate::cluster::Node| at.status().is_some_and(|status| status["role"] == "worker");
    let fenced = cluster.until("nobody is the master", |nodes| nodes[..2].iter().all(none));
    println!("no master {fenced:.2?} after the quorum was lost, of a ttl of {TTL} s");
    let last = agents.answered().len();
    cluster.members.go_on(0);
    cluster.members.go_on(1);
    let back = Instant::now();
    cluster.until("a is the master again", |nodes| nodes[0].term().is_some());
    agents.next(back);
    println!("a master again {:.2?} after the quorum was back", back.elapsed());
    let answered = agents.end();
    assert!(
        answered.len() > last
            && answered.iter().all(|answer| answer.at < stopped + Duration::from_secs(TTL) || answer.at > back)
    );
    let (missing, twice) = crate::agents::judge(&answered, &cluster.nodes[0].keys());
    assert!(missing.is_empty() && twice.is_empty(), "{missing:?} {twice:?}");
}

#[test]
fn all_candidates_that_start_again_at_once_agree_on_one() {
    let Some(mut cluster) = Cluster::start(&json!({})) else { return };
    cluster.settle();
    for at in [0, 1] {
        cluster.nodes[at].kill();
    }
    for at in [1, 0] {
        cluster.nodes[at].start();
    }
    cluster.until("one master, whom all follow", |nodes| {
        let terms: Vec<_> =
            nodes.iter().filter_map(|node| node.status()).map(|status| status["term"].clone()).collect();
        let masters = nodes[..2].iter().filter(|node| node.term().is_some()).count();
        masters == 1 && terms.len() == nodes.len() && terms.iter().all(|term| *term == terms[0] && *term == 2)
    });
}
