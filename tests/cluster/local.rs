//! Local programs at the control socket.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use clusterd::{
    local::client::LocalClient,
    system::clock::FakeClock,
    wire::{Command, CommandField, frame},
};
use serde_json::json;

use crate::support::{KEY, Node, SECOND, TestHome, advance_until, eventually};

fn connect(node: &Node) -> UnixStream {
    let stream = UnixStream::connect(node.home.path("queue/cluster/c-internal.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn ask(stream: &mut UnixStream, command: Command, payload: &[u8]) -> Vec<u8> {
    let header = frame::header(7, payload.len(), CommandField::new(command));
    stream.write_all(&[&header[..], payload].concat()).unwrap();
    let mut header = [0; frame::HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize];
    stream.read_exact(&mut body).unwrap();
    body
}

#[test]
fn a_program_stays_connected_when_the_worker_loses_its_master() {
    let (clock, hand) = FakeClock::new();
    let master = Node::master(TestHome::new(), &clock, json!({}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    eventually("the worker connects", || master.workers() == ["w1"]);
    let mut program = connect(&worker);
    advance_until(&hand, SECOND / 4, "it is served through the master", || {
        ask(&mut program, Command::Nodes, b"{}") == b"Sent request to master node" && {
            let mut header = [0; frame::HEADER];
            program.read_exact(&mut header).unwrap();
            let mut body = vec![0; u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize];
            program.read_exact(&mut body).unwrap();
            assert_eq!(CommandField::received(header[8..].try_into().unwrap()).name(), b"control_res");
            String::from_utf8(body).unwrap().contains("\"w1\"")
        }
    });
    drop(master);
    eventually("the loss is noticed", || {
        let answer = ask(&mut program, Command::Health, b"null");
        answer != b"Sent request to master node" && String::from_utf8(answer).unwrap().contains("3023")
    });
    assert_eq!(ask(&mut program, Command::Echo, b"still here"), b"still here");
}

#[test]
fn a_silent_program_is_disconnected_after_two_minutes_and_a_keep_alive_keeps_it() {
    let (clock, hand) = FakeClock::new();
    let node = Node::master(TestHome::new(), &clock, json!({}));
    let (mut silent, mut alive) = (connect(&node), connect(&node));
    ask(&mut silent, Command::Echo, b"x");
    for _ in 0..40 {
        assert_eq!(ask(&mut alive, Command::EchoClient, b"keepalive"), b"keepalive");
        hand.advance(5 * SECOND);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(ask(&mut alive, Command::Echo, b"x"), b"x");
}

#[test]
fn the_key_is_shown_only_where_cluster_json_says_so() {
    let (clock, _hand) = FakeClock::new();
    let shown = |settings| {
        let node = Node::master(TestHome::new(), &clock, settings);
        let client = LocalClient::new(node.home.path("queue/cluster/c-internal.sock"));
        String::from_utf8(client.ask(Command::Config, b"").unwrap()).unwrap().contains(KEY)
    };
    assert!(!shown(json!({})));
    assert!(shown(json!({"local": {"show_key": true}})));
}

#[test]
fn an_idle_program_goes_for_one_that_waits() {
    let (clock, _hand) = FakeClock::new();
    let node = Node::master(TestHome::new(), &clock, json!({"local": {"max_clients": 2}}));
    let mut programs = [connect(&node), connect(&node)];
    for program in &mut programs {
        ask(program, Command::Echo, b"x");
    }
    ask(&mut connect(&node), Command::Echo, b"x");
    // Both answers may have been written at one instant, so it may be either.
    let has_gone = |program: &mut UnixStream| {
        program.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        program.read(&mut [0]).is_ok_and(|count| count == 0)
    };
    assert_eq!(programs.iter_mut().filter_map(|program| has_gone(program).then_some(())).count(), 1);
}
