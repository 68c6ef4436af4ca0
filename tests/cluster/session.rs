//! Sessions between two nodes of this daemon: what was recorded, changed or left out gets nobody in (`spec/native.md` 2.8, 4).

use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clusterd::{
    local::client::LocalClient,
    metrics::Rejection,
    system::clock::{Clock, FakeClock},
    wire::{Command, CommandField, frame},
};
use serde_json::{Value, json};

use crate::support::{
    Node, RawPeer, SECOND, TestHome, advance_until, eventually,
    wire::{From, Wire, command, read_frame, rewritten},
};

/// Features of a release before this one.
const OLDER: [&str; 2] = ["digest", "push"];

fn master(clock: &Clock, settings: Value) -> Node {
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "a");
    Node::master(home, clock, settings)
}

fn worker(clock: &Clock, settings: Value, port: u16) -> Node {
    Node::worker(TestHome::new(), clock, settings, "w1", port)
}

fn refused(master: &Node) -> u64 {
    master.as_master().node.metrics.rejections(Rejection::Session)
}

fn in_session(master: &Node, name: &str) -> bool {
    master.as_master().registry.find(name).is_some_and(|worker| worker.connection.in_session() && worker.had_session())
}

fn forget(node: &Node, name: &str) -> Result<Value, String> {
    let client = LocalClient::new(node.home.path("queue/cluster/c-internal.sock"));
    let answer =
        client.ask(Command::ForgetNode, json!(name).to_string().as_bytes()).map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// A master and a worker with a wire between them, and a session.
struct Cluster {
    clock: Clock,
    hand: FakeClock,
    master: Node,
    wire: Wire,
    worker: Node,
}

impl Cluster {
    fn new() -> Self {
        let (clock, hand) = FakeClock::new();
        let master = master(&clock, json!({}));
        let wire = Wire::to(master.port());
        let worker = worker(&clock, json!({}), wire.port);
        let cluster = Self { clock, hand, master, wire, worker };
        cluster.joins();
        cluster
    }

    /// Waits until both ends have proved that there is a session, and remember it.
    fn joins(&self) {
        advance_until(&self.hand, SECOND / 4, "a session", || {
            in_session(&self.master, "w1") && self.inside().master().is_some()
        });
    }

    fn inside(&self) -> &clusterd::worker::Worker {
        match self.worker.running.role() {
            clusterd::local::Role::Worker(worker) => worker,
            clusterd::local::Role::Master(_) => panic!("a worker"),
        }
    }

    /// Waits until what the two have begun is done, and gives what has passed: while the clock stands, they begin no more.
    fn at_rest(&self) -> usize {
        let mut before = usize::MAX;
        eventually("nothing passes", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.wire.frames().len();
            std::mem::replace(&mut before, now) == now
        });
        before
    }

    /// Why the worker is not connected.
    fn failure(&self) -> String {
        self.inside().failure().unwrap_or_default()
    }
}

#[test]
fn two_nodes_work_in_a_session_and_nothing_else_is_seen_on_the_wire() {
    let cluster = Cluster::new();
    advance_until(&cluster.hand, SECOND, "the file", || cluster.worker.home.read("etc/rules/a.xml").is_some());
    let large = vec![7; 3 << 20];
    cluster.master.home.write("etc/lists/large", &large);
    advance_until(&cluster.hand, SECOND, "a large file", || {
        cluster.worker.home.read("etc/lists/large").as_ref() == Some(&large)
    });
    for (sender, beginning) in [(From::Worker, ["hello", "native"]), (From::Master, ["ok", "ok"])] {
        let sent = cluster.wire.sent_by(sender);
        assert_eq!([&sent[0], &sent[1]].map(|frame| command(frame)), beginning);
        assert!(sent.len() > 10 && sent[2..].iter().all(|frame| &frame[8..20] == b"session ----"), "{sender:?}");
        assert!(sent.iter().all(|frame| frame.len() <= 1 << 20));
    }
}

