//! Answers as etcd gives them, and those that no etcd would.

use std::time::{Duration, Instant};

use clusterd::arbiter::{Claim, Ended, Key};

use crate::{
    gateway::{Gateway, Say, good},
    node::{master, options, seat},
};

/// What a call may take in these tests, with all members.
const PATIENCE: Duration = Duration::from_secs(1);

/// For what a machine takes that is busy with other tests.
const BUSY: Duration = Duration::from_secs(20);

/// How a read fails at a gateway that says this, and how long that takes.
fn failure(say: impl Fn() -> Say + Send + Sync + 'static) -> (String, Duration) {
    let gateway = Gateway::start(move |_, _| say());
    let seat = seat(&options(&[gateway.url()]));
    let start = Instant::now();
    let text = seat.etcd.read(&[Key::Master]).unwrap_err().to_string();
    assert!(text.starts_with(&gateway.url()), "{text}");
    (text, start.elapsed())
}

fn told(say: impl Fn() -> Say + Send + Sync + 'static) -> String {
    failure(say).0
}

#[test]
fn what_is_absent_is_false_or_zero() {
    let gateway = Gateway::start(|asked, _| match &*asked.path {
        "/v3/lease/keepalive" => good(r#"{"result":{"header":{"revision":"9"},"ID":"12"}}"#),
        _ => good(
            r#"{"header":{"revision":"9"},"responses":[{"response_range":{"kvs":[{"key":"bQ==","value":"e30=",
            "create_revision":"5","mod_revision":5,"lease":"77"}],"count":"1"}},{"response_range":{}}]}"#,
        ),
    });
    let seat = seat(&options(&[gateway.url()]));
    assert_eq!(seat.etcd.renew(12), Ok(false), "a lease without a time has ended");
    match seat.etcd.claim(12, &master("a")).unwrap() {
        Claim::Lost(other) => assert_eq!((other.created, other.lease, &*other.value), (5, 77, &b"{}"[..])),
        Claim::Won(_) => panic!("a transaction that does not say it has succeeded has not"),
    }
}

/// A renewal by a member that only takes itself for the leader is not confirmed by what a quorum says in another time.
#[test]
fn a_renewal_counts_only_if_a_quorum_confirms_it_under_the_same_leader() {
    let gateway = Gateway::start(|asked, number| match &*asked.path {
        "/v3/lease/keepalive" if number == 0 => good(r#"{"result":{"header":{"raft_term":"2"},"ID":"12","TTL":"5"}}"#),
        "/v3/lease/keepalive" => good(r#"{"result":{"header":{"raft_term":"3"},"ID":"12","TTL":"5"}}"#),
        _ => good(
            r#"{"header":{"revision":"9","raft_term":"3"},"succeeded":true,"responses":[{"response_range":{"kvs":[
            {"create_revision":"5"}]}}]}"#,
        ),
    });
    let seat = seat(&options(&[gateway.url()]));
    assert!(seat.etcd.hold(12, 5).unwrap_err().to_string().contains("the leader has changed meanwhile"));
    assert_eq!(seat.etcd.hold(12, 5), Ok(None));
    assert_eq!(seat.etcd.hold(12, 4), Ok(Some(Ended::Superseded)));
}

#[test]
fn a_claim_whose_answer_was_lost_finds_itself_won() {
    let own = r#"{"header":{"revision":"9"},"responses":[{"response_range":{"kvs":[{"create_revision":"5",
        "mod_revision":"5","lease":"12"}]}},{"response_range":{"kvs":[{"value":"MA==","mod_revision":"5"}]}}]}"#;
    let gateway = Gateway::start(|_, number| match number {
        0 => Say::Bytes(Vec::new()),
        _ => good(own),
    });
    let seat = seat(&options(&[gateway.url()]));
    assert!(seat.etcd.claim(12, &master("a")).is_err());
    assert!(matches!(seat.etcd.claim(12, &master("a")).unwrap(), Claim::Won(guard) if guard.term == 5));
}

#[test]
fn a_refusal_is_told_and_no_other_member_is_asked() {
    let refusal = r#"{"error":"etcdserver: permission denied","code":7,"message":"etcdserver: permission denied"}"#;
    let [one, other] = [0, 1].map(|_| Gateway::start(|_, _| Say::Json(403, refusal.to_owned())));
    let seat = seat(&options(&[one.url(), other.url()]));
    let text = seat.etcd.read(&[Key::Master]).unwrap_err().to_string();
    let rest = "said: etcdserver: permission denied; grant the user's role readwrite on the prefix \
                /threatlockdown/CLUSTER/";
    assert_eq!(text, format!("{} {rest}", one.url()));
    assert!(other.asked().is_empty());
}

