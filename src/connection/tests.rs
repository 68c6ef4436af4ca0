use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::*;
use crate::{
    crypto,
    limits::{Job, Line},
    session::Transfers,
    system::clock::FakeClock,
    wire::{self, Asker, Command, CommandField, ErrorObject, Link, Question, Request, frame},
};

const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// Takes transfers, answers echoes, tells its end, and leaves everything else unanswered.
struct TestHandler {
    transfers: Transfers,
    files: Sender<ReceivedFile>,
    ended: Sender<String>,
}

impl Handler for TestHandler {
    fn request(&mut self, reply: Reply, message: Message) {
        let Message { command, body, .. } = message;
        match Request::parse(Asker::Worker, command, &body) {
            Ok(Request::Transfer(transfer)) => {
                let ended = if let wire::Transfer::FileEnd(end) = &transfer { Some(end.path) } else { None };
                self.transfers.request(reply, transfer, Some(Proof::Checksum));
                if let Some(file) = ended.and_then(|path| self.transfers.files.take(path)) {
                    self.files.send(file).unwrap();
                }
            }
            Ok(Request::Link(Link::Echo)) => reply.ok(body),
            Ok(Request::Link(Link::Native(_))) => {
                reply.ok_then_seal("sealed from now on", crypto::sample_session(crypto::End::Master))
            }
            // A handler that forgets a request, and one that breaks.
            Ok(Request::Question(Question::Keys)) => drop(reply),
            Ok(Request::Question(Question::Nodes(_))) => panic!("as ordered"),
            _ => reply.leave(),
        }
    }

    fn closed(&mut self, reason: &str) {
        let _ = self.ended.send(reason.to_owned());
    }
}

/// Is told nothing.
struct Ignorant;

impl Handler for Ignorant {
    fn request(&mut self, _: Reply, _: Message) {
        unreachable!("it never begins");
    }

    fn closed(&mut self, _: &str) {}
}

struct End {
    connection: Connection,
    files: Receiver<ReceivedFile>,
    ended: Receiver<String>,
    connections: Connections,
    _directory: tempfile::TempDir,
}

fn options(clock: &Clock) -> Options {
    Options {
        deadline: None,
        traffic: Arc::default(),
        peer: "test".into(),
        ciphers: Vec::new(),
        known: Known::AtOnce,
        budget: Budget::new(1 << 30, 1 << 30, Duration::from_secs(2)),
        handshake_timeout: Duration::from_secs(60),
        frame_timeout: Duration::from_secs(60),
        request_timeout: Duration::from_secs(20),
        clock: clock.clone(),
    }
}

fn end(stream: UnixStream, cipher: bool, clock: &Clock, change: impl FnOnce(&mut Options)) -> End {
    let ciphers = Vec::from_iter(cipher.then(|| Fernet::new(KEY)));
    let mut options = Options { ciphers, ..options(clock) };
    change(&mut options);
    let directory = tempfile::tempdir().unwrap();
    let limits = FileLimits { size: 1 << 30, open: 2 };
    let transfers = Transfers::new(IncomingFiles::new(directory.path().into(), "queue/cluster/w1/".into(), limits));
    let ((files, received), (ended, reasons)) = (unbounded(), unbounded());
    let handler = TestHandler { transfers, files, ended };
    let connections = Connections::new(1);
    let connection = connections.start(Socket::Unix(stream), options, |_| handler).unwrap();
    End { connection, files: received, ended: reasons, connections, _directory: directory }
}

impl Drop for End {
    fn drop(&mut self) {
        self.connections.stop();
    }
}

fn pair(cipher: bool) -> (End, End) {
    pair_with(cipher, |_| ())
}

fn pair_with(cipher: bool, change: impl Fn(&mut Options)) -> (End, End) {
    let (one, two) = UnixStream::pair().unwrap();
    let clock = Clock::real();
    (end(one, cipher, &clock, &change), end(two, cipher, &clock, &change))
}

/// Has the second one agree on a session with the first.
fn seal((one, two): (End, End)) -> (End, End) {
    let (answer, undecided) = one.connection.request_undecided(Command::Native, "");
    assert_eq!(answer.unwrap(), b"sealed from now on");
    undecided.seal(crypto::sample_session(crypto::End::Worker));
    (one, two)
}

