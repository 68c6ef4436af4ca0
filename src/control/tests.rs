use std::{fs, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::{
    local::client::fake::{FakeDaemon, Reply},
    wire::{Class, Command, ErrorObject, Message},
};

/// Runs `cluster_control` with the words of `line` in the home of a daemon.
fn run_in(home: &Path, line: &str) -> Output {
    run(format!("--home {} {line}", home.display()).split_whitespace().map(OsString::from))
}

/// Dates of the integrity check of `pw1`, so that each of the two captured sets can be made.
const ON_MASTER: [&str; 2] = ["2026-11-23T10:32:16.150432Z", "2026-11-23T10:32:16.153214Z"];
const ON_WORKER: [&str; 2] = ["2026-11-23T10:32:25.156781Z", "2026-11-23T10:32:25.158911Z"];

fn health(check: [&str; 2]) -> Value {
    let never = json!({"date_start_master": "n/a", "date_end_master": "n/a", "n_synced_chunks": 0});
    json!({"n_connected_nodes": 1, "nodes": {
        "pw1": {
            "info": {"name": "pw1", "type": "worker", "version": "4.14.7", "ip": "127.0.0.1", "n_active_agents": 3},
            "status": {
                "sync_integrity_free": true,
                "last_check_integrity": {"date_start_master": check[0], "date_end_master": check[1]},
                "last_sync_integrity": {"date_start_master": "n/a", "date_end_master": "n/a", "total_extra_valid": 0,
                    "total_files": {"missing": 0, "shared": 0, "extra": 0, "extra_valid": 0}},
                "sync_agent_info_free": true,
                "last_sync_agentinfo": never,
                "last_sync_agentgroup":
                    {"date_start": "2026-11-23T10:32:18.278484Z", "date_end": "n/a", "n_synced_chunks": 0},
                "last_sync_full_agentgroup": {"date_start": "n/a", "date_end": "n/a", "n_synced_chunks": 0},
                "last_keep_alive": "2026-11-23T10:32:11.101659Z"}},
        "pm": {"info": {"name": "pm", "type": "master", "version": "4.14.7", "ip": "127.0.0.1", "n_active_agents": 0}},
    }})
}

/// What the daemon of the captured cluster answers.
fn answer(message: &Message, health: &Value) -> Value {
    let asked: Value = serde_json::from_slice(&message.body).unwrap_or_default();
    let wanted = |filter: &Value, name: &str| filter.as_array().is_none_or(|names| names.contains(&json!(name)));
    match message.command.name() {
        b"get_config" => json!({"name": "wazuh", "key": "c98b62a9b6169ac5f67dae55ae4a9088"}),
        b"get_agents" => {
            let agent = |id: i64, name: &str, ip: &str, node: &str| {
                json!({"id": id, "name": name, "ip": ip, "status": "active", "node_name": node,
                    "version": if id == 0 { "" } else { "Wazuh v4.14.7" }})
            };
            let all = [
                (0, "localhost", "127.0.0.1", "unknown"),
                (1, "agent1", "10.0.0.5", "pw1"),
                (2, "agent2", "10.0.0.5", "pw1"),
                (3, "agent3", "10.0.0.5", "pw1"),
            ];
            let filter = &asked["filter"];
            let fits = |name: &str, values: &Value| {
                values.as_array().is_none_or(|values| values.is_empty() || values.contains(&json!(name)))
            };
            let items = all.into_iter().filter(|(_, _, _, node)| fits(node, &filter["nodes"]));
            let items = items.filter(|_| fits("active", &filter["statuses"]));
            // Two pages.
            let after = asked["after"].as_i64();
            let items: Vec<_> = items.filter(|(id, ..)| after.is_none_or(|after| *id > after)).collect();
            let more = after.is_none() && items.len() > 2;
            let shown = if more { &items[..2] } else { &items[..] };
            let shown: Vec<_> = shown.iter().map(|(id, name, ip, node)| agent(*id, name, ip, node)).collect();
            json!({"items": shown, "more": more})
        }
        _ => {
            let mut health = health.clone();
            health["nodes"].as_object_mut().unwrap().retain(|name, _| wanted(&asked, name));
            if let Some(verdicts) = health.get_mut("verdicts").and_then(Value::as_array_mut) {
                verdicts.retain(|node| wanted(&asked, node["name"].as_str().unwrap()));
            }
            health["n_connected_nodes"] = u8::from(health["nodes"].get("pw1").is_some()).into();
            health
        }
    }
}

fn master(health: Value) -> FakeDaemon {
    FakeDaemon::start(move |message| {
        vec![Reply::Answer(Command::Ok, answer(message, &health).to_string().into_bytes())]
    })
}

fn worker(health: Value) -> FakeDaemon {
    FakeDaemon::start(move |message| {
        let result = answer(message, &health).to_string();
        if message.command.name() == b"get_config" {
            return vec![Reply::Answer(Command::Ok, result.into_bytes())];
        }
        let first = Reply::Answer(Command::Ok, b"Sent request to master node".to_vec());
        vec![first, Reply::Request(9, Command::ControlResult, result.into_bytes())]
    })
}

/// A daemon that answers every request with this error.
fn refusing(code: u32) -> FakeDaemon {
    FakeDaemon::start(move |_| {
        vec![Reply::Answer(Command::Err, ErrorObject::new(Class::Cluster, code).to_json().into_bytes())]
    })
}

/// What is ours in front of the lines of the stock daemon: the state and, in `-i`, the line of the master.
fn without_states(line: &str, out: &str) -> String {
    let kept = |text: &str| !(line == "-i" && text == "    in sync  pm (127.0.0.1).");
    let strip = |text: &str| match line.starts_with("-l") {
        true => text
            .get(9..)
            .and_then(|text| text.strip_suffix("SINCE (UTC)  ").or(text.strip_suffix("-            ")))
            .unwrap_or(text)
            .to_owned(),
        false => text.replacen("    in sync  ", "    ", 1),
    };
    out.lines().filter(|text| kept(text)).map(|text| strip(text) + "\n").collect()
}

/// Also a check of what is derived behind a master that tells no verdicts.
#[test]
fn tables_are_those_of_the_original_but_for_the_state_in_front() {
    let (pm, pw1) = (master(health(ON_MASTER)), worker(health(ON_WORKER)));
    for (daemon, node) in [(&pm, "pm"), (&pw1, "pw1")] {
        for (line, file) in [
            ("-l", "l"),
            ("-l -fn pw1", "l-fn_pw1"),
            ("-i", "i"),
            ("-i more", "i_more"),
            ("-a", "a"),
            ("-a -fn pw1", "a-fn_pw1"),
            ("-a -fs active", "a-fs_active"),
            ("-a -fs never_connected", "a-fs_never_connected"),
        ] {
            let captured = format!("tests/fixtures/vectors/cluster_control/{node}-{file}.txt");
            let captured = fs::read_to_string(captured).unwrap();
            let output = run_in(daemon.home(), line);
            assert_eq!(without_states(line, &output.out), captured.strip_suffix("exit 0\n").unwrap(), "{node} {line}");
            assert_eq!((output.err.as_str(), output.exit), ("", Exit::InSync), "{node} {line}");
        }
        for line in ["-l -fn nosuch", "-i -fn nosuch"] {
            let unknown = run_in(daemon.home(), line);
            assert_eq!((&*unknown.err, unknown.exit), ("Not known: nosuch.\n", Exit::NotInSync), "{line}");
        }
    }
}

#[test]
fn the_requests_are_those_of_the_original() {
    let daemon = master(health(ON_MASTER));
    for line in ["-l", "-i -fn pm pw1"] {
        run_in(daemon.home(), line);
    }
    let heard = daemon.finish();
    let texts: Vec<_> = heard.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect();
    assert_eq!(texts, ["null", r#"["pm", "pw1"]"#, ""]);
}

#[test]
fn a_node_that_is_not_in_sync_is_named_with_exit_code_3() {
    let mut late = health(ON_MASTER);
    let span = &mut late["nodes"]["pw1"]["status"]["last_sync_integrity"];
    span["date_start_master"] = "2026-11-23T10:32:16.154Z".into();
    span["date_end_master"] = "2026-11-23T10:32:17.654000Z".into();
    let daemon = master(late);
    for line in ["-l", "-i", "-i more", "-l --json", "-i --json"] {
        let output = run_in(daemon.home(), line);
        assert_eq!(output.exit, Exit::NotInSync, "{line}");
        let expected = "1 of 2 in sync, 1 behind.\nNot in sync: pw1: files were sent";
        assert!(output.err.starts_with(expected), "{line}: {}", output.err);
    }
    assert_eq!(run_in(daemon.home(), "-l -fn pm").exit, Exit::InSync);
    assert!(run_in(daemon.home(), "-i more").out.contains("synchronization: 1.500s (2026-11-23T10:32:16.154Z - "));
}

/// The health of a master of ours with a worker that is away.
fn with_verdicts() -> Value {
    let mut health = health(ON_MASTER);
    let node = |name: &str, role: &str, state: &str, since: Value, reason: Value, remedy: Value| {
        json!({"name": name, "type": role, "version": "4.14.7", "ip": "127.0.0.1", "state": state, "since": since,
            "reason": reason, "remedy": remedy})
    };
    let since = json!("2026-11-23T10:31:00.000000Z");
    health["verdicts"] = json!([
        node("w3", "worker", "away", since.clone(), json!("it closed the connection"), json!("look there")),
        node("pm", "master", "in sync", since.clone(), Value::Null, Value::Null),
        node("pw1", "worker", "in sync", since, Value::Null, Value::Null),
    ]);
    health
}

/// Case 2.1: a node that is away is listed with its state, since when, why, and what to do.
#[test]
fn a_node_that_is_away_is_listed_with_exit_code_3() {
    let daemon = master(with_verdicts());
    let shown = run_in(daemon.home(), "-l");
    let table = "STATE    NAME  TYPE    VERSION  ADDRESS    SINCE (UTC)          \n\
                 away     w3    worker  4.14.7   127.0.0.1  2026-11-23 10:31:00  \n\
                 in sync  pm    master  4.14.7   127.0.0.1  2026-11-23 10:31:00  \n\
                 in sync  pw1   worker  4.14.7   127.0.0.1  2026-11-23 10:31:00  \n";
    let remarks = "2 of 3 in sync, 1 away.\n\
                   Not connected: w3: it closed the connection (since 2026-11-23 10:31:00 UTC).\n    Remedy: look there.\n";
    assert_eq!(shown, Output { out: table.to_owned(), err: remarks.to_owned(), exit: Exit::NotInSync });
    let brief = run_in(daemon.home(), "-i").out;
    let lines: Vec<&str> = brief.lines().skip(2).collect();
    assert_eq!(lines[0], "Last completed synchronization for connected nodes (1):");
    assert_eq!(lines[1], "    away     w3 (127.0.0.1): since 2026-11-23 10:31:00 UTC.");
    assert!(lines[3].starts_with("    in sync  pw1 (127.0.0.1): Integrity check: 2026"), "{brief}");
    let more = run_in(daemon.home(), "-i more").out;
    let away = "\n    away     w3 (127.0.0.1)\n        Since: 2026-11-23 10:31:00 UTC\n        Reason: it closed the \
                connection\n        Remedy: look there\n        Version: 4.14.7\n        Type: worker\n\n";
    assert!(more.contains(away), "{more}");

    let document = |line| serde_json::from_str::<Value>(&run_in(daemon.home(), line).out).unwrap();
    let told = document("-i --json");
    assert_eq!(
        (&told["in_sync"], &told["n_connected_nodes"], &told["verdicts"]),
        (&json!(false), &json!(1), &Value::Null)
    );
    assert_eq!(
        told["nodes"]["w3"],
        json!({"info": {"name": "w3", "type": "worker", "version": "4.14.7", "ip": "127.0.0.1"}, "in_sync": false,
            "state": "away", "since": "2026-11-23T10:31:00.000000Z", "reason": "it closed the connection",
            "remedy": "look there"})
    );
    assert_eq!(document("-l --json")[0]["state"], "away");
}

/// Case 2.8: nobody knows how many agents there are, and all else is shown.
#[test]
fn a_database_that_does_not_answer_costs_no_more_than_the_number_of_agents() {
    let mut health = with_verdicts();
    ["pm", "pw1"].iter().for_each(|name| health["nodes"][name]["info"]["n_active_agents"] = Value::Null);
    let daemon = master(health);
    let more = run_in(daemon.home(), "-i more").out;
    assert_eq!(more.matches("Active agents: n/a (the agent database does not answer)\n").count(), 2, "{more}");
    assert!(run_in(daemon.home(), "-l").out.lines().count() == 4);
}

#[test]
fn json_has_a_verdict_for_each_node() {
    let daemon = master(health(ON_MASTER));
    let list: Value = serde_json::from_str(&run_in(daemon.home(), "-l --json").out).unwrap();
    let verdict = json!({"in_sync": true, "state": "in sync", "since": null, "reason": null, "remedy": null});
    let with_verdict = |mut node: Value| {
        verdict.as_object().unwrap().iter().for_each(|(name, value)| node[name] = value.clone());
        node
    };
    let node = |name, role| with_verdict(json!({"name": name, "type": role, "version": "4.14.7", "ip": "127.0.0.1"}));
    assert_eq!(list, json!([node("pm", "master"), node("pw1", "worker")]));
    let mut expected = health(ON_MASTER);
    expected["in_sync"] = true.into();
    for name in ["pm", "pw1"] {
        expected["nodes"][name] = with_verdict(expected["nodes"][name].take());
    }
    let document = run_in(daemon.home(), "-i --json").out;
    assert_eq!(serde_json::from_str::<Value>(&document).unwrap(), expected);
    assert!(document.starts_with("{\n  \"") && document.ends_with("}\n"));
    let missing: Value = serde_json::from_str(&run_in(daemon.home(), "-i --json -fn nosuch").out).unwrap();
    assert_eq!(missing, json!({"n_connected_nodes": 0, "nodes": {}, "in_sync": false}));
}

#[test]
fn what_cannot_be_asked_is_exit_code_1_and_a_worker_without_master_is_3() {
    let nowhere = tempfile::tempdir().unwrap();
    let remedy = format!("\nRemedy: no Wazuh installation at {}; name ", nowhere.path().display());
    assert!(run_in(nowhere.path(), "-l").err.contains(&remedy));
    std::fs::create_dir(nowhere.path().join("etc")).unwrap();
    for line in ["-l", "-i", "-i more"] {
        let output = run_in(nowhere.path(), line);
        assert!(output.err.starts_with("ERROR: Error 3012 - Cluster is not running: "), "{}", output.err);
        assert!(output.err.contains("\nRemedy: start it, with 'systemctl start wazuh-clusterd' or "));
        assert_eq!((output.out.as_str(), output.exit), ("", Exit::CannotAsk));
    }
    assert!(run_in(nowhere.path(), "-d -l").err.contains("Caused by: No such file or directory"));
    let document: Value = serde_json::from_str(&run_in(nowhere.path(), "-l --json").out).unwrap();
    assert_eq!(document["error"]["code"], 3012);

    let lonely = run_in(refusing(3023).home(), "-l");
    assert!(
        lonely.err.starts_with("ERROR: Error 3023 - Worker node is not connected to master\nRemedy: check <nodes>")
    );
    assert_eq!(lonely.exit, Exit::NotInSync);
    assert_eq!(run_in(refusing(2005).home(), "-i").exit, Exit::CannotAsk);

    let odd = FakeDaemon::start(|_| vec![Reply::Answer(Command::Ok, b"[[[]]]".to_vec())]);
    for line in ["-l", "-i", "-i --json"] {
        let output = run_in(odd.home(), line);
        assert_eq!(output.exit, Exit::CannotAsk, "{line}");
    }
    assert!(run_in(odd.home(), "-l").err.contains("cannot parse the daemon's answer to get_health"));
}

#[test]
fn agents_are_a_document_too_and_an_original_master_does_not_know_them() {
    let daemon = master(health(ON_MASTER));
    let list: Value = serde_json::from_str(&run_in(daemon.home(), "-a --json").out).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 4);
    let none = Value::Null;
    assert_eq!(
        list[0],
        json!({"id": "000", "name": "localhost", "ip": "127.0.0.1", "status": "active", "version": none, "node_name": "unknown"})
    );
    let original =
        FakeDaemon::start(|_| vec![Reply::Answer(Command::Err, b"unknown command 'b'get_agents''".to_vec())]);
    let output = run_in(original.home(), "-a");
    assert!(
        output.err.contains("cannot list agents") && output.err.contains("Remedy: it is a stock master"),
        "{}",
        output.err
    );
    assert_eq!(output.exit, Exit::CannotAsk);
}

#[test]
fn wrong_usage_is_exit_code_2_and_names_the_option() {
    let output = run(["-x".into()]);
    assert_eq!(output.err, "ERROR: the option -x is not known\nTry 'cluster_control -h'.\n");
    assert_eq!((output.out.as_str(), output.exit), ("", Exit::WrongUsage));
}

#[test]
fn help_needs_no_daemon() {
    for line in ["", "-h", "-u", "-V"] {
        let output = run_in(Path::new("/nonexistent"), line);
        assert_eq!((output.err.as_str(), output.exit), ("", Exit::InSync), "{line}");
        assert!(!output.out.is_empty());
    }
}
