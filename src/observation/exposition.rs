//! `/metrics`.

use std::time::UNIX_EPOCH;

use super::{
    process,
    view::{Files, Seen, View},
};
use crate::{
    election::Candidate,
    metrics::{
        Metrics, Rejection,
        text::{Kind, Text},
    },
    verdict::State,
};

/// The whole text.
pub(super) fn text(view: &View) -> String {
    let (mut text, metrics) = (Text::default(), &view.node.metrics);
    text.family("wazuh_cluster_up", Kind::Gauge, "1 while the daemon serves, with what it is.");
    text.sample(&[("name", &view.own().name), ("type", &view.own().node_type)], 1);
    nodes(&mut text, view);
    files(&mut text, view);
    tasks(&mut text, view);
    links(&mut text, metrics);
    if view.authority.is_some() {
        rejections(&mut text, metrics);
    }
    database(&mut text, metrics);
    let help = "Directories and files that this daemon has to write to, and cannot; 'wazuh-clusterd -t' names them.";
    text.single("wazuh_cluster_unwritable_places", Kind::Gauge, help, view.node.places().urgent_lacks().len());
    term(&mut text, view);
    if let Some(candidate) = &view.node.candidate {
        failover(&mut text, candidate);
    }
    let started = metrics.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let help = "When the daemon started, in seconds since 1970.";
    text.single("process_start_time_seconds", Kind::Gauge, help, started);
    process::append(&mut text);
    text.finish()
}

fn term(text: &mut Text, view: &View) {
    let status = view.node.term.status(&view.node.home, view.node.cluster.node_type);
    let help = "How often the master of the cluster has changed, as far as this node knows.";
    text.single("wazuh_cluster_term", Kind::Gauge, help, status.claim.term);
    let help = "Files that this node had alone as a former master, and that are set aside in queue/diverged for a person to \
                look at; 'cluster_control --failover-status' tells where.";
    let diverged: usize = status.diverged.iter().map(|kept| kept.files).sum();
    text.single("wazuh_cluster_diverged_files", Kind::Gauge, help, diverged);
}

fn failover(text: &mut Text, candidate: &Candidate) {
    let help = "Whether this candidate acts as the master of the cluster.";
    text.single("wazuh_cluster_failover_acts", Kind::Gauge, help, u8::from(candidate.acts()));
    let help = "Seconds for which this candidate acts as the master without another renewal at etcd; 0 if it does not.";
    let left = candidate.deadline().map(|deadline| deadline.left().as_secs_f64()).unwrap_or_default();
    text.single("wazuh_cluster_failover_lease_seconds", Kind::Gauge, help, left);
    if let Some(followers) = candidate.followers() {
        let help = "Candidates that would follow this master by themselves.";
        text.single("wazuh_cluster_failover_followers", Kind::Gauge, help, followers);
    }
    let help = "How often this candidate has become the master since its start.";
    text.single("wazuh_cluster_failover_elections_total", Kind::Counter, help, candidate.elections());
    let help = "Whether this candidate can read from etcd.";
    text.single("wazuh_cluster_failover_etcd_up", Kind::Gauge, help, u8::from(candidate.watched().failure.is_none()));
}

fn nodes(text: &mut Text, view: &View) {
    text.family(
        "wazuh_cluster_node_info",
        Kind::Gauge,
        "1 for each node that this node knows, with what it says of itself.",
    );
    for Seen { name, node_type, version, address, .. } in &view.nodes {
        text.sample(&[("name", name), ("type", node_type), ("version", version), ("ip", address)], 1);
    }
    let help = "Whether a node is connected to the cluster. The master reports all that it knows, a worker \
                itself; a node that is away stays known until a person forgets it, \
                or 256 others are away for a shorter time.";
    text.family("wazuh_cluster_node_connected", Kind::Gauge, help);
    for node in &view.nodes {
        text.sample(&[("name", &node.name)], u8::from(node.connected.is_some()));
    }
    let help = "How a node stands, as 'cluster_control -l' shows it: 0 in sync, 1 joining, 2 behind, 3 away.";
    text.family("wazuh_cluster_node_state", Kind::Gauge, help);
    for node in &view.nodes {
        text.sample(&[("name", &node.name)], badness(node.verdict.state));
    }
    let help = "Since when it stands so, in seconds since 1970. Missing if that is not known.";
    text.family("wazuh_cluster_node_state_since_timestamp", Kind::Gauge, help);
    for (node, since) in view.nodes.iter().filter_map(|node| Some((node, node.verdict.since?))) {
        let seconds = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        text.sample(&[("name", &node.name)], seconds);
    }
    let help = "Seconds since the last keep-alive of a worker or, on a worker, since its last that was answered.";
    text.family("wazuh_cluster_keepalive_age_seconds", Kind::Gauge, help);
    for (node, age) in view.nodes.iter().filter_map(|node| Some((node, node.keep_alive?))) {
        text.sample(&[("name", &node.name)], age.as_secs_f64());
    }
    let help =
        "Agents that are active, by the node that they report to. Missing while the agent database does not answer.";
    text.family("wazuh_cluster_active_agents", Kind::Gauge, help);
    for (node, agents) in view.nodes.iter().filter_map(|node| Some((node, node.agents?))) {
        text.sample(&[("name", &node.name)], agents);
    }
}

