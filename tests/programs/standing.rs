//! How the nodes stand, as a person sees it: who is away is missed until it is forgotten.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    support::{Daemon, Home, Peer, archive, control, finish, manifest, until},
    watch::{CTRL_C, on_terminal_of},
};

fn said(home: &Home, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = control(home, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// One of the nodes of `-l --json`.
fn listed(home: &Home, name: &str) -> Value {
    let nodes: Value = serde_json::from_str(&said(home, &["-l", "--json"]).1).unwrap();
    nodes.as_array().unwrap().iter().find(|node| node["name"] == name).cloned().unwrap_or_default()
}

/// Case 2.1: a worker is killed, and the master restarted. It is missed, with state, since when and why, until somebody
/// forgets it.
#[test]
fn a_worker_that_was_killed_is_missed_until_it_is_forgotten() {
    let master = Home::master();
    let running = Daemon::start(&master);
    let worker = Home::worker("w1", master.address);
    let victim = Daemon::start(&worker);
    until("both in sync", || (said(&master, &["-l"]).0 == Some(0)).then_some(()));
    let file = || master.read("queue/cluster-state/nodes.json").unwrap_or_default();
    until("the worker in the file", || String::from_utf8(file()).unwrap().contains("\"w1\"").then_some(()));
    let (code, _, refused) = said(&master, &["--forget", "w1"]);
    assert_eq!(code, Some(1));
    assert!(refused.starts_with("ERROR: ") && refused.contains("w1 is connected: stop it there first"), "{refused}");

    victim.kill();
    until("it is missed", || (listed(&master, "w1")["state"] == "away").then_some(()));
    let away = listed(&master, "w1");
    assert_eq!((&away["in_sync"], &away["version"]), (&json!(false), &json!("4.14.7")));
    let seen_by = |home: &Home| {
        for arguments in [&["-l"][..], &["-i"], &["-i", "more"], &["-l", "-fn", "w1"], &["-i", "-fn", "w1"]] {
            let (code, out, err) = said(home, arguments);
            assert_eq!(code, Some(3), "{arguments:?}: {err}");
            assert!(out.contains("away     w1 "), "{arguments:?}: {out}");
            assert!(err.contains("in sync, 1 away.\nNot connected: w1: it closed the connection, as when"), "{err}");
            assert!(
                err.contains(" UTC).\n    Remedy: see that it runs and reaches the master; if it is gone"),
                "{err}"
            );
        }
        let health: Value = serde_json::from_str(&said(home, &["-i", "--json"]).1).unwrap();
        assert_eq!((&health["in_sync"], &health["n_connected_nodes"]), (&json!(false), &json!(0)), "{health}");
        assert_eq!(health["nodes"]["w1"]["state"], "away");
    };
    seen_by(&master);

    // The master is killed, too, as soon as its file has it.
    until("the end of the connection in the file", || {
        String::from_utf8(file()).unwrap().contains("it closed the connection").then_some(())
    });
    running.kill();
    let running = Daemon::start(&master);
    assert_eq!(listed(&master, "w1"), away);
    seen_by(&master);
    assert_eq!(said(&master, &["--key-status"]).0, Some(3), "case 2.3: it may have another key");

    let (code, out, _) = said(&master, &["--forget", "w1"]);
    assert_eq!((code, &*out), (Some(0), "w1 is forgotten. If it connects again, it is known again.\n"));
    for arguments in [&["-l"][..], &["-i"], &["--key-status"]] {
        assert_eq!(said(&master, arguments).0, Some(0), "{arguments:?}");
    }
    let (code, _, unknown) = said(&master, &["--forget", "w1"]);
    assert_eq!(code, Some(3));
    assert!(unknown.starts_with("ERROR: Error 1730 - "), "{unknown}");
    running.stop();
    let _running = Daemon::start(&master);
    assert_eq!(listed(&master, "w1"), Value::Null);
}

/// A worker forgets nobody: only the master knows who there is.
#[test]
fn only_the_master_forgets() {
    let master = Home::master();
    let _running = Daemon::start(&master);
    let worker = Home::worker("w1", master.address);
    let _worker = Daemon::start(&worker);
    until("both in sync", || (said(&worker, &["-l"]).0 == Some(0)).then_some(()));
    let (code, _, err) = said(&worker, &["--forget", "w1"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("run it on the master"), "{err}");
}

/// A cluster of 40 nodes with names as people give them, of which one is away, and one behind.
struct Forty {
    master: Home,
    _running: Daemon,
    _workers: Vec<Peer>,
}

impl Forty {
    fn new() -> Self {
        let master = Home::master();
        let running = Daemon::start(&master);
        let name = |number: usize| format!("wazuh-worker-{number}");
        let mut workers: Vec<Peer> = (1..40).map(|number| Peer::join(master.address, &name(number))).collect();
        let none = archive(&[], &manifest(&[]));
        for (worker, number) in workers.iter_mut().zip(1..) {
            let surplus = [("etc/rules/own.xml", "etc/rules/", &b"own"[..])];
            let theirs = if number == 10 { archive(&[], &manifest(&surplus)) } else { none.clone() };
            assert_eq!(worker.check(&name(number), &theirs).0, "ok");
        }
        drop(workers.remove(6));
        let there = |state: &str, name: &str| listed(&master, name)["state"] == state;
        until("one away, one behind", || {
            (there("away", "wazuh-worker-7") && there("behind", "wazuh-worker-10")).then_some(())
        });
        until("all others in sync", || said(&master, &["-l"]).2.starts_with("38 of 40 in sync").then_some(()));
        Self { master, _running: running, _workers: workers }
    }
}

/// The rows of the last frame that was drawn, without colours.
fn last_frame(seen: &str) -> Vec<String> {
    let frames: Vec<&str> = seen.split("\x1b[H").collect();
    // The last may not be whole.
    let frame = frames[frames.len() - 2];
    let plain = |row: &str| {
        ["\x1b[K", "\x1b[J", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
            .iter()
            .fold(row.to_owned(), |row, code| row.replace(code, ""))
    };
    frame.lines().map(|row| plain(row.trim_end_matches('\r'))).collect()
}

/// Case 2.7: with 40 nodes on a terminal of 80 columns and 24 lines, the first screen has the sum, which are bad, since when
/// and why; the bad ones come first, and 2 before 10.
#[test]
fn forty_nodes_on_a_small_terminal_show_the_bad_ones_first() {
    let forty = Forty::new();
    let master = &forty.master;
    let (code, table, remarks) = said(master, &["-l"]);
    assert_eq!(code, Some(3));
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 41);
    assert!(rows.iter().all(|row| row.trim_end().len() <= 80), "{table}");
    let begin = [
        "STATE    NAME ",
        "away     wazuh-worker-7 ",
        "behind   wazuh-worker-10 ",
        "in sync  m ",
        "in sync  wazuh-worker-1 ",
        "in sync  wazuh-worker-2 ",
    ];
    for (row, begin) in rows.iter().zip(begin) {
        assert!(row.starts_with(begin), "{row}");
    }
    assert!(rows[40].starts_with("in sync  wazuh-worker-39 "), "{table}");
    assert!(remarks.starts_with("38 of 40 in sync, 1 away, 1 behind.\nNot connected: wazuh-worker-7: "), "{remarks}");
    assert!(!table.contains('\x1b'), "no colours off a terminal");

    for arguments in ["-l", "-i", "-i more"] {
        let watch = format!("{arguments} --watch 0.1");
        let drawn = |seen: &str| seen.matches("\x1b[H").count() > 3;
        let Some((seen, status)) = on_terminal_of("cols 80 rows 24", master, (&watch, "xterm", CTRL_C), drawn) else {
            return;
        };
        assert_eq!(status, Some(3), "{seen}");
        assert!(seen.contains("\x1b[31maway\x1b[0m  ") && !seen.contains("\x1b[31m\x1b"), "{seen}");
        let rows = last_frame(&seen);
        let screen = rows.join("\n");
        if std::env::var_os("SHOW").is_some() {
            println!("{arguments}\n{screen}\n");
        }
        assert_eq!(rows.len(), 24, "{screen}");
        let wide = rows.iter().find(|row| row.chars().count() > 80);
        assert_eq!(wide, None, "{screen}");
        assert_eq!(rows[2], "38 of 40 in sync, 1 away, 1 behind.");
        assert!(
            screen.contains("Not connected: wazuh-worker-7: ") && screen.contains("Not in sync: wazuh-worker-10: "),
            "{screen}"
        );
        let [away, behind] = ["away     wazuh-worker-7 ", "behind   wazuh-worker-10 "].map(|row| screen.find(row));
        assert!(away.is_some() && (away < behind || arguments == "-i more"), "{screen}");
    }
}

/// Nobody who says so gets colours.
#[test]
fn colours_can_be_unwanted() {
    let master = Home::master();
    let _running = Daemon::start(&master);
    let colours = |variable: &str| {
        let line =
            format!("{variable} {} --home {} -l", env!("CARGO_BIN_EXE_cluster_control"), master.path("").display());
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        let seen = String::from_utf8(finish(script).stdout).unwrap();
        assert!(seen.contains("in sync"), "{seen}");
        seen.contains('\x1b')
    };
    if Command::new("script").arg("--version").output().is_err() {
        return crate::support::skip("there is no script(1)");
    }
    assert!(colours(""));
    assert!(!colours("NO_COLOR=1"));
    assert!(!colours("TERM=dumb"));
}