/// Promise 8: what was recorded of a worker, as a whole and in every part, takes no name, holds none, and answers nothing.
#[test]
fn a_recorded_worker_gets_no_name_and_is_in_nobodys_way() {
    let cluster = Cluster::new();
    let sent = cluster.wire.sent_by(From::Worker).concat();
    let play = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", cluster.master.port())).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let hello = frame::HEADER + frame::size(&sent);
    let offer = hello + frame::HEADER + frame::size(&sent[hello..]);
    let link = cluster.master.as_master().registry.find("w1").unwrap().connection.clone();

    // While the worker is connected, it is not even asked.
    let before = cluster.at_rest();
    let _waits: Vec<_> = [hello, offer].into_iter().map(|end| play(&sent[..end])).collect();
    let mut whole = play(&sent);
    while read_frame(&mut whole).is_some() {}
    assert!(!link.is_closed());
    assert_eq!(cluster.wire.frames().len(), before, "the worker was left alone");
    eventually("it was counted", || refused(&cluster.master) == 1);

    // While it is away, nobody has its name, and it comes back beside those who wait.
    cluster.wire.cut();
    eventually("it is away", || cluster.master.workers().is_empty());
    let _others: Vec<_> = [hello, offer].into_iter().map(|end| play(&sent[..end])).collect();
    let mut whole = play(&sent);
    while read_frame(&mut whole).is_some() {}
    assert!(cluster.master.workers().is_empty());
    cluster.joins();
}

/// The name is remembered over a restart of the master.
#[test]
fn a_name_that_has_had_a_session_needs_one_until_it_is_forgotten() {
    let cluster = Cluster::new();
    let Cluster { clock, master: first, worker, .. } = cluster;
    drop(worker);
    eventually("it is away", || first.workers().is_empty());
    let master = Node::master(first.stop(), &clock, json!({}));
    let mut peer = RawPeer::connect(master.port());
    assert!(peer.hello("w1").1.starts_with("Client w1 added native/1 "), "what an earlier node reads");
    assert!(master.workers().is_empty());
    let (answer, text) = peer.ask("syn_i_w_m_p", b"");
    assert!(
        answer == "err" && text.contains("3018") && text.contains("'cluster_control --forget w1' on the master"),
        "{text}"
    );
    assert!(peer.is_closed());
    let health: Value = serde_json::from_str(&master.as_master().questions.health(b"null").unwrap()).unwrap();
    assert!(health["verdicts"][0]["reason"].as_str().unwrap().contains("--forget w1"), "{health}");
    // A node of an earlier release neither.
    let mut older = RawPeer::connect(master.port());
    older.hello("w1");
    let offer = br#"{"nonce": "EBESExQVFhcYGRobHB0eHw", "features": ["digest"]}"#;
    assert!(older.ask("native", offer).1.contains("--forget w1"));
    assert_eq!(forget(&master, "w1").unwrap()["forgotten"]["name"], "w1");
    let mut stock = RawPeer::connect(master.port());
    assert_eq!(stock.hello("w1").0, "ok");
    assert_eq!(stock.ask("syn_i_w_m_p", b"").0, "ok");
    assert_eq!(master.workers(), ["w1"]);
}

/// What was recorded of a master, and a master without a session, get no worker that has had one.
#[test]
fn a_recorded_master_gets_no_worker() {
    let cluster = Cluster::new();
    let recorded = cluster.wire.sent_by(From::Master);
    cluster.wire.cut();
    eventually("it is away", || cluster.master.workers().is_empty());
    // The recording, with the counters that the worker waits for.
    let at = Arc::new(AtomicUsize::new(0));
    let next = at.clone();
    let mut counters = Vec::new();
    cluster.wire.change(move |sender, frame| match sender {
        From::Worker => {
            counters = frame[..4].to_vec();
            frame
        }
        From::Master => {
            let place = next.fetch_add(1, Ordering::Relaxed) % 2;
            [&counters[..], &recorded[place][4..]].concat()
        }
    });
    advance_until(&cluster.hand, SECOND / 4, "three attempts", || at.load(Ordering::Relaxed) >= 6);
    eventually("it says why", || cluster.failure().contains("there is no session with the master"));
    assert!(cluster.master.workers().is_empty());
    // The suffix is taken away, which needs the key or an old answer.
    cluster.wire.change(|sender, frame| match (sender, command(&frame)) {
        (From::Master, "ok") => rewritten(&frame, |text| text.split(" native/").next().unwrap().to_owned()),
        _ => frame,
    });
    advance_until(&cluster.hand, SECOND / 4, "it is not accepted", || cluster.failure().contains("it offers none"));
    let failure = cluster.failure();
    assert!(
        failure.contains("; this worker has had a session with it") && failure.contains("--forget m' on this worker"),
        "{failure}"
    );
    assert!(forget(&cluster.worker, "w1").unwrap_err().contains("a worker forgets only its master, m"));
    assert_eq!(forget(&cluster.worker, "m").unwrap()["forgotten"]["name"], "m");
    // Now the worker would take it, and the master still knows the worker.
    advance_until(&cluster.hand, SECOND / 4, "the master refuses", || cluster.failure().contains("closed"));
    assert!(cluster.master.workers().is_empty());
    forget(&cluster.master, "w1").unwrap();
    advance_until(&cluster.hand, SECOND / 4, "the standard protocol", || cluster.master.workers() == ["w1"]);
    assert!(!in_session(&cluster.master, "w1"));
}