/// The worse, the higher, so that the maximum of what several tell of a node is the worst of it.
const fn badness(state: State) -> u8 {
    match state {
        State::InSync => 0,
        State::Joining => 1,
        State::Behind => 2,
        State::Away => 3,
    }
}

fn files(text: &mut Text, view: &View) {
    let workers: Vec<(&str, &Files)> =
        view.nodes.iter().filter_map(|node| Some((node.name.as_str(), node.files.as_ref()?))).collect();
    let help = "Seconds since a check found the files of a worker equal to the master's; before the first, since it \
                connected or, on the worker itself, since it started.";
    text.family("wazuh_cluster_sync_age_seconds", Kind::Gauge, help);
    for (name, files) in &workers {
        text.sample(&[("name", name)], files.age.as_secs_f64());
    }
    let help = "Files in which a worker differed from the master at its last check: shared ones with another content, \
                missing ones, extra ones. All 0: in sync.";
    text.family("wazuh_cluster_files", Kind::Gauge, help);
    for (name, files) in &workers {
        let behind = files.standing.behind;
        for (state, count) in [("shared", behind.update), ("missing", behind.create), ("extra", behind.delete)] {
            text.sample(&[("name", name), ("state", state)], count);
        }
    }
    let help = "Files that a worker could not write or delete in its last synchronisation.";
    text.family("wazuh_cluster_failed_files", Kind::Gauge, help);
    for (name, files) in &workers {
        text.sample(&[("name", name)], files.applied.failed);
    }
    if let Some(authority) = &view.authority {
        let help = "Files that a worker has too many, and whose deletion is held back until somebody confirms it.";
        text.family("wazuh_cluster_held_deletions", Kind::Gauge, help);
        for (name, files) in &workers {
            text.sample(&[("name", name)], files.held.map_or(0, |held| held.deletions.max(usize::from(held.keys))));
        }
        let help = "How often the synchronised files of the master have changed since it started.";
        text.single("wazuh_cluster_generation", Kind::Gauge, help, authority.generation);
        text.single("wazuh_cluster_local_files", Kind::Gauge, "Synchronised files of the master.", authority.files);
    }
}

fn tasks(text: &mut Text, view: &View) {
    let metrics = &view.node.metrics;
    text.family(
        "wazuh_cluster_task_duration_seconds",
        Kind::Histogram,
        "How long the runs of a task took that ended well.",
    );
    for task in view.tasks() {
        text.histogram(&[("task", task.name())], &metrics.task(task).seconds);
    }
    let help = "When a run of a task last ended well, in seconds since 1970.";
    text.family("wazuh_cluster_task_last_success_timestamp", Kind::Gauge, help);
    for (task, last) in view.tasks().filter_map(|task| Some((task, metrics.task(task).last()?))) {
        let seconds = last.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        text.sample(&[("task", task.name())], seconds);
    }
    text.family("wazuh_cluster_task_failures_total", Kind::Counter, "Runs of a task that failed.");
    for task in view.tasks() {
        text.sample(&[("task", task.name())], metrics.task(task).failures.get());
    }
}

fn links(text: &mut Text, metrics: &Metrics) {
    let link = &metrics.link;
    text.family(
        "wazuh_cluster_bytes_total",
        Kind::Counter,
        "Bytes of the links to other nodes, as they cross the network.",
    );
    text.sample(&[("dir", "in")], link.received.get());
    text.sample(&[("dir", "out")], link.sent.get());
    let help = "Messages of other nodes that could not be decrypted: another key, or none.";
    text.single("wazuh_cluster_auth_failures_total", Kind::Counter, help, link.auth_failures.get());
}

fn rejections(text: &mut Text, metrics: &Metrics) {
    let help = "Connections that the master has rejected, by reason.";
    text.family("wazuh_cluster_rejected_connections_total", Kind::Counter, help);
    for why in Rejection::ALL {
        text.sample(&[("reason", why.name())], metrics.rejections(why));
    }
}

fn database(text: &mut Text, metrics: &Metrics) {
    let database = &metrics.database;
    let help = "How long requests of this daemon to the agent database took.";
    text.family("wazuh_cluster_wdb_request_seconds", Kind::Histogram, help);
    text.histogram(&[], &database.seconds);
    let help = "Requests that the agent database did not answer.";
    text.single("wazuh_cluster_wdb_failures_total", Kind::Counter, help, database.failures.get());
    let help = "Whether the agent database answered the last request.";
    text.single("wazuh_cluster_wdb_up", Kind::Gauge, help, u8::from(!database.away.get()));
}