/// One of our ends, and a plain stream to say anything to it.
fn raw(clock: &Clock, change: impl FnOnce(&mut Options)) -> (End, UnixStream) {
    let (one, two) = UnixStream::pair().unwrap();
    two.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (end(one, false, clock, change), two)
}

fn read_frame(stream: &mut UnixStream) -> (u32, Vec<u8>) {
    let mut header = [0; frame::HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize];
    stream.read_exact(&mut body).unwrap();
    (u32::from_be_bytes(header[..4].try_into().unwrap()), body)
}

fn write_frame(stream: &mut UnixStream, counter: u32, command: Command, body: &[u8]) {
    let header = frame::header(counter, body.len(), CommandField::new(command));
    stream.write_all(&[&header[..], body].concat()).unwrap();
}

#[test]
fn a_request_that_is_given_up_or_breaks_its_handler_is_refused() {
    let (one, two) = pair(false);
    let given_up = |answer: Answer| matches!(answer, Err(RequestError::Refused(error)) if error.code == 1000);
    assert!(given_up(one.connection.request(Command::Keys, "")));
    assert_eq!(one.connection.request(Command::Echo, "still here").unwrap(), b"still here");
    // Refused or, because the connection then closes, unanswered.
    assert!(one.connection.request(Command::Nodes, "").is_err());
    assert_eq!(two.ended.recv_timeout(Duration::from_secs(20)).unwrap(), "one of its requests failed on this node");
}

#[test]
fn payloads_of_every_size_come_back_as_they_went() {
    for pair in [pair(false), pair(true), seal(pair(true))] {
        let (one, two) = pair;
        for length in [0, 1, 15, 16, 17, 70_000, 5_242_880, 5_242_881, 8_388_608] {
            let payload: Vec<u8> = (0..length).map(|i: u32| (i.wrapping_mul(31) >> 3) as u8).collect();
            assert_eq!(one.connection.request(Command::Echo, payload.clone()).unwrap(), payload);
        }
        // Both directions at a time.
        let other = two.connection.clone();
        let back = thread::spawn(move || other.request(Command::Echo, vec![7; 6_000_000]).unwrap().len());
        assert_eq!(one.connection.request(Command::Echo, vec![8; 6_000_000]).unwrap().len(), 6_000_000);
        assert_eq!(back.join().unwrap(), 6_000_000);
    }
}

/// What is asked while it is not decided what the link speaks goes out afterwards, sealed or not.
#[test]
fn nothing_goes_out_before_it_is_decided_what_a_link_speaks() {
    for sealed in [true, false] {
        let (one, mut two) = raw(&Clock::real(), |options| options.ciphers = vec![Fernet::new(KEY)]);
        let (connection, first) = (one.connection.clone(), one.connection.clone());
        let asks = thread::spawn(move || first.request_undecided(Command::Native, ""));
        let (counter, _) = read_frame(&mut two);
        let meanwhile = thread::spawn(move || connection.request(Command::Echo, "meanwhile"));
        two.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(two.read(&mut [0]).is_err(), "it waits");
        two.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = vec![0; frame::HEADER];
        Fernet::new(KEY).seal(b"", 0, [7; 16], &mut answer);
        frame::complete(&mut answer, counter, CommandField::new(Command::Ok), 0);
        two.write_all(&answer).unwrap();
        let (answer, undecided) = asks.join().unwrap();
        assert_eq!(answer.unwrap(), b"");
        if sealed {
            undecided.seal(crypto::sample_session(crypto::End::Worker))
        } else {
            drop(undecided)
        }
        let (counter, body) = read_frame(&mut two);
        let text = if sealed {
            let command = CommandField::received(*b"session ----");
            let message = Message { counter, command, body, share: None, passed_over: false };
            wire::sealed::open(&mut crypto::sample_session(crypto::End::Master).opener, message).unwrap().body
        } else {
            Fernet::new(KEY).open(body).unwrap()
        };
        assert_eq!(text, b"meanwhile");
        drop(two);
        assert!(meanwhile.join().unwrap().is_err());
    }
}

/// Case 5: a peer that holds the key cannot have more held for it than others; a frame that is there is still verified.
#[test]
fn what_is_too_much_for_one_connection_is_refused_in_a_session_and_the_next_is_answered() {
    let limited = |options: &mut Options| options.budget = Budget::new(64 << 20, 2 << 20, Duration::from_secs(2));
    let (one, two) = {
        let (one, two) = UnixStream::pair().unwrap();
        let clock = Clock::real();
        seal((end(one, true, &clock, |_| ()), end(two, true, &clock, limited)))
    };
    let refused = one.connection.request(Command::Echo, vec![7; 5 << 20]).unwrap_err();
    assert_eq!(refused.to_object().code, 3050);
    assert_eq!(one.connection.request(Command::Echo, "still here").unwrap(), b"still here");
    drop(two);
}

