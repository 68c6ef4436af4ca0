//! What strangers, key holders and local programs may take of a node (`docs/limits.md`): who must go when there are too
//! many, and how much memory a node has at the most.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use clusterd::limits::MEMORY;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use serde_json::json;

use crate::support::{
    Address, Daemon, Footprint, Home, Peer, Program, ScriptedMaster, control, most_memory, register, until,
};

/// In which a worker is to be in, whatever strangers do.
const SECONDS: Duration = Duration::from_secs(10);

/// Connects to `to` from the loopback address `from`.
fn connect_from(from: Ipv4Addr, to: Address) -> TcpStream {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(from, 0))).unwrap();
    let SocketAddr::V4(to) = to.socket() else { panic!("an address of IPv4") };
    connect(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    socket.into()
}

/// Tells the other threads of a test that it is over, also when it fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long a worker takes to get in.
fn time_to_join(master: &Home, name: &str) -> Duration {
    let worker = Home::worker(name, master.address);
    let begun = Instant::now();
    let _worker = Daemon::start(&worker);
    worker.wait_for("Successfully connected to master.");
    begun.elapsed()
}

/// Case 5.1: 14 addresses with 10 connections each that say nothing, or trickle a byte now and then.
#[test]
fn idle_strangers_of_many_addresses_keep_no_worker_out() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let address = |n: u8| Ipv4Addr::new(127, 0, 1, n);
    let mut strangers: Vec<TcpStream> = (0..140).map(|n| connect_from(address(1 + n % 14), master.address)).collect();
    for stranger in strangers.iter_mut().step_by(2) {
        stranger.write_all(b"x").unwrap();
    }
    let took = time_to_join(&master, "w1");
    assert!(took < SECONDS, "{took:?}");
}

/// Case 5.1: 10 connections from the address of the worker itself, and one more; the oldest goes.
#[test]
fn idle_strangers_of_the_address_of_a_worker_do_not_keep_it_out() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let mut strangers: Vec<TcpStream> = (0..11).map(|_| TcpStream::connect(master.address.socket()).unwrap()).collect();
    for stranger in &mut strangers {
        stranger.write_all(b"x").unwrap();
    }
    let took = time_to_join(&master, "w1");
    assert!(took < SECONDS, "{took:?}");
    assert_eq!(strangers[0].read(&mut [0]).unwrap_or(0), 0, "the oldest is closed");
    let line = master.wait_for("has left without being accepted: newer connections took its place");
    assert!(line.contains("WARNING") && line.contains("127.0.0.1:"), "{line}");
    strangers[10].set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert!(strangers[10].read(&mut [0]).is_err(), "the newest is open");
}

/// Case 5.1: somebody connects as fast as it can, from the address of the worker, and says nothing.
#[test]
fn a_flood_of_connections_keeps_no_worker_out() {
    let master = Home::master();
    let daemon = Daemon::start(&master);
    let (over, rest) = (AtomicBool::new(false), Footprint::at_rest(&daemon, &master));
    thread::scope(|scope| {
        let end_of_all = SetOnDrop(&over);
        let flood = scope.spawn(|| {
            let (end, mut held, mut count) = (Instant::now() + SECONDS, std::collections::VecDeque::new(), 0);
            while !over.load(Ordering::Relaxed) && Instant::now() < end && count < 50_000 {
                held.extend(TcpStream::connect(master.address.socket()));
                count += 1;
                if held.len() > 400 {
                    held.pop_front();
                }
            }
            count
        });
        let took = time_to_join(&master, "w1");
        drop(end_of_all);
        let count = flood.join().unwrap();
        println!("in after {took:?}, while {count} strangers came");
        assert!(took < SECONDS, "{took:?} with {count}");
    });
    rest.is_had_again(&daemon);
}