/// Requests of an old master are not served while the worker waits for a session.
#[test]
fn a_worker_that_needs_a_session_serves_nothing_before() {
    let cluster = Cluster::new();
    cluster.wire.cut();
    cluster.wire.change(|sender, frame| match (sender, command(&frame)) {
        (From::Master, "ok") => [&b"\0\0\0\x07"[..], &frame[4..8], b"echo -------", &frame[20..]].concat(),
        _ => frame,
    });
    let before = cluster.wire.sent_by(From::Worker).len();
    advance_until(&cluster.hand, SECOND / 4, "it is refused", || cluster.failure().contains("outside of a session"));
    let sent = cluster.wire.sent_by(From::Worker).split_off(before);
    assert!(sent.iter().all(|frame| command(frame) != "ok"), "it answered");
}

#[test]
fn whoever_changes_the_agreement_ends_the_connection() {
    for what in ["hello", "native", "welcome", "taken"] {
        let cluster = Cluster::new();
        cluster.wire.cut();
        eventually("it is away", || cluster.master.workers().is_empty());
        let before = refused(&cluster.master);
        let changed = Arc::new(AtomicUsize::new(0));
        let count = changed.clone();
        cluster.wire.change(move |sender, frame| {
            let rewrite = |from: &str, to: &str| {
                rewritten(&frame, |text| {
                    let text_after = text.replacen(from, to, 1);
                    count.fetch_add(usize::from(text != text_after), Ordering::Relaxed);
                    text_after
                })
            };
            match (sender, command(&frame), what) {
                (From::Worker, "hello", "hello") => rewrite("4.14.7", "4.14.6"),
                (From::Worker, "native", "native") => rewrite("\"digest\", ", ""),
                (From::Master, "ok", "welcome") => rewrite("added", "Added"),
                (From::Master, "ok", "taken") => rewrite("\"digest\", ", ""),
                _ => frame,
            }
        });
        advance_until(&cluster.hand, SECOND / 4, what, || refused(&cluster.master) > before + 1);
        assert!(changed.load(Ordering::Relaxed) >= 2, "{what}");
        assert!(cluster.master.workers().is_empty(), "{what}");
        cluster.wire.change(|_, frame| frame);
        cluster.joins();
    }
}

/// On a connection that works: each ends it, and the worker comes back by itself.
#[test]
fn a_frame_that_is_altered_repeated_dropped_reordered_or_sent_back_ends_the_connection() {
    for sender in [From::Worker, From::Master] {
        for what in ["altered", "header", "repeated", "dropped", "reordered", "sent back"] {
            let cluster = Cluster::new();
            let link = cluster.master.as_master().registry.find("w1").unwrap().connection.clone();
            let (mut held, mut other) = (Vec::new(), Vec::new());
            cluster.wire.change(move |from, frame| {
                if from != sender {
                    other = frame.clone();
                    return frame;
                }
                let mut changed = frame.clone();
                let last = frame.len() - 1;
                match what {
                    "altered" => changed[last] ^= 1,
                    // The counter, by which an answer finds its request.
                    "header" => changed[3] ^= 1,
                    "repeated" => changed = frame.repeat(2),
                    "dropped" if held.is_empty() => held = std::mem::take(&mut changed),
                    "reordered" if held.is_empty() => held = std::mem::take(&mut changed),
                    "reordered" => changed.append(&mut held),
                    "sent back" if !other.is_empty() => changed = other.clone(),
                    _ => {}
                }
                changed
            });
            advance_until(&cluster.hand, SECOND, what, || link.is_closed());
            cluster.wire.change(|_, frame| frame);
            cluster.joins();
        }
    }
}