#[test]
fn a_message_of_the_standard_protocol_ends_a_session() {
    let (one, two) = seal(pair(true));
    assert_eq!(one.connection.request(Command::Echo, "x").unwrap(), b"x");
    assert!(one.connection.in_session() && two.connection.in_session());
    let mut token = vec![0; frame::HEADER];
    Fernet::new(KEY).seal(b"x", 0, [7; 16], &mut token);
    frame::complete(&mut token, 1, CommandField::new(Command::Echo), 1);
    (&one.connection.0.socket).write_all(&token).unwrap();
    let reason = two.ended.recv().unwrap();
    assert!(reason.starts_with("a frame of the session cannot be opened: it has not the form"), "{reason}");
}

/// Whoever tells a peer something writes it, as long as the peer takes it; the rest is for a thread that may wait.
#[test]
fn a_peer_that_takes_nothing_holds_nobody_up_and_gets_all_in_order() {
    let (ours, mut theirs) = raw(&Clock::real(), |_| ());
    let text = |number: usize| format!("{number:0>60000}").into_bytes();
    let told = (0..).take_while(|number| ours.connection.tell(Command::Echo, text(*number))).count();
    assert!(told > limits::OUTBOX, "what the socket takes, and an outbox: {told}");
    // Others wait for room, and find their way as soon as there is some.
    let others: Vec<_> = (0..8)
        .map(|_| {
            let connection = ours.connection.clone();
            thread::spawn(move || connection.begin(Command::Echo, "one of many").map(drop))
        })
        .collect();
    for number in 0..told {
        assert!(read_frame(&mut theirs).1 == text(number), "{number}");
    }
    for _ in 0..8 {
        assert_eq!(read_frame(&mut theirs).1, b"one of many");
    }
    others.into_iter().for_each(|other| other.join().unwrap().unwrap());
    ours.connection.tell(Command::Echo, "at once again");
    assert_eq!(read_frame(&mut theirs).1, b"at once again");
}

#[test]
fn a_connection_that_closes_gives_back_the_room_of_what_waits() {
    let (ours, _theirs) = raw(&Clock::real(), |options| {
        options.budget = Budget::new(64 << 20, 1 << 20, Duration::from_millis(1));
    });
    while ours.connection.tell(Command::Echo, vec![7; 60_000]) {}
    assert!(ours.connection.hold(600_000).is_err(), "what waits takes the room");
    ours.connection.close("the test ends it");
    assert_eq!(ours.connections.threads().join(Instant::now() + Duration::from_secs(20)), 0);
    assert!(ours.connection.hold(1_000_000).is_ok());
}

#[test]
fn answers_find_their_requests_in_any_order() {
    let (ours, mut theirs) = raw(&Clock::real(), |_| ());
    let ask = |text: &'static str| {
        let connection = ours.connection.clone();
        thread::spawn(move || connection.request(Command::Echo, text).unwrap())
    };
    let first = ask("first");
    let (one, _) = read_frame(&mut theirs);
    let second = ask("second");
    let (two, _) = read_frame(&mut theirs);
    write_frame(&mut theirs, two, Command::Ok, b"to the second");
    write_frame(&mut theirs, one, Command::Ok, b"to the first");
    assert_eq!(first.join().unwrap(), b"to the first");
    assert_eq!(second.join().unwrap(), b"to the second");
}

#[test]
fn a_request_of_the_peer_with_the_counter_of_ours_is_a_request() {
    let (ours, mut theirs) = raw(&Clock::real(), |_| ());
    let connection = ours.connection.clone();
    let waiting = thread::spawn(move || connection.request(Command::Echo, "mine").unwrap());
    let (counter, _) = read_frame(&mut theirs);
    write_frame(&mut theirs, counter, Command::Echo, b"yours");
    assert_eq!(read_frame(&mut theirs), (counter, b"yours".to_vec()));
    write_frame(&mut theirs, counter, Command::Ok, b"mine");
    assert_eq!(waiting.join().unwrap(), b"mine");
}