/// Case 5.9: 20 connections with a wrong key are lines with the address and the number of them.
#[test]
fn who_has_a_wrong_key_is_told_by_its_address_once_and_once_a_minute() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let mut last = None;
    for _ in 0..20 {
        let mut peer = Peer::new(connect_from(Ipv4Addr::new(127, 0, 2, 1), master.address));
        peer.change_key("vutsrqponmlkjihgfedcba9876543210");
        let hello = peer.frame(1, "hello", b"w1 wazuh worker 4.14.7");
        peer.send_bytes(&hello);
        peer.wait_for_end();
        last = Some(peer);
    }
    drop(last);
    until("all in the log", || (master.log().matches("has left without being accepted").count() == 20).then_some(()));
    let told =
        |level: &str| master.log().lines().filter(|line| line.contains(level) && line.contains("127.0.2.1:")).count();
    assert_eq!((told(" WARNING: "), told(" INFO: ")), (1, 0));
    let line = master.wait_for("has left without being accepted");
    assert!(line.contains(" WARNING: [Worker] [Main] 127.0.2.1:") && line.contains("cannot be decrypted"), "{line}");
}

/// Case 5.2: `echo` with 190 MiB is answered with an error and costs little, and the connection goes on.
#[test]
fn an_echo_that_is_too_long_is_passed_over() {
    let master = Home::master();
    let daemon = Daemon::start(&master);
    let mut worker = Peer::join(master.address, "w1");
    let before = most_memory(&daemon);
    let (command, text) = worker.request("echo", vec![b'x'; 190 << 20]);
    assert!(command == "err" && text.contains("\"code\": 3050,") && text.contains("may have 8388608 bytes"), "{text}");
    assert_eq!(worker.ask("echo", "still here"), "still here");
    // What the kernel counts lags a little.
    let grown = most_memory(&daemon).saturating_sub(before);
    // The fragments that came until it was too long.
    assert!(grown < 24 << 20, "{grown} bytes more");
    let line = master.wait_for("was not taken: Error 3050 - Message exceeds the allowed size");
    assert!(line.contains("WARNING") && line.contains("127."), "{line}");
    assert_eq!(worker.request("get_nodes", vec![b' '; 1 << 20]).0, "err");
    assert_eq!(worker.request("new_str", ((64 << 20) + 1).to_string()).0, "error");
}

