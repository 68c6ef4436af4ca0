//! What a node tells those who watch it.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

use clusterd::{
    local::client::LocalClient,
    system::clock::{Clock, FakeClock},
    term::Claim,
    wire::Command,
};
use serde_json::{Value, json};

use crate::support::{
    Database, LISTEN, Node, RawPeer, SECOND, TestHome, advance_until, eventually, fetch, members::Cluster, metrics,
};

const DASHBOARD: &str = include_str!("../../etc/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../etc/alerts.yml");

fn watched() -> Value {
    json!({"metrics": {"listen": LISTEN}})
}

/// A master and the worker `w1`, which is in sync.
fn cluster() -> (Clock, FakeClock, Node, Node) {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "a");
    let master = Node::master(home, &clock, watched());
    let worker = Node::worker(TestHome::new(), &clock, watched(), "w1", master.port());
    advance_until(&hand, SECOND, "the worker in sync", || in_sync(&master) && in_sync(&worker));
    (clock, hand, master, worker)
}

fn in_sync(node: &Node) -> bool {
    metrics(node).get(r#"wazuh_cluster_node_state{name="w1"}"#) == Some(&0.0)
}

fn health(node: &Node) -> (u16, Value) {
    let (status, head, body) = fetch(node, "/health");
    assert!(head.contains("Content-Type: application/json"), "{head}");
    (status, serde_json::from_str(&body).unwrap())
}

#[test]
fn counters_follow_what_happens() {
    let (_clock, hand, master, worker) = cluster();
    let seen = metrics(&master);
    assert_eq!(seen[r#"wazuh_cluster_up{name="m",type="master"}"#], 1.0);
    assert_eq!(seen[r#"wazuh_cluster_node_info{name="m",type="master",version="4.14.7",ip="127.0.0.1"}"#], 1.0);
    assert_eq!(seen[r#"wazuh_cluster_node_connected{name="w1"}"#], 1.0);
    assert_eq!(seen[r#"wazuh_cluster_files{name="w1",state="missing"}"#], 0.0);
    assert_eq!(seen["wazuh_cluster_local_files"], 1.0);
    for task in ["local_integrity", "integrity_check", "integrity_sync"] {
        assert!(seen[&format!("wazuh_cluster_task_duration_seconds_count{{task=\"{task}\"}}")] >= 1.0, "{task}");
        assert!(seen.contains_key(&format!("wazuh_cluster_task_last_success_timestamp{{task=\"{task}\"}}")), "{task}");
    }
    let there = metrics(&worker);
    let (out, into) = (r#"wazuh_cluster_bytes_total{dir="out"}"#, r#"wazuh_cluster_bytes_total{dir="in"}"#);
    assert!(seen[out] > 500.0 && seen[into] > 500.0, "{} {}", seen[out], seen[into]);
    assert!(there[out] > 500.0 && there[into] > 500.0);
    assert!(there[r#"wazuh_cluster_sync_age_seconds{name="w1"}"#] < 20.0);

    // A change: the next generation.
    master.home.write("etc/rules/b.xml", "b");
    advance_until(&hand, SECOND, "the change on the worker", || worker.home.read("etc/rules/b.xml").is_some());
    assert_eq!(metrics(&master)["wazuh_cluster_generation"], seen["wazuh_cluster_generation"] + 1.0);

    // A worker that left is missed, and one that comes back is not.
    let home = worker.stop();
    eventually("the worker is missed", || metrics(&master)[r#"wazuh_cluster_node_connected{name="w1"}"#] == 0.0);
    let page = fetch(&master, "/").2;
    assert!(page.contains("<span class=\"state bad\">away</span>"), "{page}");
    assert!(page.contains("<section class=\"verdict bad\">\n<p>1 of 2 in sync, 1 away.</p>"), "{page}");
    let _worker = Node::worker(home, &_clock, watched(), "w1", master.port());
    eventually("the worker is back", || metrics(&master)[r#"wazuh_cluster_node_connected{name="w1"}"#] == 1.0);
}

/// Case 1.1: whether it can write is asked anew each time.
#[test]
fn a_directory_that_cannot_be_written_to_is_seen() {
    let (_clock, _hand, master, _worker) = cluster();
    let state = master.home.path("queue/cluster-state");
    let seen = || (health(&master).0, metrics(&master)["wazuh_cluster_unwritable_places"]);
    assert_eq!(seen(), (200, 0.0));
    // The node may write to it at the same time.
    eventually("a file is in its place", || {
        let _ = std::fs::remove_dir_all(&state);
        std::fs::write(&state, "").is_ok()
    });
    assert_eq!(seen(), (503, 1.0));
    let told = health(&master).1;
    let reason = format!("{} is not a directory: what is to outlast a restart is lost. Move it away", state.display());
    assert_eq!((&told["checks"]["directories"], &told["reasons"]), (&json!(false), &json!([reason])));
    let page = fetch(&master, "/").2;
    assert!(page.contains(&reason), "{page}");
    std::fs::remove_file(&state).unwrap();
    assert_eq!(seen(), (200, 0.0), "it can be made");
}

/// Cases 2.5 and 2.7: its series last, also over a restart of the master, so that an alert lasts; so does its row on the
/// page, with why and what to do.
#[test]
fn a_worker_that_is_away_is_told_of_until_it_is_forgotten() {
    let (clock, _hand, master, worker) = cluster();
    drop(worker);
    let value = |node: &Node, name: &str| metrics(node).get(&format!("wazuh_cluster_{name}{{name=\"w1\"}}")).copied();
    eventually("w1 is away", || value(&master, "node_state") == Some(3.0));
    let since = value(&master, "node_state_since_timestamp");
    assert!(since.is_some_and(|since| since > 0.0), "{since:?}");
    let master = Node::master(master.stop(), &clock, watched());
    assert_eq!((value(&master, "node_state"), value(&master, "node_connected")), (Some(3.0), Some(0.0)));
    assert_eq!(value(&master, "node_state_since_timestamp").map(f64::floor), since.map(f64::floor));
    for of_its_files in ["sync_age_seconds", "failed_files", "held_deletions"] {
        assert_eq!(value(&master, of_its_files), None, "nobody knows it: {of_its_files}");
    }
    let page = fetch(&master, "/").2;
    let row = "<span class=\"state bad\">away</span>";
    let why = "<tr class=\"why\"><td colspan=\"8\"><p><b>Why:</b> it closed the connection, as when it is stopped, \
               restarted or killed.</p><p><b>What to do:</b> ";
    assert!(page.contains(row) && page.contains(why), "{page}");

    let client = LocalClient::new(master.home.path("queue/cluster/c-internal.sock"));
    client.ask(Command::ForgetNode, b"\"w1\"").unwrap();
    assert_eq!((value(&master, "node_state"), value(&master, "node_connected")), (None, None));
    let page = fetch(&master, "/").2;
    assert!(page.contains("<section class=\"verdict idle\">\n<p>This master has no worker.</p>"), "{page}");
}

#[test]
fn rejected_connections_are_counted_by_reason() {
    let (clock, _hand) = FakeClock::new();
    let master = Node::master(TestHome::new(), &clock, watched());
    let count = |name: &str| metrics(&master)[name];
    let rejected = |reason: &str| count(&format!("wazuh_cluster_rejected_connections_total{{reason=\"{reason}\"}}"));
    for (hello, reason) in [
        ("w.1 wazuh worker 4.14.7", "node_name"),
        ("m wazuh worker 4.14.7", "name_taken"),
        ("w1 other worker 4.14.7", "cluster_name"),
        ("w1 wazuh worker 4.0.0", "version"),
    ] {
        let mut peer = RawPeer::connect(master.port());
        peer.send("hello", hello.as_bytes());
        assert_eq!(peer.receive().unwrap().1, "err");
        assert_eq!(rejected(reason), 1.0, "{reason}");
    }
    let mut stranger = std::net::TcpStream::connect(("127.0.0.1", master.port())).unwrap();
    std::io::Write::write_all(&mut stranger, b"\0\0\0\x01\0\0\0\x05hello ------wrong").unwrap();
    eventually("the stranger is rejected", || rejected("no_hello") == 1.0);
    assert_eq!(count("wazuh_cluster_auth_failures_total"), 1.0);
}

#[test]
fn health_has_its_reasons() {
    let (clock, hand, master, worker) = cluster();
    let all = |names: &[&'static str]| names.iter().map(|name| (*name, true)).collect::<BTreeMap<_, _>>();
    let (status, told) = health(&master);
    assert_eq!((status, &told["healthy"], &told["reasons"]), (200, &json!(true), &json!([])));
    assert_eq!(
        told["checks"],
        json!(all(&["listening", "local_integrity", "agent_database", "directories", "deletions"]))
    );
    let (status, told) = health(&worker);
    assert_eq!((status, &told["node"], &told["type"]), (200, &json!("w1"), &json!("worker")));
    assert_eq!(told["checks"], json!(all(&["connected", "integrity_check", "agent_database", "directories"])));

    drop(master);
    // Transfers may take a day here.
    advance_until(&hand, 3600 * SECOND, "the worker is not healthy", || {
        health(&worker).1["reasons"].as_array().unwrap().len() == 2
    });
    let (status, told) = health(&worker);
    assert_eq!((status, &told["healthy"]), (503, &json!(false)));
    assert_eq!(told["reasons"][0], "this worker is not connected to its master");
    assert!(told["reasons"][1].as_str().unwrap().starts_with("the last integrity check ended "), "{told}");
    let page = fetch(&worker, "/").2;
    let says = |text: &str| assert!(page.contains(text), "{text}: {page}");
    says("<section class=\"verdict bad\">\n<p>This worker is away.</p>");
    says("Not healthy: this worker is not connected to its master.");
    says("<td class=\"text\" data-column=\"Since\"><time>20");
    says("<b>Why:</b> it is not connected to its master: ");
    says("<b>What to do:</b> ");

    let lonely = Node::worker(TestHome::new(), &clock, watched(), "w2", 1);
    assert_eq!(health(&lonely).1["reasons"][1], "no integrity check has ended well yet");
}

#[test]
fn an_agent_database_that_is_away_is_told_and_delays_no_probe() {
    let (clock, hand) = FakeClock::new();
    let settings = json!({"metrics": {"listen": LISTEN}, "agent_database": "wazuh-db"});
    let master = Node::master(TestHome::new(), &clock, settings);
    eventually("the files are calculated", || health(&master).0 == 200);
    let seen = metrics(&master);
    assert_eq!(seen["wazuh_cluster_wdb_up"], 0.0);
    assert!(seen["wazuh_cluster_wdb_failures_total"] >= 1.0);
    assert!(!seen.keys().any(|name| name.starts_with("wazuh_cluster_active_agents")), "nobody knows");
    let (status, told) = health(&master);
    assert_eq!((status, &told["reasons"]), (503, &json!(["the agent database did not answer the last request"])));
    drop(hand);
}

#[test]
fn agents_are_told_by_node() {
    let (_clock, hand, master, _worker) = cluster();
    let mut database = Database::of(&master);
    for id in 1..4 {
        database.tell(&format!(r#"global insert-agent {{"id":{id},"name":"a{id}","date_add":1}}"#));
        database.reports(id, "w1", "Wazuh v4.14.7");
    }
    // They are counted every ten seconds at most.
    hand.advance(10 * SECOND);
    let told = || metrics(&master).get(r#"wazuh_cluster_active_agents{name="w1"}"#).copied();
    eventually("three agents", || told() == Some(3.0));
    assert!(fetch(&master, "/").2.contains("<td class=\"number\" data-column=\"Agents\">3</td>"));
}

#[test]
fn a_load_balancer_is_led_to_the_master() {
    let (_clock, _hand, master, worker) = cluster();
    let asked = |node: &Node| {
        let (status, head, body) = fetch(node, "/master");
        assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{head}");
        (status, body)
    };
    assert_eq!(asked(&master), (200, "role: master, node: m, term: 0\n".to_owned()));
    assert_eq!(asked(&worker), (503, "role: standby, node: w1, term: 0\n".to_owned()));
    let term = &master.running.role().node().term;
    term.step_down(&Claim { term: 3, master: "w1".to_owned() }).unwrap();
    assert_eq!(asked(&master), (503, "role: standby, node: m, term: 3\n".to_owned()));
}

#[test]
fn nothing_of_a_peer_or_a_request_is_markup() {
    let (clock, _hand) = FakeClock::new();
    let master = Node::master(TestHome::new(), &clock, watched());
    let mut peer = RawPeer::connect(master.port());
    peer.send("hello", b"w1 wazuh <script>\"'& 4.14.7");
    assert_eq!(peer.receive().unwrap().1, "ok");
    let (_, head, page) = fetch(&master, "/");
    assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;") && !page.contains("<script"), "{page}");
    assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline';"), "{head}");
    assert!(metrics(&master).keys().any(|name| name.contains(r#"type="<script>\"'&""#)));
    let (status, _, body) = fetch(&master, "/<script>");
    assert_eq!((status, body.as_str()), (404, "There are /, /metrics, /health and /master.\n"));
}

#[test]
fn the_socket_is_for_the_group_and_goes_with_the_node() {
    let (clock, _hand) = FakeClock::new();
    let master = Node::master(TestHome::new(), &clock, watched());
    let path = master.home.path(LISTEN);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let _idle = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let home = master.stop();
    assert!(!path.exists());
    drop(home);
}

#[test]
fn a_place_that_is_taken_does_not_keep_a_node_from_its_work() {
    let (clock, _hand) = FakeClock::new();
    let (home, taken) = (TestHome::new(), TestHome::new());
    let path = taken.path("taken.sock");
    let _owner = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let master = Node::master(home, &clock, json!({"metrics": {"listen": path}}));
    // It is to live until the worker was looked for.
    let mut peer = RawPeer::connect(master.port());
    peer.hello("w1");
    assert_eq!(master.workers(), ["w1"]);
}

/// Names of metrics, each with the labels in the braces behind it, if there are.
fn uses(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\\\"", "\"");
    let mut found = Vec::new();
    let begins = |at: usize| !text[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_');
    for (at, _) in
        text.match_indices("wazuh_cluster_").chain(text.match_indices("process_")).filter(|(at, _)| begins(*at))
    {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let labels =
            rest[end..].strip_prefix('{').and_then(|labels| labels.split_once('}')).map_or("", |(labels, _)| labels);
        found.push((rest[..end].to_owned(), labels.to_owned()));
    }
    found
}

#[test]
fn the_dashboard_and_the_alerts_use_what_there_is() {
    let (_clock, _hand, master, worker) = cluster();
    let elected = Cluster::with_arbiter();
    let told = [&master, &worker, elected.members[0].node()].into_iter().flat_map(|node| metrics(node).into_keys());
    let told: Vec<String> = told.collect();
    let of =
        |name: &str| -> Vec<&String> { told.iter().filter(|series| series.split('{').next() == Some(name)).collect() };
    for (file, text) in [("grafana-dashboard.json", DASHBOARD), ("alerts.yml", ALERTS)] {
        let uses = uses(text);
        assert!(uses.len() > 10, "{file}");
        for (name, labels) in uses {
            let series = of(&name);
            assert!(!series.is_empty(), "{file}: there is no {name}");
            for equal in labels
                .split(',')
                .filter(|label| !label.contains(['~', '$']) && label.contains("=\"") && !label.contains("!="))
            {
                assert!(series.iter().any(|series| series.contains(equal)), "{file}: {name} has no {equal}");
            }
        }
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 8);
    // What is there is shown or watched; the rest is of use to whoever searches for a cause.
    let all = [DASHBOARD, ALERTS].concat();
    for name in told.iter().map(|series| series.split('{').next().unwrap()).filter(|name| name.starts_with("wazuh_")) {
        let family = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(all.contains(family), "nobody looks at {family}");
    }
}

/// What Prometheus is to compute: the queries of the dashboard, and the expressions of the rules.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut found: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    let mut lines = ALERTS.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(expr) = line.trim_start().strip_prefix("expr: ") else { continue };
        let depth = |line: &str| line.len() - line.trim_start().len();
        let mut text = expr.trim_start_matches(">-").to_owned();
        while lines.peek().is_some_and(|next| depth(next) > depth(line)) {
            text = text + " " + lines.next().unwrap().trim();
        }
        found.push(text);
    }
    found
}

/// The labels by which an expression is aggregated around the place `at`.
fn aggregated_by(expression: &str, at: usize) -> Vec<&str> {
    let mut open = Vec::new();
    for (place, character) in expression[..at].char_indices() {
        match character {
            '(' => open.push(place),
            ')' => _ = open.pop(),
            _ => {}
        }
    }
    let labels = |place: usize| {
        let (head, labels) = expression[..place].trim_end().strip_suffix(')')?.rsplit_once('(')?;
        head.trim_end().ends_with("by").then_some(labels)
    };
    open.into_iter().filter_map(labels).collect()
}

/// Cases 2.5 and 2.6: a worker that is scraped is told of twice, by itself and by its master. Whatever is drawn or alerted
/// of nodes is made one by their names.
#[test]
fn a_node_that_two_tell_of_is_one() {
    let (_clock, _hand, master, _worker) = cluster();
    let told: Vec<String> = metrics(&master).into_keys().collect();
    let of_nodes = |name: &str| {
        let of_one = format!("{name}{{name=\"w1\"");
        name != "wazuh_cluster_up" && told.iter().any(|series| series.starts_with(&of_one))
    };
    let mut count = 0;
    for expression in expressions() {
        for (at, _) in expression.match_indices("wazuh_cluster_") {
            let rest = &expression[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if of_nodes(&rest[..end]) {
                let by = aggregated_by(&expression, at);
                assert!(!by.is_empty() && by.iter().all(|labels| !labels.contains("instance")), "{expression}");
                count += 1;
            }
        }
    }
    assert!(count > 15, "{count}");
}
