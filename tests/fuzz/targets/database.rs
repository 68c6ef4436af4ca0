//! Requests to the agent database, as programs and other nodes send them (`spec/agentdb.md` 2, 6, 9).

use std::fs;

use clusterd::{
    agents::embedded::{Answer, Database},
    config::NodeType,
    sockets::frame::LONGEST,
    system::clock::Clock,
};

use super::{home::directory, input::Input};

/// Requests that are made of one input.
const MOST: usize = 20;

/// The first byte chooses the role, each part is a request.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let role = input.choice(&[NodeType::Master, NodeType::Worker]);
    let directory = directory();
    let mut database = Database::open(&directory.path().join("global.db"), role, Clock::real()).expect("a new one");
    for request in ["insert-agent {\"id\":1,\"name\":\"a\",\"date_add\":1}", "insert-agent-group default"] {
        assert_eq!(database.answer(&format!("global {request}")), Answer::Ok(String::new()));
    }
    for _ in 0..MOST {
        if input.is_over() {
            break;
        }
        let request = input.text();
        if !takes_its_time(&request) {
            check(database.answer(&request));
        }
    }
    let files = fs::read_dir(directory.path()).expect("it is there").flatten();
    let names: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().all(|name| name.starts_with("global.db")), "{names:?}");
    let whole = Answer::Ok(r#"[{"integrity_check":"ok"}]"#.to_owned());
    let checked = database.answer("global sql PRAGMA integrity_check");
    assert!(checked == whole || matches!(checked, Answer::Err(_)), "{checked:?}");
}

/// A statement without an end is given up after ten seconds, and one may ask the database to sleep.
fn takes_its_time(request: &str) -> bool {
    let request = request.to_ascii_lowercase();
    request.contains("sleep") || request.contains("with")
}

fn check(answer: Answer) {
    let complete = match &answer {
        Answer::Ok(payload) | Answer::Due(payload) if payload.len() < LONGEST - 8 => payload.clone(),
        _ => String::new(),
    };
    if complete.starts_with(['[', '{']) {
        let read = serde_json::from_str::<serde_json::Value>(&complete);
        assert!(read.is_ok(), "no JSON: {complete}");
    }
    for frame in answer.frames() {
        assert!(frame.len() <= LONGEST || frame.starts_with(b"{"));
    }
}
