use std::{
    io::Write,
    os::unix::net::{UnixListener, UnixStream},
    thread::{scope, spawn},
};

use tempfile::TempDir;

use super::*;
use crate::{
    agents::embedded::server::fake::{Fake, LONG, Run},
    sockets::frame,
    system::shutdown::{self, Trigger},
};

/// A client that waits for `limit`, and the trigger that stops it.
fn client(directory: &TempDir, limit: Duration) -> (WazuhDb, Trigger) {
    let (trigger, token) = shutdown::channel();
    (WazuhDb::new(&Home::new(directory.path()), limit, &token), trigger)
}

fn unavailable<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Unavailable(text)) => text,
        other => panic!("{other:?} instead of an error"),
    }
}

fn ok(text: &str) -> Result<Reply, Error> {
    Ok(Reply::Ok(text.to_owned()))
}

/// A socket of the database whose programs are served by the test.
fn listen(path: std::path::PathBuf) -> UnixListener {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    UnixListener::bind(path).unwrap()
}

#[test]
fn answers_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let (client, _trigger) = client(&directory, LONG);
    assert_eq!(client.query("echo [1]"), ok("[1]"));
    assert_eq!(client.query("echo"), ok(""));
    assert_eq!(client.query("due [2] x"), Ok(Reply::Due("[2] x".into())));
    assert_eq!(client.query("what"), Err(Error::Refused("no what".into())));
    assert_eq!(client.query("echo 3"), ok("3"));
    run.stop();
}

