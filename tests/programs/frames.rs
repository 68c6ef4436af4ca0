//! Bytes that are no messages: the connection ends with a reason in the log, and everybody else is served on.

use clusterd::wire::{Command, CommandField, frame};
use serde_json::json;

use crate::support::{Daemon, Footprint, Home, Peer};

/// A master with short time limits for half a frame and for hello.
fn master() -> Home {
    let home = Home::master();
    home.settings(json!({"link": {"frame_timeout": 0.3, "handshake_timeout": 0.6}}));
    home.write("etc/rules/a.xml", "a rule");
    home
}

/// Lets `spoil` misbehave, first as a stranger and then as a worker; the master closes and says `text`.
fn closes(text: &str, spoil: impl Fn(&mut Peer)) {
    closes_each([text; 2], spoil);
}

/// As [`closes`], with a text for the stranger and one for the worker.
fn closes_each(texts: [&str; 2], spoil: impl Fn(&mut Peer)) {
    let home = master();
    let before = home.snapshot();
    let mut daemon = Daemon::start(&home);
    let mut other = Peer::join(home.address, "other");
    let rest = Footprint::at_rest(&daemon, &home);
    for (begin, text) in [Peer::connect, |address| Peer::join(address, "w1")].into_iter().zip(texts) {
        let (mark, mut peer) = (home.mark(), begin(home.address));
        spoil(&mut peer);
        peer.wait_for_end();
        home.wait_for_since(mark, text);
        rest.is_had_again(&daemon);
    }
    assert_eq!(other.ask("echo", "still served"), "still served");
    assert_eq!(Peer::connect(home.address).hello("w2").0, "ok");
    assert!(daemon.is_running());
    assert_eq!(home.snapshot(), before);
}

fn header(size: usize) -> [u8; frame::HEADER] {
    frame::header(7, size, CommandField::new(Command::Echo))
}

#[test]
fn an_oversized_header() {
    closes("bytes was announced; at most", |peer| peer.send_bytes(&header(268_435_457)));
}

#[test]
fn the_limit_of_a_stranger_is_small() {
    let home = master();
    let _daemon = Daemon::start(&home);
    let mut stranger = Peer::connect(home.address);
    stranger.send_bytes(&header(65_537));
    stranger.wait_for_end();
    let line = home.wait_for("a message of 65537 bytes was announced; at most 65536 are allowed here");
    assert!(line.contains("WARNING") && line.contains("has left without being accepted"), "{line}");
    let mut worker = Peer::join(home.address, "w1");
    let long = "x".repeat(6 << 20);
    assert!(worker.ask("echo", &long) == long, "a worker may say more than one frame holds");
}

#[test]
fn a_truncated_token() {
    closes("the message 'echo' cannot be decrypted: it", |peer| {
        let whole = peer.frame(7, "echo", b"hello");
        let body = &whole[frame::HEADER..whole.len() - 8];
        peer.send_bytes(&[&header(body.len())[..], body].concat());
    });
}

#[test]
fn an_empty_body() {
    closes("the message 'echo' cannot be decrypted: it is not base64 text", |peer| {
        peer.send_bytes(&header(0));
    });
}

#[test]
fn a_changed_token() {
    closes("its signature does not fit the cluster key; the <key> must be the same on both nodes", |peer| {
        let mut whole = peer.frame(7, "echo", b"hello");
        whole[frame::HEADER + 50] ^= 1;
        peer.send_bytes(&whole);
    });
}

#[test]
fn text_of_another_protocol() {
    closes("bytes was announced; at most", |peer| {
        peer.send_bytes(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    });
}

/// A stranger has its time until hello, whatever it says.
const HALF: [&str; 2] = ["the peer did not say hello in time", "a message was begun and not completed within 300ms"];

#[test]
fn half_a_frame_then_silence() {
    closes_each(HALF, |peer| {
        let whole = peer.frame(7, "echo", b"hello");
        peer.send_bytes(&whole[..whole.len() - 5]);
    });
}

#[test]
fn half_a_header_then_silence() {
    closes_each(HALF, |peer| peer.send_bytes(&header(100)[..7]));
}

#[test]
fn more_divided_messages_than_may_be_open() {
    closes("divided messages were left incomplete", |peer| {
        let piece = |counter| frame::header(counter, 1, CommandField::new(Command::Echo).fragment(false));
        let bytes: Vec<u8> = (0..11).flat_map(|counter| [&piece(counter)[..], b"x"].concat()).collect();
        peer.send_bytes(&bytes);
    });
}

#[test]
fn silence_instead_of_hello() {
    let home = master();
    let _daemon = Daemon::start(&home);
    let mut silent = Peer::connect(home.address);
    silent.wait_for_end();
    home.wait_for("has left without being accepted: the peer did not say hello in time");
    let mut idle = Peer::join(home.address, "w1");
    home.wait_for_since(home.mark(), "[Local integrity] Finished in");
    assert_eq!(idle.ask("echo", "x"), "x", "a worker may be silent");
}

#[test]
fn an_unknown_command_is_refused_and_an_answer_is_never_answered() {
    let home = Home::master();
    let _daemon = Daemon::start(&home);
    let mut peer = Peer::join(home.address, "w1");
    let (command, text) = peer.request("syn_e_w_m", "");
    assert_eq!((command.as_str(), text.as_str()), ("err", "unknown command 'b'syn_e_w_m''"));
    for (counter, command) in ["ok", "err", "error", "ok-m", "ok-c"].into_iter().enumerate() {
        let injected = peer.frame(counter as u32, command, b"injected");
        peer.send_bytes(&injected);
    }
    // An answer to one of those would come before this one and fail the test.
    assert_eq!(peer.ask("echo", "x"), "x");
}

#[test]
fn a_worker_leaves_a_master_that_sends_garbage_and_comes_again() {
    let worker = Home::worker("w1", crate::support::Address::new());
    worker.write("etc/rules/own.xml", "the worker's");
    let before = worker.snapshot();
    let master = crate::support::ScriptedMaster::new(worker.address);
    let daemon = Daemon::start(&worker);
    let rest = Footprint::of(&daemon);
    for (bytes, text) in [
        (header(300 << 20).to_vec(), "a message of 314572800 bytes was announced; at most 268435456 are allowed here"),
        (header(0).to_vec(), "the message 'echo' cannot be decrypted: it is not base64 text"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "bytes was announced; at most 268435456"),
    ] {
        let mark = worker.mark();
        let mut peer = master.accept();
        peer.send_bytes(&bytes);
        peer.wait_for_end();
        let line = worker.wait_for_since(mark, "The connection has been closed: ");
        assert!(line.contains(text), "{line}");
    }
    let mut stranger = master.stream();
    std::io::Write::write_all(&mut stranger, &header(300 << 20)).unwrap();
    let line = worker.wait_for("Could not connect to master: the connection was closed: a message of 314572800 bytes");
    assert!(line.contains("the <key> must be the same on both nodes, and <port> that of the master"), "{line}");
    assert!(rest.grown(&daemon) < 8 << 20, "an announced length is no memory");
    assert_eq!(worker.snapshot(), before);
}