#[test]
fn a_session_that_was_not_proved_holds_no_name() {
    let (clock, hand) = FakeClock::new();
    let master = master(&clock, json!({}));
    // What was recorded of a node that this master has never seen.
    let mut ghost = RawPeer::connect(master.port());
    ghost.agree("w1");
    assert_eq!(master.workers(), ["w1"], "the standard protocol gives it a name");
    let worker = worker(&clock, json!({}), master.port());
    advance_until(&hand, SECOND / 4, "the worker has it", || in_session(&master, "w1"));
    assert!(ghost.is_closed());
    drop(worker);
}

/// A connection without a session is asked with a new text, so that an old answer keeps no name.
#[test]
fn an_old_answer_does_not_hold_a_name() {
    let (clock, hand) = FakeClock::new();
    let master = master(&clock, json!({"link": {"native": "never"}}));
    let mut ghost = RawPeer::connect(master.port());
    assert_eq!(ghost.hello("w1").0, "ok");
    let mut second = RawPeer::connect(master.port());
    let sent = second.send("hello", b"w1 wazuh worker 4.14.7");
    let (counter, _, question) = ghost.receive().unwrap();
    assert!(question.starts_with(b"alive? ") && question.len() > 30);
    ghost.send_with(counter, "ok-c", b"alive? 22b389b6-bce8-4413-be2b-9bcdc92e4c51");
    assert_eq!(second.receive().map(|(counter, answer, _)| (counter, answer)), Some((sent, "ok".into())));
    assert!(ghost.is_closed());
    drop(hand);
}

#[test]
fn a_first_frame_that_is_no_hello_is_refused() {
    let (clock, _hand) = FakeClock::new();
    for settings in [json!({}), json!({"link": {"native": "require"}})] {
        let master = master(&clock, settings);
        let mut peer = RawPeer::connect(master.port());
        peer.agree("w1");
        let (answer, text) = peer.ask("syn_i_w_m_p", b"");
        assert!(answer == "err" && text.contains("3018"), "{text}");
        assert!(peer.is_closed());
        let mut peer = RawPeer::connect(master.port());
        peer.agree("w1");
        assert_eq!(peer.ask("hello", b"w2 wazuh worker 4.14.7").0, "err", "another name");
        assert!(peer.is_closed());
        eventually("nobody is there", || master.workers().is_empty());
        let mut peer = RawPeer::connect(master.port());
        assert_eq!(peer.join("w1"), ("ok".into(), "Client w1 added".into()));
        assert_eq!(peer.ask("echo", b"x").1, "x");
        assert_eq!(peer.ask("hello", b"w1 wazuh worker 4.14.7").0, "err", "once is enough");
        assert_eq!(master.workers(), ["w1"]);
        let (answer, text) = RawPeer::connect(master.port()).hello("m");
        assert!(answer == "err" && text.contains("3029"), "{text}");
    }
}

#[test]
fn two_nodes_of_one_name_are_told_apart_by_a_session() {
    let (clock, _hand) = FakeClock::new();
    let master = master(&clock, json!({}));
    let mut first = RawPeer::connect(master.port());
    assert_eq!(first.join("w1").0, "ok");
    let mut second = RawPeer::connect(master.port());
    let hello = second.agree("w1");
    assert_eq!(first.ask("echo", b"x").1, "x", "until the second has proved itself, the first is not asked");
    let sent = second.send("hello", hello.as_bytes());
    loop {
        let (counter, question, payload) = first.receive().unwrap();
        if question == "echo-m" {
            first.send_with(counter, "ok-c", &payload);
            break;
        }
    }
    let (counter, answer, error) = second.receive().unwrap();
    assert_eq!((counter, answer.as_str()), (sent, "err"));
    assert!(String::from_utf8(error).unwrap().contains("3028"));
    assert_eq!(first.ask("echo", b"x").1, "x");
}

#[test]
fn a_master_that_requires_sessions_takes_nothing_else() {
    let (clock, hand) = FakeClock::new();
    let master = master(&clock, json!({"link": {"native": "require"}}));
    let mut stock = RawPeer::connect(master.port());
    assert_eq!(stock.hello("w1").0, "ok");
    assert!(master.workers().is_empty());
    let (answer, text) = stock.ask("get_nodes", b"{}");
    assert!(answer == "err" && text.contains("accepts sessions only (cluster.json, link.native)"), "{text}");
    assert!(stock.is_closed());
    let older = worker(&clock, json!({"link": {"features": OLDER}}), master.port());
    advance_until(&hand, SECOND, "the older one is refused", || refused(&master) >= 3);
    assert!(master.workers().is_empty());
    drop(older);
    let node = worker(&clock, json!({"link": {"native": "require"}}), master.port());
    advance_until(&hand, SECOND, "a session", || in_session(&master, "w1"));
    drop(node);
}

