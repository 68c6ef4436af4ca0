use std::{fs, os::unix::fs::PermissionsExt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{
    fake::{FakeDaemon, Reply},
    *,
};
use crate::wire::{Class, ErrorObject, frame};

const FORWARDED: &[u8] = b"Sent request to master node";

fn ask(daemon: &FakeDaemon) -> Result<Vec<u8>, AskError> {
    LocalClient::new(daemon.socket()).with_time_limit(Duration::from_secs(5)).ask(Command::Nodes, b"{}")
}

/// The outcome of asking a daemon that replies in the given way.
fn outcome(replies: fn() -> Vec<Reply>) -> Result<Vec<u8>, AskError> {
    ask(&FakeDaemon::start(move |_| replies()))
}

#[test]
fn a_direct_answer_is_the_result() {
    assert_eq!(outcome(|| vec![Reply::Answer(Command::Ok, b"[1]".to_vec())]).unwrap(), b"[1]");
}

#[test]
fn a_worker_delivers_the_result_later_and_hears_that_it_arrived() {
    let daemon = FakeDaemon::start(|_| {
        vec![
            Reply::Answer(Command::Ok, FORWARDED.to_vec()),
            Reply::Request(77, Command::ControlResult, b"[2]".to_vec()),
        ]
    });
    assert_eq!(ask(&daemon).unwrap(), b"[2]");
    let heard = daemon.finish();
    let received = heard.last().unwrap();
    assert_eq!((received.counter, received.command.name()), (77, &b"ok"[..]));
    assert_eq!(received.body, b"Response received");
}

#[test]
fn errors_come_from_the_daemon_and_from_the_master_behind_it() {
    fn unknown() -> Vec<u8> {
        ErrorObject::new(Class::NotFound, 1730).to_json().into_bytes()
    }
    let direct = outcome(|| vec![Reply::Answer(Command::Err, unknown())]).unwrap_err();
    assert_eq!(direct.to_string(), "Error 1730 - Node does not exist");
    let later = outcome(|| {
        vec![Reply::Answer(Command::Ok, FORWARDED.to_vec()), Reply::Request(1, Command::ControlResult, unknown())]
    });
    assert_eq!(later.unwrap_err().code(), 1730);
    let text = outcome(|| vec![Reply::Request(1, Command::ControlResult, b"Error 3018 - x".to_vec())]).unwrap_err();
    assert_eq!(text.code(), 3000);
    let plain = outcome(|| vec![Reply::Answer(Command::Err, b"unknown command 'b'x''".to_vec())]).unwrap_err();
    assert_eq!(plain.to_string(), "Error 3000 - Cluster: unknown command 'b'x''");
}

#[test]
fn unrelated_messages_are_passed_over() {
    let daemon = FakeDaemon::start(|message| {
        vec![
            Reply::Request(message.counter.wrapping_add(1), Command::Ok, b"of another".to_vec()),
            Reply::Request(message.counter, Command::Echo, b"a request with our counter".to_vec()),
            Reply::Answer(Command::Ok, b"mine".to_vec()),
        ]
    });
    assert_eq!(ask(&daemon).unwrap(), b"mine");
}

#[test]
fn a_connection_that_ends_early_or_breaks_the_protocol_is_an_error() {
    let closed = outcome(|| vec![Reply::Close]).unwrap_err();
    assert!(matches!(closed, AskError::Closed { command: Command::Nodes }), "{closed}");
    let late = outcome(|| vec![Reply::Answer(Command::Ok, FORWARDED.to_vec()), Reply::Close]).unwrap_err();
    assert!(matches!(late, AskError::Closed { .. }), "{late}");
    let broken = outcome(|| vec![Reply::Raw(vec![0xff; frame::HEADER])]).unwrap_err();
    assert!(matches!(broken, AskError::Broken { .. }), "{broken}");
}

#[test]
fn silence_ends_with_the_time_limit() {
    let silent = FakeDaemon::start(|_| Vec::new());
    let asked = LocalClient::new(silent.socket()).with_time_limit(Duration::from_millis(50)).ask(Command::Nodes, b"");
    let text = asked.unwrap_err().to_string();
    assert_eq!(text, "Error 3020 - Timeout sending request: the daemon did not answer get_nodes within 0.05 s");
    let forwarding = FakeDaemon::start(|_| vec![Reply::Answer(Command::Ok, FORWARDED.to_vec())]);
    let client = LocalClient::new(forwarding.socket()).with_time_limit(Duration::from_millis(50));
    assert!(client.ask(Command::Nodes, b"").unwrap_err().message().contains("the master did not answer"));
}

#[test]
fn a_daemon_that_accepts_nobody_does_not_hold_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
    nix::sys::socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _queued = UnixStream::connect(&path).unwrap();
    let client = LocalClient::new(&path).with_time_limit(Duration::from_millis(50));
    assert!(matches!(client.ask(Command::Nodes, b""), Err(AskError::Timeout { .. })));
}

