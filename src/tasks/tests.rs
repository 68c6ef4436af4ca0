//! What tests of tasks share: a worker's end of a link, a master that grants everything, and a database that fails.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::{
    agents::{Backend, Error, Reply, TakenInfo},
    config::{Auth, Cluster, ClusterKey, Config, Global, Home, NodeType, Settings},
    connection::{self, Connection, Handler, Socket},
    daemon::{Prepared, Running},
    local::Role,
    node::Node,
    services::Services,
    system::clock::{Clock, FakeClock},
    wire::Message,
};

/// A database whose every answer is a panic. It may tell what it was asked.
#[derive(Default)]
pub(crate) struct Panics(Option<Sender<String>>);

impl Panics {
    pub(crate) fn telling() -> (Self, Receiver<String>) {
        let (tells, asked) = unbounded();
        (Self(Some(tells)), asked)
    }

    fn fail(&self, request: &str) -> ! {
        if let Some(tells) = &self.0 {
            let _ = tells.send(request.to_owned());
        }
        panic!("as ordered")
    }
}

impl Backend for Panics {
    fn query(&self, request: &str) -> Result<Reply, Error> {
        self.fail(request)
    }

    fn take_info(&self) -> Result<TakenInfo, Error> {
        self.fail("take")
    }

    fn store_info(&self, info: &str) -> Result<Option<usize>, Error> {
        self.fail(info)
    }
}

/// Grants everything, has the same files, and tells the test what it was asked.
struct Master(Sender<String>);

impl Handler for Master {
    fn request(&mut self, reply: connection::Reply, message: Message) {
        let name = message.command.to_string();
        reply.ok(if name == "int_digest" { "same" } else { "True" });
        let _ = self.0.send(format!("{name} {}", String::from_utf8_lossy(&message.body)));
    }

    fn closed(&mut self, _: &str) {}
}

/// A worker and its link to a master.
pub(crate) struct Pair {
    pub(crate) master: Connection,
    pub(crate) hand: FakeClock,
    running: Running,
    heard: Receiver<String>,
    _other: Connection,
    _folder: tempfile::TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let (clock, hand) = FakeClock::new();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("queue")).unwrap();
        let running = worker(folder.path(), &clock);
        let (one, two) = UnixStream::pair().unwrap();
        let ((asked, heard), (ignored, _)) = (unbounded(), unbounded());
        let connection = |stream, handler| {
            let node = node(&running);
            let options = node.local_options("test".into());
            node.connections.start(Socket::Unix(stream), options, |_| handler).unwrap()
        };
        let (master, other) = (connection(one, Master(ignored)), connection(two, Master(asked)));
        Self { master, hand, heard, _other: other, _folder: folder, running }
    }

    pub(crate) fn node(&self) -> &Node {
        node(&self.running)
    }

    pub(crate) fn shared_node(&self) -> Arc<Node> {
        node(&self.running).clone()
    }

    pub(crate) fn services(&self) -> &Services {
        self.running.role().services()
    }

    /// Whether nothing was asked but what was waited for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.heard.is_empty()
    }

    /// The next request with this name.
    pub(crate) fn wait(&self, name: &str) -> String {
        loop {
            let next = self.heard.recv_timeout(Duration::from_secs(30));
            let one = next.unwrap_or_else(|_| panic!("{name} was not asked"));
            if one.starts_with(name) {
                return one;
            }
        }
    }
}

/// A worker whose master is not there.
fn worker(home: &Path, clock: &Clock) -> Running {
    let cluster = Cluster {
        node_type: NodeType::Worker,
        nodes: vec!["127.0.0.1".to_owned()],
        ..Cluster::new(ClusterKey::new("0123456789abcdef0123456789abcdef").unwrap())
    };
    let settings = Settings::parse(b"{}", Path::new("cluster.json")).unwrap();
    let config = Config { home: Home::new(home), cluster, auth: Auth::default(), global: Global::default(), settings };
    Prepared::new(config, clock.clone()).unwrap().start().unwrap()
}

fn node(running: &Running) -> &Arc<Node> {
    let Role::Worker(worker) = running.role() else { panic!("this is a worker") };
    &worker.node
}

/// Waits for what another thread is about to do.
#[track_caller]
pub(crate) fn wait_until(so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < end, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}
