//! Streams of changes that end, say half a line, or tell what nobody needs.

use std::time::{Duration, Instant};

use clusterd::{arbiter::Watch, system::clock::Clock};

use crate::{
    gateway::{Asked, Gateway, Say, good},
    node::{options, seat, until},
};

const LONG: Duration = Duration::from_secs(60);

fn streamed(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{lines}\r\n", lines.len()).into()
}

/// What is at `master`: nothing, at this point in the history.
fn nothing(revision: u64) -> Say {
    good(&format!(
        r#"{{"header":{{"revision":"{revision}"}},"succeeded":true,"responses":[{{"response_range":{{}}}},{{"response_range":{{}}}}]}}"#
    ))
}

const CREATED: &str = "{\"result\":{\"header\":{},\"created\":true}}\n";
const CHANGED: &str = "{\"result\":{\"header\":{},\"events\":[{\"kv\":{\"key\":\"YQ==\"}}]}}\n";

#[test]
fn a_change_is_told_and_what_is_none_is_not() {
    let gateway = Gateway::start(|_, _| Say::Hold(streamed(&[CREATED, CREATED, CHANGED].concat())));
    let seat = seat(&options(&[gateway.url()]));
    assert_eq!(seat.etcd.changes(9).unwrap().wait(LONG), Ok(true));
    let asked = gateway.asked().remove(0);
    assert_eq!(asked.path, "/v3/watch");
    assert_eq!(asked.body.matches(r#""start_revision":"10""#).count(), 2, "{}", asked.body);
}

#[test]
fn half_a_line_is_kept_until_its_rest_comes() {
    let line = [CREATED, CHANGED].concat();
    let gateway = Gateway::start(move |_, _| Say::Slowly(streamed(&line), Duration::from_millis(2)));
    let seat = seat(&options(&[gateway.url()]));
    let mut changes = seat.etcd.changes(9).unwrap();
    let mut waits = 0;
    // A wait that is shorter than what a line takes.
    while !changes.wait(Duration::from_millis(20)).unwrap() {
        waits += 1;
    }
    assert!(waits > 1);
}

#[test]
fn a_stream_that_ends_or_makes_no_sense_is_told() {
    for (stream, expected) in [
        (streamed(CREATED), "it closed the connection"),
        (streamed("{\"result\":{\"canceled\":true,\"compact_revision\":\"70\"}}\n"), "the watch was canceled"),
        (streamed("{\"error\":{\"grpc_code\":14,\"message\":\"no leader\"}}\n"), "said: no leader"),
        (streamed("nonsense\n"), "malformed"),
        (streamed(&"x".repeat(300 * 1024)), "malformed: a line is too long"),
        (streamed("{\"result\":{\"events\""), "it closed the connection"),
    ] {
        let gateway = Gateway::start(move |_, _| Say::Bytes(stream.clone()));
        let seat = seat(&options(&[gateway.url()]));
        let text = seat.etcd.changes(9).unwrap().wait(LONG).unwrap_err().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// A watch begins again behind what it has read anew.
#[test]
fn a_compacted_watch_is_read_anew() {
    let canceled = "{\"result\":{\"canceled\":true,\"compact_revision\":\"70\"}}\n";
    let script = move |asked: &Asked, number: usize| match &*asked.path {
        "/v3/watch" if asked.body.contains(r#""start_revision":"6""#) => Say::Bytes(streamed(canceled)),
        "/v3/watch" => Say::Hold(Vec::new()),
        _ if number == 0 => nothing(5),
        _ => nothing(80),
    };
    let gateway = Gateway::start(script);
    let seat = seat(&options(&[gateway.url()]));
    let watch = Watch::start(&seat.etcd, LONG, &Clock::real(), &seat.shutdown).unwrap();
    until("the second watch", || gateway.asked().iter().any(|asked| asked.body.contains(r#""start_revision":"81""#)));
    assert!(watch.watched().failure.is_none());
    drop(seat);
    watch.thread.join().unwrap();
}

#[test]
fn the_order_to_stop_ends_a_wait() {
    let gateway = Gateway::start(|_, _| Say::Hold(streamed(CREATED)));
    let seat = seat(&options(&[gateway.url()]));
    let mut changes = seat.etcd.changes(9).unwrap();
    let start = Instant::now();
    drop(seat);
    assert!(changes.wait(LONG).unwrap_err().to_string().contains("this node is stopping"));
    assert!(start.elapsed() < LONG);
}