#[test]
fn a_daemon_that_is_not_there_is_told_from_one_that_is_forbidden() {
    let dir = tempfile::tempdir().unwrap();
    let missing = LocalClient::new(dir.path().join("none")).ask(Command::Nodes, b"").unwrap_err();
    assert!(missing.to_string().starts_with("Error 3012 - Cluster is not running: "), "{missing}");
    let abandoned = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&abandoned).unwrap());
    assert_eq!(LocalClient::new(&abandoned).ask(Command::Nodes, b"").unwrap_err().code(), 3012);
    let long = LocalClient::new(dir.path().join("x".repeat(200))).ask(Command::Nodes, b"").unwrap_err();
    assert!(matches!(long, AskError::Broken { .. }));
    if nix::unistd::geteuid().is_root() {
        return; // Root may use every socket.
    }
    let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("t")).unwrap();
    fs::set_permissions(dir.path().join("t"), fs::Permissions::from_mode(0o000)).unwrap();
    let forbidden = LocalClient::new(dir.path().join("t")).ask(Command::Nodes, b"").unwrap_err();
    assert!(matches!(forbidden, AskError::NotPermitted { .. }), "{forbidden}");
}

/// Lets the captured bytes of a stock daemon answer, and compares ours with those of the stock client.
#[test]
fn captured_conversations_are_understood_and_our_bytes_are_those_of_the_original() {
    let names = ["nodes", "nodes_filtered", "health_list", "health_null", "config", "nodes_unknown_node"];
    for (role, name) in ["master", "worker"].iter().flat_map(|role| names.map(|name| (role, name))) {
        if (*role, name) == ("worker", "nodes_unknown_node") {
            continue; // The original never answers here.
        }
        let file = format!("tests/fixtures/vectors/local_{role}_get_{name}.json");
        let vector: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let messages = vector["messages"].as_array().unwrap().clone();
        let raw = |message: &Value| BASE64_STANDARD.decode(message["raw_b64"].as_str().unwrap()).unwrap();
        let going = |dir: &'static str| move |message: &&Value| message["dir"] == dir;
        let sent: Vec<_> = messages.iter().filter(going("client>server")).map(raw).collect();
        let replies: Vec<_> = messages.iter().filter(going("server>client")).cloned().collect();
        let result = replies.last().unwrap()["payload"].as_str().unwrap().to_owned();
        let daemon = FakeDaemon::start(move |message| {
            let adapted = |reply: &Value| {
                let mut bytes = raw(reply);
                if reply["role"] == "response" {
                    bytes[..4].copy_from_slice(&message.counter.to_be_bytes());
                }
                Reply::Raw(bytes)
            };
            replies.iter().map(adapted).collect()
        });
        let command = match name {
            "config" => Command::Config,
            name if name.starts_with("nodes") => Command::Nodes,
            _ => Command::Health,
        };
        match LocalClient::new(daemon.socket()).ask(command, &sent[0][frame::HEADER..]) {
            Ok(payload) => assert_eq!(String::from_utf8(payload).unwrap(), result, "{file}"),
            Err(error) => assert_eq!(error.to_string(), "Error 1730 - Node does not exist", "{file}"),
        }
        let heard = daemon.finish();
        assert_eq!(heard.len(), sent.len(), "{file}");
        for (ours, theirs) in heard.iter().zip(&sent) {
            let header = frame::header(ours.counter, ours.body.len(), ours.command);
            assert_eq!([&header[4..], &ours.body[..]].concat(), theirs[4..], "{file}");
        }
    }
}