#[test]
fn a_late_answer_is_dropped_and_never_answered() {
    let (clock, hand) = FakeClock::new();
    let (ours, mut theirs) = raw(&clock, |_| ());
    let connection = ours.connection.clone();
    let waiting = thread::spawn(move || connection.request(Command::Echo, "x"));
    let (counter, _) = read_frame(&mut theirs);
    while !waiting.is_finished() {
        hand.advance(Duration::from_secs(1));
    }
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(error.to_object().code, 3020);
    write_frame(&mut theirs, counter, Command::Ok, b"late");
    write_frame(&mut theirs, 5, Command::Echo, b"next");
    assert_eq!(read_frame(&mut theirs), (5, b"next".to_vec()), "nothing was said to the late answer");
}

#[test]
fn an_answer_that_is_none_fails_its_request() {
    let (ours, mut theirs) = raw(&Clock::real(), |_| ());
    let mut answer = |command, text: &[u8]| {
        let connection = ours.connection.clone();
        let waiting = thread::spawn(move || connection.request(Command::Echo, "x"));
        let (counter, _) = read_frame(&mut theirs);
        write_frame(&mut theirs, counter, command, text);
        waiting.join().unwrap().unwrap_err()
    };
    assert_eq!(answer(Command::Err, b"unknown command").to_object().code, 3000);
    let refused = answer(Command::Err, ErrorObject::cluster(3028, "w1").to_json().as_bytes());
    assert_eq!(refused.to_string(), "Error 3028 - Worker node ID already exists: w1");
    assert!(matches!(answer(Command::Error, b""), RequestError::Unexpected(_)));
}

#[test]
fn when_a_connection_ends_all_who_wait_are_told_why() {
    let (ours, theirs) = raw(&Clock::real(), |_| ());
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let connection = ours.connection.clone();
            thread::spawn(move || connection.request(Command::Echo, "x").unwrap_err().to_string())
        })
        .collect();
    drop(theirs);
    for one in waiting {
        assert!(one.join().unwrap().starts_with("the connection was closed: "));
    }
    assert!(ours.ended.recv().unwrap().contains("peer"));
    assert!(ours.connection.is_closed());
    assert!(ours.connection.request(Command::Echo, "x").is_err());
}

