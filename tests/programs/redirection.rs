//! Agents that are registered and removed on any node.

use std::{collections::BTreeSet, thread};

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Peer, c_client, control, until};

/// A master and two workers that are connected to it.
fn cluster() -> ([Home; 3], [Daemon; 3]) {
    let master = Home::master();
    let workers = ["w1", "w2"].map(|name| Home::worker(name, master.address));
    let daemon = Daemon::start(&master);
    let [one, two] = workers;
    let daemons = [daemon, Daemon::start(&one), Daemon::start(&two)];
    for worker in [&one, &two] {
        worker.wait_for("Successfully connected to master");
    }
    ([master, one, two], daemons)
}

/// The agents of a node's client.keys: id and name.
fn agents(home: &Home) -> BTreeSet<(String, String)> {
    let text = String::from_utf8(home.read("etc/client.keys").unwrap_or_default()).unwrap();
    let agent = |line: &str| {
        let [id, name, _, _] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else { return None };
        (!name.starts_with('!')).then(|| (id.to_owned(), name.to_owned()))
    };
    text.lines().filter_map(agent).collect()
}

fn names(found: &BTreeSet<(String, String)>) -> BTreeSet<&str> {
    found.iter().map(|(_, name)| name.as_str()).collect()
}

#[track_caller]
fn json(home: &Home, arguments: &[&str]) -> Value {
    let output = control(home, arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn an_agent_registered_on_any_node_is_known_on_all_and_one_removed_on_none() {
    let (homes, _daemons) = cluster();
    let [master, one, two] = &homes;
    let output = control(one, &["--add-agent", "web", "--ip", "10.0.0.0/8"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, row) = text.split_once('\n').unwrap();
    assert!(head.starts_with("ID   NAME  IP          KEY TO IMPORT"), "{text}");
    assert!(row.starts_with("001  web   10.0.0.0/8  "), "{text}");
    let added = json(master, &["--add-agent", "db", "--json"]);
    assert_eq!((&added["id"], &added["ip"]), (&json!("002"), &json!("any")));
    for home in &homes {
        until("both agents everywhere", || (names(&agents(home)) == BTreeSet::from(["web", "db"])).then_some(()));
        assert_eq!(json(home, &["--agent-key", "2", "--json"]), added);
        until("both in the table", || (json(home, &["-a", "--json"]).as_array().unwrap().len() == 3).then_some(()));
    }
    // The reason of the master reaches whoever asked on a worker.
    let output = control(two, &["--add-agent", "web"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("ERROR: Error 9008 - Duplicate name\nRemedy: "), "{said}");
    assert_eq!(json(two, &["--add-agent", "db", "--json"])["error"]["code"], 9008);
    let forced = json(two, &["--add-agent", "web", "--force", "--json"]);
    assert_eq!(forced["id"], "003");

    let output = control(master, &["--remove-agent", "2"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "The agent 002 was removed.\n");
    let output = control(one, &["--remove-agent", "003", "--purge"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for home in &homes {
        until("no agent anywhere", || agents(home).is_empty().then_some(()));
        until("none in the table", || (json(home, &["-a", "--json"]).as_array().unwrap().len() == 1).then_some(()));
    }
    assert_eq!(json(two, &["--agent-key", "2", "--json"])["error"]["code"], 9011);
    let keys = String::from_utf8(master.read("etc/client.keys").unwrap()).unwrap();
    let line = |start: &str| keys.lines().any(|line| line.starts_with(start));
    assert!(line("002 !db any ") && !line("003 "), "{keys}");
}

#[test]
fn of_two_workers_that_register_one_name_at_the_same_instant_one_wins() {
    let (homes, _daemons) = cluster();
    for turn in 0..10 {
        let request = format!(
            r#"{{"daemon_name":"authd","message":{{"arguments":{{"name":"twin{turn}","ip":"any"}},"function":"add"}}}}"#
        );
        let codes: BTreeSet<i64> = thread::scope(|scope| {
            let both: Vec<_> = homes[1..]
                .iter()
                .map(|home| {
                    let (socket, request) = (home.path("queue/cluster/c-internal.sock"), &request);
                    scope.spawn(move || c_client::ask(&socket, request).unwrap())
                })
                .collect();
            let answers = both.into_iter().map(|one| serde_json::from_str::<Value>(&one.join().unwrap()).unwrap());
            answers.map(|answer| answer["error"].as_i64().unwrap()).collect()
        });
        assert_eq!(codes, BTreeSet::from([0, 9008]));
    }
    assert_eq!(agents(&homes[0]).len(), 10);
}

#[test]
fn a_thousand_agents_registered_through_two_workers_by_programs_in_c() {
    let (homes, _daemons) = cluster();
    let ids: BTreeSet<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let socket = homes[1 + thread % 2].path("queue/cluster/c-internal.sock");
                scope.spawn(move || {
                    (0..125).map(|n| register(&socket, &format!("agent-{thread}-{n}"))).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1000, "1000 different ids");
    for home in &homes {
        until("all agents everywhere", || (agents(home).len() == 1000).then_some(()));
        let found = agents(home);
        assert_eq!(names(&found).len(), 1000);
        assert_eq!(found.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>(), ids);
    }
}

/// The id of a new agent.
fn register(socket: &std::path::Path, name: &str) -> String {
    let arguments = json!({"name": name, "ip": "any"});
    let request = json!({"daemon_name": "authd", "message": {"arguments": arguments, "function": "add"}});
    let answer: Value = serde_json::from_str(&c_client::ask(socket, &request.to_string()).unwrap()).unwrap();
    assert_eq!((&answer["error"], &answer["data"]["name"]), (&json!(0), &json!(name)), "{answer}");
    answer["data"]["id"].as_str().unwrap().to_owned()
}

/// Case 4.16: whichever worker asks, and however often.
#[test]
fn of_a_program_that_is_away_the_log_of_the_master_has_one_line() {
    let master = Home::master();
    master.write("bin/wazuh-remoted", "");
    let _daemon = Daemon::start(&master);
    let mut peers = ["w1", "w2"].map(|name| Peer::join(master.address, name));
    for turn in 0..3 {
        for peer in &mut peers {
            let request = format!(r#"{turn} {{"daemon_name": "remoted", "message": {{"command": "assigngroup"}}}}"#);
            peer.ask("sendsync", request);
            let said = String::from_utf8(peer.wait_for("sendsyn_err")).unwrap();
            assert!(said.starts_with(&format!("{turn} Error 1013 - Unable to connect to socket: ")), "{said}");
        }
    }
    let log = master.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" ERROR: ")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("[Worker w1] [SendSync] A request of this worker could not be done: Error 1013")
            && lines[0].contains("wazuh-remoted"),
        "{lines:?}"
    );
}