#[test]
fn a_worker_that_requires_sessions_takes_nothing_else() {
    let (clock, hand) = FakeClock::new();
    for settings in [json!({"link": {"native": "never"}}), json!({"link": {"features": OLDER}})] {
        let master = master(&clock, settings);
        let node = worker(&clock, json!({"link": {"native": "require"}}), master.port());
        let clusterd::local::Role::Worker(inside) = node.running.role() else { panic!("a worker") };
        advance_until(&hand, SECOND, "it says why", || {
            inside.failure().is_some_and(|failure| failure.contains("this worker accepts sessions only"))
        });
        assert!(inside.master().is_none());
    }
}

/// A node of an earlier release, or with the feature switched off, works as before; so does one that is upgraded in place.
#[test]
fn a_node_without_the_feature_works_as_before_until_it_has_it() {
    let (clock, hand) = FakeClock::new();
    let master = master(&clock, json!({}));
    let older = worker(&clock, json!({"link": {"features": OLDER}}), master.port());
    advance_until(&hand, SECOND, "the file", || older.home.read("etc/rules/a.xml").is_some());
    let link = master.as_master().registry.find("w1").unwrap();
    assert!(link.features().digest && !link.connection.in_session());
    let home = older.stop();
    let upgraded = Node::worker(home, &clock, json!({}), "w1", master.port());
    advance_until(&hand, SECOND, "a session", || in_session(&master, "w1"));
    let home = upgraded.stop();
    // Back again: refused with the remedy.
    let older = Node::worker(home, &clock, json!({"link": {"features": OLDER}}), "w1", master.port());
    let clusterd::local::Role::Worker(inside) = older.running.role() else { panic!("a worker") };
    advance_until(&hand, SECOND, "it is refused", || {
        inside.failure().is_some_and(|failure| failure.contains("'cluster_control --forget w1' on the master"))
    });
    forget(&master, "w1").unwrap();
    advance_until(&hand, SECOND, "it is back", || master.workers() == ["w1"]);
    drop(older);
}

/// A master whose own settings do not permit sessions enforces none.
#[test]
fn whoever_switches_sessions_off_on_a_node_has_none_there() {
    let cluster = Cluster::new();
    let Cluster { clock, master, worker, .. } = cluster;
    drop(worker);
    let master = Node::master(master.stop(), &clock, json!({"link": {"features": OLDER}}));
    let mut stock = RawPeer::connect(master.port());
    assert_eq!(stock.hello("w1").0, "ok");
    assert_eq!(master.workers(), ["w1"]);
    drop(stock);
    eventually("it is away", || master.workers().is_empty());
    let master = Node::master(master.stop(), &clock, json!({}));
    RawPeer::connect(master.port()).hello("w1");
    assert!(master.workers().is_empty(), "nothing was forgotten");
}

#[test]
fn whoever_waits_for_a_name_is_a_stranger() {
    let (clock, _hand) = FakeClock::new();
    let settings = |timeout: f64| json!({"link": {"native": "require", "handshake_timeout": timeout}});
    let timed = master(&clock, settings(0.5));
    for agrees in [false, true] {
        let mut peer = RawPeer::connect(timed.port());
        if agrees {
            drop(peer.agree("w1"))
        } else {
            drop(peer.hello("w1"))
        }
        assert!(peer.is_closed());
    }
    eventually("both were counted", || refused(&timed) == 2);
    let patient = master(&clock, settings(30.0));
    // A long frame before the name is not read.
    let mut long = RawPeer::connect(patient.port());
    long.agree("w1");
    long.send_bytes(&frame::header(1, 64 * 1024 + 1, CommandField::received(*b"session ----")));
    assert!(long.is_closed());
    // Eleven of one address are one too many: the oldest goes.
    let mut waiting: Vec<_> = (0..11)
        .map(|at| {
            let mut peer = RawPeer::connect(patient.port());
            peer.agree(&format!("w{at}"));
            peer
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1));
    assert!(waiting.remove(0).is_closed());
    assert!(patient.workers().is_empty());
}