#[test]
fn a_frame_that_is_begun_and_not_completed_ends_the_connection() {
    let (ours, mut theirs) = raw(&Clock::real(), |options| options.frame_timeout = Duration::from_millis(200));
    write_frame(&mut theirs, 1, Command::Echo, b"whole");
    read_frame(&mut theirs);
    let start = Instant::now();
    theirs.write_all(&frame::header(2, 100, CommandField::new(Command::Echo))).unwrap();
    theirs.write_all(b"half").unwrap();
    let reason = ours.ended.recv().unwrap();
    assert!(reason.contains("begun and not completed"), "{reason}");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_token_of_another_key_ends_the_connection_and_the_reason_names_the_key() {
    let (one, two) = UnixStream::pair().unwrap();
    let clock = Clock::real();
    let ours = end(one, true, &clock, |_| ());
    let theirs = end(two, true, &clock, |options| options.ciphers = vec![Fernet::new(&[b'x'; 32])]);
    assert!(theirs.connection.request(Command::Echo, "x").is_err());
    let reason = ours.ended.recv().unwrap();
    assert!(reason.contains("<key>"), "{reason}");
}

#[test]
fn the_order_to_stop_ends_the_connection() {
    let (ours, _theirs) = raw(&Clock::real(), |_| ());
    ours.connections.stop();
    assert_eq!(ours.ended.recv().unwrap(), NODE_STOPS);
    let (late, _) = UnixStream::pair().unwrap();
    let handler = |_: &Connection| Ignorant;
    let stopped = ours.connections.start(Socket::Unix(late), options(&Clock::real()), handler).err().unwrap();
    assert_eq!(stopped.to_string(), NODE_STOPS);
    assert_eq!(ours.connections.threads().join(Instant::now() + Duration::from_secs(20)), 0);
}

#[test]
fn a_file_arrives_as_it_was_written() {
    let lengths = [0, 1, 8_192, 60_000, 70_000, 524_288, 524_289, 524_288 * 5 + 70_000, 3_000_000];
    for (length, sealed) in lengths.into_iter().flat_map(|length| [(length, false), (length, true)]) {
        let (one, two) = if sealed { seal(pair(true)) } else { pair(true) };
        let content: Vec<u8> = (0..length).map(|i: u32| (i.wrapping_mul(7) >> 2) as u8).collect();
        let mut sender = FileSender::begin(&one.connection, "queue/cluster/w1/a.zip", Arc::default()).unwrap();
        sender.write_all(&content).unwrap();
        assert_eq!(sender.finish().unwrap(), u64::from(length));
        let mut received = Vec::new();
        two.files.recv().unwrap().file.read_to_end(&mut received).unwrap();
        assert!(received == content);
    }
}

/// The other end of a session, told what to do.
struct SealedPeer {
    stream: UnixStream,
    session: crypto::Session,
}

impl SealedPeer {
    /// With one of our ends.
    fn new() -> (End, Self) {
        let (ours, mut stream) = raw(&Clock::real(), |options| options.ciphers = vec![Fernet::new(KEY)]);
        let connection = ours.connection.clone();
        let asks = thread::spawn(move || connection.request_undecided(Command::Native, ""));
        let (counter, _) = read_frame(&mut stream);
        let mut answer = vec![0; frame::HEADER];
        Fernet::new(KEY).seal(b"", 0, [7; 16], &mut answer);
        frame::complete(&mut answer, counter, CommandField::new(Command::Ok), 0);
        stream.write_all(&answer).unwrap();
        asks.join().unwrap().1.seal(crypto::sample_session(crypto::End::Worker));
        (ours, Self { stream, session: crypto::sample_session(crypto::End::Master) })
    }

    /// Reads a message of one frame; gives its counter.
    fn read(&mut self, command: Command) -> u32 {
        let (counter, body) = read_frame(&mut self.stream);
        let field = CommandField::received(*b"session ----");
        let message = Message { counter, command: field, body, share: None, passed_over: false };
        let message = wire::sealed::open(&mut self.session.opener, message).unwrap();
        assert_eq!(Command::named(message.command.name()), Some(command));
        counter
    }

    fn answer(&mut self, counter: u32) {
        let mut frame = Vec::new();
        let ok = CommandField::new(Command::Ok);
        wire::sealed::seal(&mut self.session.sealer, counter, ok, b"", [3; 16], &mut frame).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    /// Nothing comes before something is answered.
    fn waits(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(self.stream.read(&mut [0]).is_err());
        self.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
}

/// All that is under way has to be answered in the time of one request, so a slow link gets no more than that can be.
#[test]
fn several_chunks_are_under_way_while_each_is_answered_soon() {
    let (ours, mut peer) = SealedPeer::new();
    let connection = ours.connection.clone();
    let sends = thread::spawn(move || {
        let mut file = FileSender::begin(&connection, "queue/cluster/w1/a.zip", Arc::default()).unwrap();
        file.write_all(&vec![1; 7 * 524_288]).unwrap();
        file.finish().unwrap()
    });
    let announced = peer.read(Command::NewFile);
    peer.answer(announced);
    let first = peer.read(Command::FileUpdate);
    peer.waits();
    peer.answer(first);
    let several = [(); 4].map(|()| peer.read(Command::FileUpdate));
    peer.waits();
    // Longer than an answer takes over a quick link; the figure is that of `outgoing`.
    thread::sleep(Duration::from_millis(1000));
    several.into_iter().for_each(|counter| peer.answer(counter));
    for _ in 0..2 {
        let one = peer.read(Command::FileUpdate);
        peer.waits();
        peer.answer(one);
    }
    let end = peer.read(Command::FileEnd);
    peer.answer(end);
    assert_eq!(sends.join().unwrap(), 7 * 524_288);
}

#[test]
fn a_cancelled_file_stops_between_two_chunks() {
    let (one, two) = pair(true);
    let transfer = Arc::<Transfer>::default();
    let mut sender = FileSender::begin(&one.connection, "queue/cluster/w1/a.zip", transfer.clone()).unwrap();
    sender.write_all(&vec![1; 600_000]).unwrap();
    transfer.cancel();
    assert!(sender.write_all(&vec![1; 600_000]).is_err());
    assert_eq!(transfer.sent(), 524_288);
    assert!(two.files.try_recv().is_err());
}

/// A peer that answers each chunk just in time is not to keep what the file takes for ever.
#[test]
fn a_file_that_is_not_taken_in_time_is_cancelled() {
    let (one, _two) = pair(true);
    let transfer = Arc::<Transfer>::default();
    transfer.must_end(Clock::real().now() + Duration::from_secs(60));
    let mut sender = FileSender::begin(&one.connection, "queue/cluster/w1/a.zip", transfer.clone()).unwrap();
    sender.write_all(&vec![1; 600_000]).unwrap();
    assert!(!transfer.is_cancelled());
    sender.finish().unwrap();

    let transfer = Arc::<Transfer>::default();
    let now = Clock::real().now();
    transfer.must_end(now);
    let mut sender = FileSender::begin(&one.connection, "queue/cluster/w1/a.zip", transfer.clone()).unwrap();
    while Clock::real().now() == now {}
    let error = sender.write_all(&vec![1; 600_000]).unwrap_err();
    assert!(error.to_string().contains("not taken all of the file in time"), "{error}");
    assert!(transfer.is_cancelled() && transfer.sent() == 0);
}

/// Whoever makes a file for a peer that takes nothing holds up nobody who makes one for another.
#[test]
fn nobody_has_its_turn_while_it_waits_for_the_peer() {
    for sealed in [false, true] {
        let ((ours, mut peer), line) = (SealedPeer::new(), Line::new(1));
        let (plain, silent) = raw(&Clock::real(), |_| ());
        let connection = if sealed { ours.connection.clone() } else { plain.connection.clone() };
        let mut place = line.wait(Job::Long, connection.closed()).unwrap();
        let writes = thread::spawn(move || {
            let path = "queue/cluster/w1/a.zip";
            let file = place.aside(|| FileSender::begin(&connection, path, Arc::default()))?.ok()?;
            file.in_line(place).write_all(&vec![1; 7 * 524_288]).ok()
        });
        if sealed {
            let announced = peer.read(Command::NewFile);
            peer.answer(announced);
            peer.read(Command::FileUpdate);
        }
        let other = line.wait(Job::Long, plain.connection.closed()).unwrap();
        drop((ours, plain, silent));
        assert!(writes.join().unwrap().is_none(), "it comes back without its turn");
        drop(other);
    }
}

/// What the thread that sends the chunks meets comes back to whoever writes the file.
#[test]
fn a_file_whose_peer_is_lost_fails_and_is_not_sent_on() {
    for sealed in [false, true] {
        let (one, two) = if sealed { seal(pair(true)) } else { pair(true) };
        let mut sender = FileSender::begin(&one.connection, "queue/cluster/w1/a.zip", Arc::default()).unwrap();
        sender.write_all(&vec![1; 3_000_000]).unwrap();
        two.connection.close("the test ends it");
        let failed = (0..100).find_map(|_| sender.write_all(&vec![1; 600_000]).err());
        assert!(failed.unwrap().to_string().contains("closed"));
        assert!(matches!(sender.finish(), Err(RequestError::Closed { .. })));
    }
}

#[test]
fn a_path_that_is_not_allowed_is_refused_at_once() {
    let (one, _two) = pair(true);
    let refused = FileSender::begin(&one.connection, "etc/ossec.conf", Arc::default()).err().unwrap();
    assert_eq!(refused.to_object().extra.unwrap(), "Write path not allowed");
}

#[test]
fn in_a_session_a_path_that_is_not_allowed_is_refused_at_the_end() {
    for length in [10, 100_000] {
        let (one, two) = seal(pair(true));
        assert_eq!(one.connection.request(Command::Echo, "x").unwrap(), b"x");
        let mut sender = FileSender::begin(&one.connection, "etc/ossec.conf", Arc::default()).unwrap();
        let refused = sender.write_all(&vec![1; length]).map_err(drop).and_then(|()| sender.finish().map_err(drop));
        assert_eq!(refused, Err(()), "{length}");
        assert!(two.files.try_recv().is_err());
        assert_eq!(one.connection.request(Command::Echo, "goes on").unwrap(), b"goes on");
    }
}

#[test]
fn a_string_is_given_an_id() {
    let (one, _two) = pair(true);
    let id = send_string(&one.connection, 1_200_000, &vec![b'x'; 1_200_000][..]).unwrap();
    assert!(id.parse::<u32>().is_ok());
    let too_long = one.connection.request(Command::NewString, (limits::STRING + 1).to_string());
    assert!(matches!(too_long, Err(RequestError::Unexpected(_))));
    assert_eq!(one.connection.request(Command::StringFailed, "77").unwrap(), b"None");
}
