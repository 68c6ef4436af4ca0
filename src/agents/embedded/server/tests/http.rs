use std::{io::Write, time::Duration};

use super::super::fake::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

#[test]
fn a_connection_takes_many_requests() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let run = Run::start(&directory, &fake);
    let mut program = run.http();
    program.write(b"GET /v1/agents/sync HTTP/1.1\r\nHost: localhost\r\n\r\n");
    program.expect(&format!("{OK}Content-Length: 2\r\n\r\n{{}}"));
    program.write(b"GET /nothing HTTP/1.1\r\n\r\n");
    program.expect("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    program.write(b"POST /v1/agents/sync HTTP/1.1\r\nContent-Length: 8\r\n\r\n{\"a\":[]}");
    program.expect("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(*fake.stored.lock(), ["{\"a\":[]}"]);
    // Two at once, then the last.
    program.write(b"GET /echo/a HTTP/1.1\r\n\r\nGET /echo/%62%20c?d HTTP/1.1\r\n\r\n");
    program.expect(&format!("{OK}Content-Length: 12\r\n\r\nGET /echo/a {OK}Content-Length: 14\r\n\r\nGET /echo/b c "));
    program.write(b"HEAD /echo/a HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert_eq!(program.rest(), format!("{OK}Content-Length: 13\r\nConnection: close\r\n\r\n"));
    run.stop();
}

#[test]
fn requests_may_come_in_single_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let mut program = run.http();
    for byte in b"POST /echo/x HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc" {
        program.write(&[*byte]);
    }
    assert!(program.rest().ends_with("\r\n\r\nPOST /echo/x abc"));
    run.stop();
}

#[test]
fn a_program_that_asks_first_is_told_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let mut program = run.http();
    program.write(b"POST /echo/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    program.expect("HTTP/1.1 100 Continue\r\n\r\n");
    program.write(b"abc");
    program.expect(&format!("{OK}Content-Length: 15\r\n\r\nPOST /echo/ abc"));
    run.stop();
}

#[test]
fn what_is_refused_is_told_and_ends_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
        ("GET /%zz HTTP/1.1\r\n\r\n".to_owned(), "400 Bad Request"),
        (
            "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 67108865\r\n\r\n".to_owned(),
            "413 Content Too Large",
        ),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_owned(), "501 Not Implemented"),
        (format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(20_000)), "431 Request Header Fields Too Large"),
    ] {
        let mut program = run.http();
        program.write(request.as_bytes());
        program.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(
            program.rest(),
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            "{request:.60}"
        );
    }
    run.stop();
}

#[test]
fn a_body_that_is_too_long_does_not_hide_its_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let mut program = run.http();
    program.write(b"POST / HTTP/1.1\r\nContent-Length: 70000000\r\n\r\n");
    for _ in 0..100 {
        program.write(&[b'x'; 50_000]);
    }
    program.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(program.rest().starts_with("HTTP/1.1 413 "));
    run.stop();
}

#[test]
fn half_a_request_does_not_last_and_an_idle_connection_does() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::limited(&directory, &Fake::new(), |limits| limits.request = Duration::from_millis(100));
    let (mut idle, mut half, mut body, mut gone) = (run.http(), run.http(), run.http(), run.http());
    half.write(b"GET / HT");
    body.write(b"POST /echo/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc");
    gone.write(b"POST /echo/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc");
    gone.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!((half.rest(), body.rest(), gone.rest()), (String::new(), String::new(), String::new()));
    idle.write(b"GET /v1/agents/sync HTTP/1.1\r\n\r\n");
    idle.expect(OK);
    run.stop();
}

#[test]
fn a_program_that_does_not_read_is_disconnected() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::limited(&directory, &Fake::new(), |limits| limits.answer = Duration::from_millis(100));
    let mut program = run.http();
    let request = format!("POST /echo/ HTTP/1.1\r\nContent-Length: 50000\r\n\r\n{}", "x".repeat(50_000));
    assert!((0..1000).any(|_| program.0.write_all(request.as_bytes()).is_err()));
    run.stop();
}

#[test]
fn long_bodies_share_a_room() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(&directory, &Fake::new());
    let begin = "POST /echo/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 67108864\r\n\r\n";
    let mut two = [run.http(), run.http()];
    for program in &mut two {
        program.write(begin.as_bytes());
        program.expect("HTTP/1.1 100 Continue\r\n\r\n");
    }
    let mut third = run.http();
    third.write(b"POST /echo/ HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    third.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(third.rest().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    let mut fourth = run.http();
    fourth.write(b"GET /v1/agents/sync HTTP/1.1\r\n\r\n");
    fourth.expect(OK);
    drop(two);
    // The server learns of it when it may.
    while !{
        let mut again = run.http();
        again.write(b"POST /echo/ HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        again.rest().contains("200 OK")
    } {
        std::thread::yield_now();
    }
    run.stop();
}