#[test]
fn a_redirection_is_refused() {
    let text =
        told(|| Say::Bytes(b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec()));
    assert!(text.contains("HTTP status 302; write the URL of an etcd member itself"), "{text}");
}

#[test]
fn what_is_no_etcd_is_told() {
    for (say, expected) in [
        ("HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\nnot found", "HTTP status 404; etcd 3.4 or newer is needed"),
        ("HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\n<html>", "malformed: expected value"),
        ("HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}", "malformed: it has not answered all that was asked"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "malformed: "),
        ("HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", "malformed: its length is no number"),
        ("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", "malformed: the size of a chunk is no number"),
    ] {
        let text = told(move || Say::Bytes(say.into()));
        assert!(text.contains(expected), "{say}: {text}");
    }
}

#[test]
fn half_an_answer_is_none() {
    let whole = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"header\":{}}   \r\n0\r\n\r\n";
    for length in [0, 5, 17, 45, 50, 60, whole.len() - 1] {
        let text = told(move || Say::Bytes(whole.as_bytes()[..length].into()));
        assert!(text.contains("it closed the connection"), "{length}: {text}");
    }
}

#[test]
fn an_answer_that_is_too_long_is_refused_before_it_is_read() {
    let declared = "HTTP/1.1 200 X\r\nContent-Length: 1000000000000\r\n\r\n{";
    assert!(told(move || Say::Hold(declared.into())).contains("malformed: it is too long"));
    let chunked = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(
        told(move || Say::Endless(
            chunked.into(),
            b"10000\r\n".iter().copied().chain([b' '; 65536]).chain(*b"\r\n").collect()
        ))
        .contains("malformed: it is too long")
    );
    let headers = b"A: b\r\n".repeat(1000);
    assert!(
        told(move || Say::Endless("HTTP/1.1 200 X\r\n".into(), headers.clone())).contains("its head is longer than")
    );
    let announcements = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let (text, _) = failure(move || Say::Endless(Vec::new(), announcements.clone()));
    assert!(text.contains("did not answer in time"), "{text}");
}

#[test]
fn slow_bytes_do_not_make_the_time_longer() {
    let text = "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n";
    let (text, took) =
        failure(move || Say::Slowly([text.as_bytes(), &[b' '; 100]].concat(), Duration::from_millis(50)));
    assert!(text.contains("did not answer in time"), "{text}");
    assert!(took >= PATIENCE && took < PATIENCE + BUSY, "{took:?}");
}

#[test]
fn members_that_hang_share_the_time_and_the_one_that_answers_is_asked_first() {
    let hangs = [0, 1].map(|_| Gateway::start(|_, _| Say::Hold(Vec::new())));
    let answers = Gateway::start(|_, _| {
        good(r#"{"header":{"revision":"3"},"succeeded":true,"responses":[{"response_range":{}}]}"#)
    });
    let urls = [hangs[0].url(), hangs[1].url(), answers.url()];
    let seat = seat(&options(&urls));
    let start = Instant::now();
    // On a busy machine the last third may be over before the answer is read: asked again, it is asked first.
    while seat.etcd.read(&[Key::Master]).is_err() {
        assert!(start.elapsed() < BUSY);
    }
    let before = hangs.iter().map(|one| one.asked().len()).sum::<usize>();
    assert!(before >= 2);
    assert_eq!(seat.etcd.read(&[Key::Master]).unwrap().revision, 3);
    assert_eq!(hangs.iter().map(|one| one.asked().len()).sum::<usize>(), before);

    let failing = crate::node::seat(&options(&urls[..2]));
    let start = Instant::now();
    let text = failing.etcd.read(&[Key::Master]).unwrap_err().to_string();
    assert!(start.elapsed() < 2 * PATIENCE + BUSY);
    assert!(urls[..2].iter().all(|url| text.contains(&format!("{url} did not answer in time"))), "{text}");
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let answer = r#"{"header":{"revision":"3"},"succeeded":true,"responses":[{"response_range":{}}]}"#;
    // It says that the connection stays, and closes it.
    let gateway = Gateway::start(move |_, number| match number % 2 {
        0 => good(answer),
        _ => Say::Bytes(format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).into()),
    });
    let seat = seat(&options(&[gateway.url()]));
    for _ in 0..7 {
        assert_eq!(seat.etcd.read(&[Key::Master]).unwrap().revision, 3);
    }
}
