//! Whole messages to a node that runs: a program at the control socket of a master, and a worker that holds the key
//! (`masters.rs` has the other role). The node stays from one input to the next, as it does in life.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use clusterd::{
    config::{Auth, Cluster, ClusterKey, Config, Global, Home, NodeType, Settings},
    crypto::Fernet,
    daemon::{Prepared, Running},
    system::clock::Clock,
    wire::{Command, CommandField, Deframer, Limits, frame},
};
use tempfile::TempDir;

use super::{home::directory, input::Input};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Messages that are made of one input.
const MOST: u32 = 20;

/// How long an answer may take, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A node, and its files, which go after it.
pub struct Node {
    /// It runs.
    pub running: Running,
    /// Where its files are.
    pub directory: TempDir,
}

impl Node {
    /// With the default settings but for these, which are JSON.
    pub fn new(name: &str, node_type: NodeType, port: u16, settings: &[u8]) -> Self {
        let directory = directory();
        for below in
            ["etc/shared/default", "etc/rules", "etc/decoders", "etc/lists", "queue", "var/multigroups", "logs"]
        {
            fs::create_dir_all(directory.path().join(below)).expect("a directory");
        }
        let cluster = Cluster {
            node_name: name.to_owned(),
            node_type,
            port,
            bind_addr: "127.0.0.1".to_owned(),
            nodes: vec!["127.0.0.1".to_owned()],
            ..Cluster::new(ClusterKey::new(KEY).expect("a key"))
        };
        let settings = Settings::parse(settings, Path::new("cluster.json")).expect("they are good");
        let (home, auth, global) = (Home::new(directory.path()), Auth::default(), Global::default());
        let config = Config { home, cluster, auth, global, settings };
        let running = Prepared::new(config, Clock::real()).expect("a free port").start().expect("threads");
        Self { running, directory }
    }
}

thread_local! {
    static MASTER: Node = Node::new("m", NodeType::Master, 0, b"{\"local\": {\"max_clients\": 8}}");
}

/// The cipher of the key.
pub fn cipher() -> Fernet {
    Fernet::new(KEY.as_bytes().try_into().expect("32 bytes"))
}

/// A message under the key.
pub fn sealed(fernet: &Fernet, counter: u32, field: CommandField, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; frame::HEADER];
    fernet.seal(payload, 0, [7; 16], &mut bytes);
    frame::complete(&mut bytes, counter, field, payload.len());
    bytes
}

/// A program: each part is the name of a command and its payload.
pub fn program(input: &[u8]) {
    let socket = MASTER.with(|master| master.directory.path().join("queue/cluster/c-internal.sock"));
    let mut stream = UnixStream::connect(socket).expect("it is served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut sent = Vec::new();
    messages(input, |counter, field, payload| {
        sent.extend_from_slice(&frame::header(counter, payload.len(), field));
        sent.extend_from_slice(payload);
    });
    // The node may have closed already, for it has its reasons.
    _ = stream.write_all(&sent).and_then(|()| stream.shutdown(Shutdown::Write));
    read(&mut stream, |body| body);
}

/// A worker, after its hello: the same.
pub fn worker(input: &[u8]) {
    let address = MASTER.with(|master| master.running.address()).expect("a master listens");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let (fernet, mut sent) = (cipher(), Vec::new());
    let mut send = |counter, field, payload: &[u8]| sent.extend(sealed(&fernet, counter, field, payload));
    send(0, CommandField::new(Command::Hello), b"w wazuh worker 4.14.7");
    messages(input, send);
    _ = stream.write_all(&sent).and_then(|()| stream.shutdown(Shutdown::Write));
    read(&mut stream, |body| fernet.open(body).expect("a master seals what it sends"));
}

/// The messages of an input.
pub fn messages(input: &[u8], mut send: impl FnMut(u32, CommandField, &[u8])) {
    let mut input = Input(input);
    for counter in 1..=MOST {
        if input.is_over() {
            break;
        }
        let mut message = Input(input.part());
        let command = message.command();
        send(counter, command, message.0);
    }
}

/// Reads until the node closes, which it does when nothing more can come and all is answered.
fn read(stream: &mut impl Read, open: impl Fn(Vec<u8>) -> Vec<u8>) {
    let mut deframer = Deframer::new(Limits::FULL);
    loop {
        match stream.read(deframer.space()) {
            Ok(0) => return assert!(!deframer.inside_frame(), "the node closed inside a frame"),
            Ok(count) => {
                if let Some(message) = deframer.arrived(count).expect("a node keeps to the limits") {
                    open(message.body);
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no answer: {error}"),
        }
    }
}