#[test]
fn long_messages_come_in_frames_of_a_mebibyte_that_may_be_mixed() {
    let (clock, _hand) = FakeClock::new();
    let master = master(&clock, json!({}));
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.join("w1").0, "ok");
    let fragment = |last| CommandField::new(Command::Echo).fragment(last);
    for (counter, text, last) in [(1, "one, ", false), (2, "three, ", false), (1, "two", true), (2, "four", true)] {
        let bytes = peer.frame_of(counter, fragment(last), text.as_bytes());
        peer.send_bytes(&bytes);
    }
    // The master asks on its own, too.
    let mut answer = || std::iter::repeat_with(|| peer.receive().unwrap()).find(|(counter, ..)| *counter <= 2);
    let answers = [answer(), answer()].map(|answer| answer.map(|(counter, _, body)| (counter, body)));
    assert_eq!(answers, [Some((1, b"one, two".to_vec())), Some((2, b"three, four".to_vec()))]);
    // Too long for its command: refused, and the stream goes on.
    let (answer, text) = peer.ask("get_nodes", &[b'x'; 70_000]);
    assert!(answer == "err" && text.contains("3050"), "{text}");
    // Eleven that are not completed.
    for counter in 0..11 {
        let bytes = peer.frame_of(counter, fragment(false), b"x");
        peer.send_bytes(&bytes);
    }
    assert!(peer.is_closed());
    eventually("it has left", || master.workers().is_empty());
    // A frame of more than a mebibyte.
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.join("w1").0, "ok");
    peer.send_bytes(&frame::header(1, 1 << 20, CommandField::received(*b"session ----")));
    assert!(peer.is_closed());
}

#[test]
fn who_is_not_on_the_lists_is_turned_away() {
    let (clock, hand) = FakeClock::new();
    let master = master(&clock, json!({"link": {"allow_nodes": ["w1"], "allow_networks": ["127.0.0.0/8", "::1"]}}));
    assert_eq!(RawPeer::connect(master.port()).join("w1").0, "ok");
    for _ in 0..3 {
        let (answer, text) = RawPeer::connect(master.port()).hello("w2");
        assert!(answer == "err" && text.contains("w2 is not in link.allow_nodes"), "{text}");
    }
    let rejected = |why| master.as_master().node.metrics.rejections(why);
    assert_eq!((rejected(Rejection::NotAllowed), rejected(Rejection::Network)), (3, 0));
    assert_eq!(master.workers().len(), 1);

    let closed =
        Node::master(TestHome::new(), &clock, json!({"link": {"allow_networks": ["10.0.0.0/8", "2001:db8::/32"]}}));
    for _ in 0..5 {
        let mut stream = TcpStream::connect(("127.0.0.1", closed.port())).unwrap();
        assert!(read_frame(&mut stream).is_none());
    }
    eventually("all are counted", || closed.as_master().node.metrics.rejections(Rejection::Network) == 5);
    drop(hand);
}

/// A file that says what was remembered is written whole and read back; one that is damaged costs the memory and no more.
#[test]
fn what_a_worker_remembers_of_its_master_outlives_a_restart() {
    let cluster = Cluster::new();
    let Cluster { clock, hand, master, wire, worker } = cluster;
    let home = worker.stop();
    let known: Value = serde_json::from_slice(&home.read("queue/cluster-state/master.json").unwrap()).unwrap();
    assert_eq!(known, json!({"address": format!("127.0.0.1:{}", wire.port), "name": "m"}));
    assert!(fs::read_dir(home.path("queue/cluster-state")).unwrap().count() <= 2);
    drop((master, wire));
    // Another program at the same address, with the key and without a session.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    home.write(
        "queue/cluster-state/master.json",
        json!({"address": format!("127.0.0.1:{port}"), "name": "m"}).to_string(),
    );
    drop(listener);
    let stock = Node::master(TestHome::new(), &clock, json!({"link": {"native": "never"}}));
    let relay = Wire::to(stock.port());
    home.write(
        "queue/cluster-state/master.json",
        json!({"address": format!("127.0.0.1:{}", relay.port), "name": "m"}).to_string(),
    );
    let worker = Node::worker(home, &clock, json!({}), "w1", relay.port);
    let clusterd::local::Role::Worker(inside) = worker.running.role() else { panic!("a worker") };
    advance_until(&hand, SECOND, "it is not accepted", || {
        inside.failure().is_some_and(|failure| failure.contains("--forget m"))
    });
    assert!(inside.master().is_none());
}