#[test]
fn what_cannot_be_sent_is_refused_here() {
    let directory = tempfile::tempdir().unwrap();
    let (client, _trigger) = client(&directory, LONG);
    for (request, word) in [
        ("x".repeat(65_537), "65537"),
        (String::new(), "empty"),
        ("a\0b".into(), "NUL"),
        ("global get-all-agents context".into(), "frame"),
    ] {
        match client.query(&request) {
            Err(Error::Refused(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn agents_are_taken_and_stored_over_http() {
    let directory = tempfile::tempdir().unwrap();
    let mut fake = Fake::new();
    fake.pending = format!("{{\"syncreq\":[{}]}}", "1,".repeat(500_000));
    let (client, _trigger) = client(&directory, LONG);
    let run = Run::start(&directory, &fake);
    let pending = client.take_info().unwrap().info;
    assert!(pending == fake.pending);
    assert_eq!(client.store_info(&pending), Ok(None));
    assert!(*fake.stored.lock() == [pending]);
    match client.store_info("bad") {
        Err(Error::Refused(text)) => assert!(text.contains("500") && text.contains("ossec.log"), "{text}"),
        other => panic!("{other:?}"),
    }
    run.stop();
    assert!(unavailable(client.store_info("{}")).contains("wdb-http.sock does not exist"));
}

#[test]
fn a_late_answer_is_no_answer_to_the_next_request() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let run = Run::start(&directory, &fake);
    let (hasty, _trigger) = client(&directory, Duration::from_millis(300));
    let text = unavailable(hasty.query("wait"));
    assert!(text.contains("queue/db/wdb within 0.3 s"), "{text}");
    fake.release();
    assert_eq!(hasty.query("echo 1"), ok("1"));
    run.stop();
}

#[test]
fn slow_requests_do_not_delay_others() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let run = Run::start(&directory, &fake);
    let (client, _trigger) = client(&directory, LONG);
    scope(|scope| {
        let slow: Vec<_> = (0..6).map(|_| scope.spawn(|| client.query("wait"))).collect();
        for _ in 0..20 {
            assert_eq!(client.query("echo 1"), ok("1"));
        }
        (0..6).for_each(|_| fake.release());
        for one in slow {
            assert_eq!(one.join().unwrap(), ok("waited"));
        }
    });
    run.stop();
}

#[test]
fn a_database_that_was_started_again_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (client, _trigger) = client(&directory, LONG);
    assert!(unavailable(client.query("echo 0")).contains("wdb does not exist; start wazuh-db"));
    for _ in 0..3 {
        let run = Run::start(&directory, &Fake::new());
        assert_eq!(client.query("echo 1"), ok("1"));
        run.stop();
    }
    drop(listen(Home::new(directory.path()).agent_database_socket()));
    assert!(unavailable(client.query("echo 2")).contains("no program listens at"));
}

#[test]
fn a_request_is_sent_again_only_if_nothing_of_its_answer_came() {
    let directory = tempfile::tempdir().unwrap();
    let listener = listen(Home::new(directory.path()).agent_database_socket());
    let (client, _trigger) = client(&directory, LONG);
    let next = move || -> (UnixStream, Option<Vec<u8>>) {
        let (mut stream, _) = listener.accept().unwrap();
        let request = frame::read(&mut stream, |_| {}).unwrap();
        (stream, request)
    };
    let server = spawn(move || {
        // Closed in silence: it comes again.
        drop(next());
        let (mut stream, request) = next();
        frame::write(&mut stream, &[b"ok ", &request.unwrap()[..]].concat()).unwrap();
        drop(stream);
        // Closed twice, then closed in the answer: it does not.
        drop(next());
        drop(next());
        next().0.write_all(&[3, 0, 0, 0, b'o']).unwrap();
        for answer in [&b"hello world"[..], b"okay", b" ok", b"\xff\xff", b"\0"] {
            frame::write(&mut next().0, answer).unwrap();
        }
        next().0.write_all(&[255; 4]).unwrap();
        next().0.write_all(&[0; 4]).unwrap();
    });
    assert_eq!(client.query("a"), ok("a"));
    assert!(unavailable(client.query("b")).contains("closed the connection"));
    assert!(unavailable(client.query("c")).contains("closed the connection"));
    for _ in 0..7 {
        let text = unavailable(client.query("d"));
        assert!(text.contains("is malformed"), "{text}");
    }
    server.join().unwrap();
}

#[test]
fn what_was_not_asked_for_is_no_answer_to_the_next_request() {
    let directory = tempfile::tempdir().unwrap();
    let listener = listen(Home::new(directory.path()).agent_database_socket());
    let (client, _trigger) = client(&directory, LONG);
    let server = spawn(move || {
        let serve = |answers: &[&[u8]]| {
            let (mut stream, _) = listener.accept().unwrap();
            frame::read(&mut stream, |_| {}).unwrap();
            let mut bytes = Vec::new();
            answers.iter().for_each(|answer| frame::write(&mut bytes, answer).unwrap());
            stream.write_all(&bytes).unwrap();
            stream
        };
        let _both = (serve(&[b"ok 1", b"ok more"]), serve(&[b"ok 2"]));
    });
    assert_eq!(client.query("a"), ok("1"));
    assert_eq!(client.query("b"), ok("2"));
    server.join().unwrap();
}

#[test]
fn garbage_over_http_is_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let listener = listen(Home::new(directory.path()).agent_database_http_socket());
    let (client, _trigger) = client(&directory, LONG);
    let answers =
        [("", "closed"), ("ok\n\n", "malformed"), ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "no JSON object")];
    let server = spawn(move || {
        for (answer, _) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    for (_, word) in answers {
        let text = unavailable(client.take_info());
        assert!(text.contains(word), "{text}");
    }
    server.join().unwrap();
}

#[test]
fn silence_over_http_has_a_limit() {
    let directory = tempfile::tempdir().unwrap();
    let _listener = listen(Home::new(directory.path()).agent_database_http_socket());
    let (client, _trigger) = client(&directory, Duration::from_millis(100));
    assert!(unavailable(client.take_info()).contains("within 0.1 s"));
    assert!(unavailable(client.store_info("{}")).contains("within 0.1 s"));
}

#[test]
fn the_order_to_stop_ends_every_wait() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let _silent = (listen(home.agent_database_socket()), listen(home.agent_database_http_socket()));
    let (client, trigger) = client(&directory, LONG);
    scope(|scope| {
        let waits = [
            scope.spawn(|| unavailable(client.query("x"))),
            scope.spawn(|| unavailable(client.take_info())),
            scope.spawn(|| unavailable(client.store_info("{}"))),
        ];
        drop(trigger);
        for wait in waits {
            assert_eq!(wait.join().unwrap(), "this node is stopping");
        }
    });
}
