//! Registration at `queue/sockets/auth`: by programs that behave, by such that do not, and through a kill.

use std::{
    collections::BTreeSet,
    os::unix::{net::UnixListener, process::ExitStatusExt},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Home, Program, clusterd, finish, register, until};

fn add(name: &str, more: &str) -> String {
    format!(r#"{{"function":"add","arguments":{{"name":"{name}","ip":"any"{more}}}}}"#)
}

/// A master's home with the groups `web` and `db`.
fn master() -> Home {
    let home = Home::master();
    for group in ["default", "web", "db"] {
        home.write(&format!("etc/shared/{group}/agent.conf"), "");
    }
    home
}

/// The id that was given.
fn id_of(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["data"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn a_new_agent_is_on_the_worker_at_its_next_check_and_one_that_is_removed_is_gone() {
    let (master, slow) = (master(), json!({"intervals": {"master": {"recalculate_integrity": 3600}}}));
    master.settings(slow);
    master.write("etc/client.keys", "001 old any k1\n");
    let worker = Home::worker("w1", master.address);
    let _master = Daemon::start(&master);
    let _worker = Daemon::start(&worker);
    worker.wait_for_file("etc/client.keys", "001 old any k1\n");
    // The master would look at its files again in an hour.
    let answer = register(&master, &add("new", r#","key":"k2","groups":"web""#)).unwrap();
    assert_eq!(answer, r#"{"error":0,"data":{"id":"002","name":"new","ip":"any","key":"k2"}}"#);
    worker.wait_for_file("etc/client.keys", "001 old any k1\n002 new any k2\n");
    let purge = r#"{"function":"remove","arguments":{"id":"001","purge":true}}"#;
    assert_eq!(register(&master, purge).unwrap(), r#"{"error":0,"data":"Agent deleted successfully."}"#);
    worker.wait_for_file("etc/client.keys", "002 new any k2\n");

    // A worker registers nobody and tells its configuration.
    let refused = r#"{"error":9015,"message":"Cannot execute this request on a worker node"}"#;
    for request in [&*add("other", ""), "{"] {
        assert_eq!(register(&worker, request).unwrap(), refused);
    }
    assert!(register(&worker, "getconfig auth").unwrap().starts_with(r#"ok {"auth":{"#));
}

#[test]
fn programs_that_misbehave_keep_nobody_waiting() {
    let home = master();
    let _daemon = Daemon::start(&home);
    // They say half of something, or nothing.
    let mut silent: Vec<Program> = (0..100).map(|_| Program::registrar(&home).unwrap()).collect();
    for (number, program) in silent.iter_mut().enumerate() {
        program.write([&b"\x40\x00\x00\x00{\"fun"[..], b"\x40\x00", b""][number % 3]).unwrap();
    }
    let begun = Instant::now();
    for number in 0..20 {
        id_of(&register(&home, &add(&format!("agent{number}"), "")).unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // One that does not wait for its answer is registered all the same, once.
    Program::registrar(&home).unwrap().send(&add("hurried", "")).unwrap();
    until("it is registered", || {
        String::from_utf8(home.read("etc/client.keys").unwrap()).unwrap().contains(" hurried ").then_some(())
    });
    assert!(register(&home, &add("hurried", "")).unwrap().contains("9008"));
    // Lengths that cannot be: closed without an answer. So is who says nothing for too long.
    for length in [0_u32, 65_537, u32::MAX] {
        let mut program = Program::registrar(&home).unwrap();
        program.write(&length.to_le_bytes()).unwrap();
        assert!(program.receive().is_err(), "{length}");
    }
    assert!(silent.iter_mut().all(|program| program.receive().is_err()));
    let largest = add("large", &format!(r#","x":"{}""#, "x".repeat(65_000)));
    assert!(register(&home, &largest).unwrap().starts_with(r#"{"error":0"#));
}

#[test]
fn a_socket_that_another_daemon_serves_is_named_with_the_remedy() {
    let home = Home::master();
    home.write("queue/sockets/x", "");
    let _other = UnixListener::bind(home.path("queue/sockets/auth")).unwrap();
    let mut command = clusterd(&home);
    command.args(["-f", "-r"]);
    assert_eq!(finish(command).status.code(), Some(1));
    let line = home.wait_for("the registrar cannot be served: ");
    assert!(line.contains("queue/sockets/auth") && line.contains("\"registration\": \"authd\""), "{line}");
    // With that word, the other one is used.
    home.settings(json!({"registration": "authd"}));
    let _daemon = Daemon::start(&home);
}

#[test]
fn a_wrong_auth_block_is_named_before_anything_runs() {
    let home = Home::master();
    let conf = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
    home.write("etc/ossec.conf", format!("{conf}<ossec_config><auth><purge>perhaps</purge></auth></ossec_config>"));
    let mut command = clusterd(&home);
    command.arg("-t");
    let output = finish(command);
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("<purge> of <auth> is not yes or no") && told.contains("write yes or no"), "{told}");
}

#[test]
fn what_was_answered_survives_a_kill_with_its_groups() {
    let home = master();
    let answered = Mutex::new(BTreeSet::new());
    let names = AtomicUsize::new(0);
    for round in 1..=4 {
        let daemon = Daemon::start(&home);
        let (dead, before) = (AtomicBool::new(false), answered.lock().unwrap().len());
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !dead.load(Ordering::Relaxed) {
                        let name = format!("agent{}", names.fetch_add(1, Ordering::Relaxed));
                        // After the kill nobody answers.
                        let Ok(answer) = register(&home, &add(&name, r#","groups":"web,db""#)) else { return };
                        answered.lock().unwrap().insert((id_of(&answer), name));
                    }
                });
            }
            until("some registrations", || (answered.lock().unwrap().len() >= before + 50 * round).then_some(()));
            daemon.kill();
            dead.store(true, Ordering::Relaxed);
        });
    }
    let _daemon = Daemon::start(&home);
    let keys = String::from_utf8(home.read("etc/client.keys").unwrap()).unwrap();
    let there: BTreeSet<(String, String)> = keys
        .lines()
        .map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .map(|mut parts| (parts.remove(0), parts.remove(0)))
        .collect();
    assert_eq!(there.len(), keys.lines().count(), "no id and no name is there twice");
    let answered = answered.into_inner().unwrap();
    assert!(answered.is_subset(&there), "{:?}", answered.difference(&there).collect::<Vec<_>>());
    let mut database = Program::database(&home);
    let groups =
        "global sql SELECT count(*) AS n FROM agent WHERE id > 0 AND `group` = 'web,db' AND internal_key IS NOT NULL";
    until("all rows with their groups", || (database.rows(groups)[0]["n"] == there.len()).then_some(()));
    assert_eq!(database.rows("global sql SELECT count(*) AS n FROM agent WHERE id > 0")[0]["n"], there.len());
}

#[test]
fn a_master_that_stops_answers_what_it_has_begun() {
    let home = master();
    let mut daemon = Daemon::start(&home);
    let answered = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for client in 0..8 {
            let (home, answered) = (&home, &answered);
            scope.spawn(move || {
                for number in 0.. {
                    let Ok(answer) = register(home, &add(&format!("agent-{client}-{number}"), "")) else { return };
                    if answer.contains(r#""error":9001"#) {
                        return;
                    }
                    answered.lock().unwrap().insert(id_of(&answer));
                }
            });
        }
        until("some registrations", || (answered.lock().unwrap().len() > 100).then_some(()));
        daemon.signal(Signal::SIGTERM);
    });
    assert_eq!(daemon.wait().signal(), Some(Signal::SIGTERM as i32));
    let keys = String::from_utf8(home.read("etc/client.keys").unwrap()).unwrap();
    let ids: BTreeSet<String> = keys.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    assert_eq!(answered.into_inner().unwrap(), ids, "whoever is registered knows it");
}