/// Cases 5.2 and 5.7: key holders that ask without end and read nothing, and others that send without end. The memory
/// stays under the figure, and a worker is served meanwhile.
#[test]
fn key_holders_cannot_take_the_memory() {
    const HOLDERS: usize = 12;
    let master = Home::master();
    let daemon = Daemon::start(&master);
    let mut worker = Peer::join(master.address, "good");
    let (over, rest) = (AtomicBool::new(false), Footprint::at_rest(&daemon, &master));
    thread::scope(|scope| {
        let end_of_all = SetOnDrop(&over);
        for n in 0..HOLDERS {
            let (over, address) = (&over, master.address);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut peer = Peer::connect(address);
                    let hello = peer.frame(1, "hello", format!("bad{n} wazuh worker 4.14.7").as_bytes());
                    let more = if n % 2 == 0 {
                        peer.frame(2, "echo", &vec![b'x'; 8 << 20])
                    } else {
                        let piece = peer.frame(2, "dapi", &vec![b'x'; 60 << 20]);
                        piece[..piece.len() - 1].to_vec()
                    };
                    if peer.send_slowly(&hello, over) {
                        while peer.send_slowly(&more, over) && n % 2 == 0 {}
                    }
                    while n % 2 == 1 && !over.load(Ordering::Relaxed) && peer.trickle() {}
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(12);
        let mut slowest = Duration::ZERO;
        while Instant::now() < end {
            let begun = Instant::now();
            assert_eq!(worker.request("echo-c", "keepalive"), ("ok-m".to_owned(), "keepalive".to_owned()));
            slowest = slowest.max(begun.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
        let large = worker.ask("echo", vec![b'x'; 5 << 20]).len();
        drop(end_of_all);
        assert_eq!(large, 5 << 20, "room for a worker comes, too");
        println!("keep-alive answered within {slowest:?}; {} MiB at the most", most_memory(&daemon) >> 20);
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    });
    let most = most_memory(&daemon);
    assert!(most < MEMORY, "{} MiB", most >> 20);
    rest.is_free_again(&daemon);
}

/// Case 5.3: who has the master's address and not the key gets no more than a stranger.
#[test]
fn a_master_is_a_stranger_until_its_first_message_is_verified() {
    let worker = Home::worker("w1", Address::new());
    let master = ScriptedMaster::new(worker.address);
    let daemon = Daemon::start(&worker);
    let mut stream = master.stream();
    let before = most_memory(&daemon);
    let header =
        clusterd::wire::frame::header(1, 200 << 20, clusterd::wire::CommandField::new(clusterd::wire::Command::Ok));
    let sent = stream.write_all(&header).and_then(|()| {
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        (0..200).try_for_each(|_| stream.write_all(&vec![b'A'; 1 << 20]))
    });
    assert!(sent.is_err(), "the worker leaves");
    let line = worker.wait_for("Could not connect to master: the connection was closed: a message of 209715200 bytes");
    assert!(line.contains("at most 65536 are allowed here"), "{line}");
    // What the kernel counts lags a little.
    let grown = most_memory(&daemon).saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes more");
    // One that has the key is believed, and may say more.
    let mut genuine = master.accept();
    assert_eq!(genuine.ask("echo", vec![b'x'; 6 << 20]).len(), 6 << 20);
}

/// Opens `count` connections to a socket and leaves them idle, the first half of them in the middle of a request.
fn idle(path: &Path, count: usize, half: &[u8]) -> Vec<UnixStream> {
    let idle = |at| {
        let mut stream = UnixStream::connect(path).unwrap();
        if at < count / 2 {
            stream.write_all(half).unwrap();
        }
        stream
    };
    (0..count).map(idle).collect()
}

/// Case 5.6: idle connections to each socket of this machine; others are served.
#[test]
fn idle_programs_go_when_others_wait() {
    let home = Home::master();
    let port = SocketAddr::from((home.address.0, 9510));
    home.settings(json!({"metrics": {"listen": port.to_string()}}));
    let _daemon = Daemon::start(&home);
    home.wait_for("[Cluster] [Metrics] Serving on ");

    let mut databases = idle(&home.path("queue/db/wdb"), 300, &[9, 0, 0]);
    let ask = "global get-agent-info 1";
    for _ in 0..3 {
        assert!(Program::database(&home).ask(ask).starts_with("ok"));
    }
    assert_eq!(databases[0].read(&mut [0]).unwrap_or(0), 0);

    let _held = idle(&home.path("queue/sockets/wdb-http.sock"), 300, b"GET /v1/ag");
    let mut http = UnixStream::connect(home.path("queue/sockets/wdb-http.sock")).unwrap();
    http.write_all(b"GET /v1/agents/ids HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let _held = idle(&home.path("queue/sockets/auth"), 300, &[9, 0, 0]);
    let answer = register(&home, r#"{"function": "get", "arguments": {"id": "001"}}"#).unwrap();
    assert!(answer.contains("9011"), "{answer}");

    let mut watchers: Vec<_> = (0..20).map(|_| TcpStream::connect(port).unwrap()).collect();
    let mut watch = TcpStream::connect(port).unwrap();
    watch.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    watch.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    assert_eq!(watchers[0].read(&mut [0]).unwrap_or(0), 0);

    let mut programs = idle(&home.path("queue/cluster/c-internal.sock"), 150, b"12345678");
    assert_eq!(control(&home, &["-l"]).status.code(), Some(0));
    assert_eq!(programs[0].read(&mut [0]).unwrap_or(0), 0);
}
