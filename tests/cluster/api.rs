//! Requests of the API, which programs of one node make and another executes.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use clusterd::{limits, system::clock::FakeClock, wire::ErrorObject};
use serde_json::json;

use crate::support::{LocalProgram, Node, SECOND, TestHome, eventually};

/// A cluster whose nodes execute requests with `script`, and the hand of its clock.
fn cluster(script: &str) -> (Node, Node, FakeClock) {
    let (clock, hand) = FakeClock::new();
    let start = |name: &str, port| {
        let home = TestHome::new();
        let program = executor(&home, &format!("node={name}\n{script}"));
        let settings = json!({"distributed_api": {"executor": [program, "an argument"]}});
        match port {
            None => Node::master(home, &clock, settings),
            Some(port) => Node::worker(home, &clock, settings, name, port),
        }
    };
    let master = start("m", None);
    let worker = start("w1", Some(master.port()));
    eventually("the worker connects", || !LocalProgram::of(&worker).ask("get_nodes", "{}").field.starts_with("err"));
    (master, worker, hand)
}

fn executor(home: &TestHome, script: &str) -> String {
    home.write("executor", format!("#!/bin/sh\n{script}\n"));
    let path = home.path("executor");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

const QUEUED: &str = "Added request to API requests queue";

#[test]
fn a_request_is_executed_where_it_belongs_and_the_answer_comes_back() {
    let (master, worker, _hand) =
        cluster(r#"printf '{"on": "%s", "argument": "%s", "asked": %s}' $node "$1" "$(cat)""#);
    let answer = |on: &str, asked: &str| format!(r#"{{"on": "{on}", "argument": "an argument", "asked": {asked}}}"#);
    for (node, command, payload, first, on) in [
        (&master, "dapi", r#"{"f": 1}"#, QUEUED, "m"),
        (&worker, "dapi", r#"{"f": 2}"#, QUEUED, "m"),
        (&master, "dapi_fwd", r#"w1 {"f": 3}"#, "Request forwarded to worker node", "w1"),
    ] {
        let mut program = LocalProgram::of(node);
        let got = program.ask(command, payload);
        assert_eq!((got.counter, got.body.as_str()), (7, first));
        let (got, text) = program.string();
        assert_eq!((got.field.as_str(), got.body.as_str()), ("dapi_res ---", "11"));
        assert_eq!(text, answer(on, payload.trim_start_matches("w1 ")));
    }
    let got = LocalProgram::of(&master).ask("dapi_fwd", "nonode {}");
    assert!(got.field.starts_with("err ") && got.body.contains(r#""code": 3022, "extra_message": null"#), "{got:?}");
}

#[test]
fn large_requests_and_answers_pass() {
    let (_master, worker, _hand) = cluster("cat");
    let request = format!(r#"{{"file": "{}"}}"#, "x".repeat(6 << 20));
    let mut program = LocalProgram::of(&worker);
    assert_eq!(program.ask("dapi", &request).body, QUEUED);
    assert!(program.string().1 == request);
}

#[test]
fn a_refusal_has_the_words_of_the_executor() {
    let (master, worker, _hand) = cluster(
        r#"case "$(cat)" in
           *refuse*) echo "Error 1000 - Function 'status' is not exposed" >&2; exit 1;;
           *silent*) exit 3;;
           esac"#,
    );
    let refusal = |node: &Node, command: &str, payload: &str| {
        let mut program = LocalProgram::of(node);
        program.ask(command, payload);
        let got = program.next();
        assert_eq!(got.field, "dapi_err ---");
        got.body
    };
    for (node, command, to) in [(&master, "dapi", ""), (&worker, "dapi", ""), (&master, "dapi_fwd", "w1 ")] {
        let said = |payload: &str| refusal(node, command, &format!("{to}{payload}"));
        assert_eq!(said(r#"{"f": "refuse"}"#), "Error 1000 - Function 'status' is not exposed");
        for (payload, status) in [(r#"{"f": "silent"}"#, 3), ("{}", 0)] {
            let error = ErrorObject::from_json(said(payload).as_bytes()).expect("what the framework understands");
            assert!(error.message().ends_with(&format!("ended with exit status: {status} and without an answer")));
        }
        assert_eq!(said("not json"), "Expecting value: line 1 column 1 (char 0)");
    }
}

/// Case 4.4: the framework reads nothing but JSON.
#[test]
fn without_an_executor_the_answer_says_so() {
    let cases = [
        (json!("none"), "this node has no program that executes requests of the API", "set distributed_api.executor"),
        (
            json!("auto"),
            "this node cannot execute requests of the API: there is no ",
            "install the Wazuh manager on it",
        ),
    ];
    for (executor, text, remedy) in cases {
        let (clock, _hand) = FakeClock::new();
        let master = Node::master(TestHome::new(), &clock, json!({"distributed_api": {"executor": executor}}));
        let mut program = LocalProgram::of(&master);
        assert_eq!(program.ask("dapi", "{}").body, QUEUED);
        let got = program.next();
        assert_eq!(got.field, "dapi_err ---");
        let error = ErrorObject::from_json(got.body.as_bytes()).expect("what the framework understands");
        assert_eq!(error.code, 1000);
        assert!(error.message().contains(text), "{error:?}");
        assert!(error.remedy.as_deref().unwrap().starts_with(remedy), "{error:?}");
    }
}

/// Waits until the process has written its number.
fn number(home: &TestHome) -> String {
    let mut number = None;
    eventually("the executor runs", || {
        number = home.read("pid").map(|bytes| String::from_utf8(bytes).unwrap()).filter(|text| text.ends_with('\n'));
        number.is_some()
    });
    number.unwrap().trim().to_owned()
}

/// Whether a process runs: one that nobody has waited for yet does not.
fn runs(number: &str) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(number).join("stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn an_executor_that_hangs_is_ended_with_all_that_it_started() {
    let (master, _worker, hand) = cluster("sleep 1000 & echo $! > pid; wait");
    let mut program = LocalProgram::of(&master);
    program.ask("dapi", "{}");
    let child = number(&master.home);
    hand.advance(199 * SECOND);
    assert!(runs(&child));
    // No later than that: by this clock the program is silent, and is left at 240 s.
    hand.advance(2 * SECOND);
    let got = program.next();
    eventually("it is ended", || !runs(&child));
    assert_eq!(got.field, "dapi_err ---");
    let error = ErrorObject::from_json(got.body.as_bytes()).expect("what the framework understands");
    assert_eq!(error.to_string(), "Error 3021 - the executor did not answer within 200 s");
}

#[test]
fn an_executor_ends_with_whoever_asked_and_with_the_node() {
    let (master, _worker, _hand) = cluster("echo $$ > pid; exec sleep 1000");
    let mut program = LocalProgram::of(&master);
    program.ask("dapi", "{}");
    let first = number(&master.home);
    drop(program);
    eventually("it ends with who asked", || !runs(&first));
    std::fs::remove_file(master.home.path("pid")).unwrap();
    let mut program = LocalProgram::of(&master);
    program.ask("dapi", "{}");
    let second = number(&master.home);
    let begun = Instant::now();
    master.stop();
    assert!(!runs(&second) && begun.elapsed() < Duration::from_secs(10));
}

/// Case 4.5: as many as the original takes, from programs of both nodes.
#[test]
fn many_requests_at_once_wait_their_turn_and_are_all_answered() {
    let (master, worker, _hand) = cluster("cat");
    let ask = |node: &Node, numbers: std::ops::Range<u32>| {
        let ask = |number| {
            let (mut program, request) = (LocalProgram::of(node), format!(r#"{{"f": {number}}}"#));
            assert_eq!(program.ask("dapi", &request).body, QUEUED);
            (program, request)
        };
        numbers.map(ask).collect::<Vec<_>>()
    };
    let mut all = ask(&master, 0..40);
    all.extend(ask(&worker, 40..52));
    std::thread::scope(|scope| {
        for (mut program, request) in all {
            scope.spawn(move || {
                let (got, text) = program.string();
                assert_eq!((got.field.as_str(), text), ("dapi_res ---", request));
            });
        }
    });
}

/// Case 4.5: what hangs, and what waits behind it, is of one node.
#[test]
fn one_node_cannot_take_all_executors_of_others() {
    let (master, worker, _hand) = cluster(r#"case "$(cat)" in *hang*) exec sleep 1000;; *) echo '"done"';; esac"#);
    let mut greedy = LocalProgram::of(&master);
    for _ in 0..40 {
        assert_eq!(greedy.ask("dapi", r#"{"f": "hang"}"#).body, QUEUED);
    }
    let mut other = LocalProgram::of(&worker);
    assert_eq!(other.ask("dapi", "{}").body, QUEUED);
    assert_eq!(other.string().1, "\"done\"\n");
}

/// Case 4.5.
#[test]
fn a_request_that_waits_goes_with_whoever_asked() {
    let (master, _worker, _hand) = cluster(
        r#"asked="$(cat)"; echo "$asked" >> executed
           case "$asked" in *hang*) while [ ! -e go ]; do sleep 0.05; done;; esac
           echo '"done"'"#,
    );
    let executed = || String::from_utf8(master.home.read("executed").unwrap_or_default()).unwrap();
    let mut first = LocalProgram::of(&master);
    (0..3).for_each(|_| first.send("dapi", br#"{"f": "hang"}"#));
    eventually("three are executed", || executed().lines().count() == 3);
    let mut gone = LocalProgram::of(&master);
    assert_eq!(gone.ask("dapi", r#"{"f": "gone"}"#).body, QUEUED);
    gone.leave();
    let mut stays = LocalProgram::of(&master);
    assert_eq!(stays.ask("dapi", r#"{"f": "stays"}"#).body, QUEUED);
    drop(first);
    assert_eq!(stays.string().1, "\"done\"\n");
    assert_eq!(executed().lines().skip(3).collect::<Vec<_>>(), [r#"{"f": "stays"}"#]);
}

/// Case 4.5: a full queue refuses in the form of case 4.4.
#[test]
fn in_a_full_queue_the_youngest_of_the_node_that_has_most_is_refused() {
    let (master, worker, _hand) = cluster(r#"case "$(cat)" in *hang*) exec sleep 1000;; *) echo '"done"';; esac"#);
    let mut greedy = LocalProgram::of(&master);
    let mut refused = Vec::new();
    // Some are executed, so the queue may be full a little later.
    for _ in 0..limits::API_WAITING + limits::API_EXECUTIONS {
        greedy.send("dapi", br#"{"f": "hang"}"#);
    }
    while refused.is_empty() {
        let got = greedy.next();
        refused.extend((got.field == "dapi_err ---").then_some(got.body));
    }
    let error = ErrorObject::from_json(refused[0].as_bytes()).expect("what the framework understands");
    assert!(error.message().contains("512 requests of the API wait already"), "{error:?}");
    assert_eq!(error.remedy.as_deref(), Some("ask again later"));
    let mut other = LocalProgram::of(&worker);
    assert_eq!(other.ask("dapi", "{}").body, QUEUED);
    assert_eq!(other.string().1, "\"done\"\n");
}
