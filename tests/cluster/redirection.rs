//! Requests that programs of one node make to programs of another.

use std::{sync::mpsc, thread, time::Duration};

use clusterd::system::clock::FakeClock;
use serde_json::{Value, json};

use crate::support::{LocalProgram, Node, TestHome, eventually, manager_program};

const ADD: &str = r#"{"daemon_name":"authd","message":{"arguments":{"name":"agent-d","ip":"any"},"function":"add"}}"#;
const ADDED: &str = r#"{"error":0,"data":{"id":"004","name":"agent-d","ip":"any","key":"00"}}"#;

/// A master whose registrar answers as `registrar` says, and a connected worker.
fn cluster(registrar: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> (Node, Node, FakeClock) {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    manager_program(&home.path("queue/sockets/auth"), registrar);
    let settings = json!({"registration": "authd"});
    let master = Node::master(home, &clock, settings.clone());
    let worker = Node::worker(TestHome::new(), &clock, settings, "w1", master.port());
    eventually("the worker connects", || !LocalProgram::of(&worker).ask("get_nodes", "{}").field.starts_with("err"));
    (master, worker, hand)
}

#[test]
fn a_program_in_c_gets_the_answer_and_nothing_before_it() {
    let (_master, worker, _hand) = cluster(|request| {
        let request: Value = serde_json::from_str(request).unwrap();
        assert_eq!(request, json!({"function": "add", "arguments": {"name": "agent-d", "ip": "any"}}));
        Some(ADDED.to_owned())
    });
    let got = LocalProgram::of(&worker).ask("sendsync", ADD);
    assert_eq!((got.field.as_str(), got.body.as_str()), ("ok ---------", ADDED));
    assert_ne!(got.counter, 7, "it is a request of the daemon's own");

    let mut program = LocalProgram::of(&worker);
    let first = program.ask("sendasync", ADD);
    assert_eq!((first.counter, first.body.as_str()), (7, "Added request to sendsync requests queue"));
    assert_eq!(program.next().body, ADDED);
}

#[test]
fn err_is_said_only_when_nothing_was_done() {
    let (master, worker, _hand) = cluster(|request| (!request.contains("die")).then(|| ADDED.to_owned()));
    let ask = |request: &str| LocalProgram::of(&worker).ask("sendsync", request);
    let got = ask(r#"{"daemon_name":"nope","message":{}}"#);
    assert_eq!(
        (got.field.as_str(), got.body.as_str()),
        ("err --------", "Error 1014 - Error communicating with socket: 'nope'")
    );
    let got = ask(r#"{"daemon_name":"task-manager","message":{}}"#);
    assert_eq!(got.field, "err --------");
    assert!(got.body.contains("1013") && got.body.contains("start wazuh-modulesd"), "{}", got.body);
    // The registrar has the request and dies: it may have done it, so the program must not ask again.
    let got = ask(&ADD.replace("agent-d", "die"));
    let answer: Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((got.field.as_str(), &answer["error"]), ("ok ---------", &json!(9001)));
    assert!(answer["message"].as_str().unwrap().contains("before it answered"), "{answer}");

    drop(master);
    eventually("the loss is noticed", || {
        let got = LocalProgram::of(&worker).ask("sendsync", ADD);
        got.field == "err --------" && got.body.contains("3023")
    });
}

#[test]
fn a_slow_program_holds_up_only_its_own_requests_which_keep_their_order() {
    let (told, seen) = mpsc::channel();
    let (master, worker, _hand) = cluster(move |request| {
        told.send(request.to_owned()).unwrap();
        Some(ADDED.to_owned())
    });
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    manager_program(&master.home.path("queue/tasks/task"), move |_| {
        // It ends with the test at the latest.
        let _ = gate.lock().unwrap().recv();
        Some("done".into())
    });
    let mut slow = LocalProgram::of(&worker);
    slow.send("sendsync", br#"{"daemon_name":"task-manager","message":{"command":"upgrade"}}"#);
    let mut program = LocalProgram::of(&worker);
    for n in 0..30 {
        program.send("sendsync", format!(r#"{{"daemon_name":"authd","message":"{n}"}}"#).as_bytes());
    }
    for n in 0..30 {
        assert_eq!(program.next().body, ADDED);
        assert_eq!(seen.recv_timeout(Duration::from_secs(30)).unwrap(), n.to_string());
    }
    release.send(()).unwrap();
    assert_eq!(slow.next().body, "done");
}

#[test]
fn losing_the_master_gives_every_waiting_program_an_error_and_cuts_none() {
    let (tell, asked) = mpsc::channel();
    let (master, worker, _hand) = cluster(move |_| {
        // Whoever is still there to hear it.
        let _ = tell.send(());
        loop {
            thread::park();
        }
    });
    let mut programs = [LocalProgram::of(&worker), LocalProgram::of(&worker)];
    programs[0].send("sendsync", ADD.as_bytes());
    asked.recv_timeout(Duration::from_secs(30)).expect("the registrar has the request");
    programs[1].send("sendasync", ADD.as_bytes());
    let mut gone = LocalProgram::of(&worker);
    gone.send("sendsync", ADD.as_bytes());
    drop(gone);
    assert_eq!(programs[1].next().body, "Added request to sendsync requests queue");
    drop(master);
    let got = programs[0].next();
    assert_eq!(got.field, "ok ---------");
    assert!(got.body.contains(r#""error":9001"#), "it may have been done: {}", got.body);
    // The master may have lost it, refused it because it stopped, or not got it any more.
    let got = programs[1].next();
    assert_eq!(got.field, "err --------", "{}", got.body);
    for program in &mut programs {
        assert_eq!(program.ask("echo", "still here").body, "still here");
    }
}

#[test]
fn the_database_of_the_master_is_asked_directly() {
    let (_master, worker, _hand) = cluster(|_| None);
    let request = json!({"daemon_name": "wazuh-db", "message": "global sql SELECT name FROM agent WHERE id = 0"});
    let got = LocalProgram::of(&worker).ask("sendsync", request.to_string());
    assert!(got.body.starts_with(r#"ok [{"name":"#), "{}", got.body);
    let got = LocalProgram::of(&worker).ask("sendsync", r#"{"daemon_name":"wazuh-db","message":"nonsense"}"#);
    assert!(got.field.starts_with("ok ") && got.body.starts_with("err "), "{got:?}");
}

#[test]
fn what_is_not_for_this_node_is_unknown_there() {
    let (master, worker, _hand) = cluster(|_| None);
    for command in ["sendsync", "sendasync", "sendrreload"] {
        let got = LocalProgram::of(&master).ask(command, ADD);
        assert_eq!((got.counter, got.body), (7, format!("unknown command 'b'{command}''")));
    }
    let got = LocalProgram::of(&worker).ask("dapi_fwd", "w1 {}");
    assert_eq!(got.body, "unknown command 'b'dapi_fwd''");
}

#[test]
fn a_file_is_sent_and_the_program_is_told_what_became_of_it() {
    let (master, worker, _hand) = cluster(|_| None);
    let content = vec![b'x'; 700_000];
    master.home.write("queue/cluster/report.bin", &content);
    let path = master.home.path("queue/cluster/report.bin").display().to_string();
    let mut program = LocalProgram::of(&master);
    assert_eq!(program.ask("send_file", format!("{path} w1")).body, "Forwarding file to master node");
    let (got, text) = program.string();
    assert_eq!((got.field.as_str(), text.as_str()), ("send_f_res -", "700000"));
    assert_eq!(worker.home.read("queue/cluster/report.bin"), Some(content));

    // A master takes no files from workers, whatever they are.
    worker.home.write("queue/cluster/own.bin", "x");
    let path = worker.home.path("queue/cluster/own.bin").display().to_string();
    let mut program = LocalProgram::of(&worker);
    assert_eq!(program.ask("send_file", format!("{path} m")).body, "Forwarding file to master node");
    let (_, text) = program.string();
    assert!(text.contains("__wazuh_exception__") && text.contains("Write path not allowed"), "{text}");

    let error = |node: &Node, payload: &str| LocalProgram::of(node).ask("send_file", payload).body;
    assert!(error(&master, "foo bar").contains(r#""code": 3022, "extra_message": null"#));
    assert!(error(&master, "/etc/passwd w1").contains("is not a file below"));
    assert!(error(&master, "foo").contains("1000") && error(&master, "a b c").contains("1000"));
}
