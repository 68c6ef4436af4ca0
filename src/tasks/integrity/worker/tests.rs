use std::{os::unix::net::UnixStream, path::Path, thread};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::*;
use crate::{
    config::{Auth, Cluster, ClusterKey, Config, Global, Home, NodeType, Settings},
    connection::{Handler, Socket},
    daemon::Prepared,
    files::{Added, ArchiveWriter, md5_of},
    local::Role,
    sockets::Endpoint,
    system::{clock::FakeClock, disk::faults::Fault},
    wire::{Message, Request},
};

/// A master that grants every check, finds no difference, and tells the test what it was asked.
struct Master(Sender<String>);

impl Handler for Master {
    fn request(&mut self, connection: &Connection, message: Message) {
        let name = message.command.to_string();
        let answer = match Request::parse(message.command, &message.body) {
            Ok(Request::IntegrityPermission) => "True",
            Ok(Request::IntegrityDigest(_)) => "same",
            _ => "Error received",
        };
        connection.answer(message.counter, Command::Ok, answer);
        let _ = self.0.send(format!("{name} {}", String::from_utf8_lossy(&message.body)));
    }

    fn closed(&mut self, _: &str) {}
}

/// An update with one rule.
fn update() -> ReceivedFile {
    let home = tempfile::tempdir().unwrap();
    let path = "etc/rules/new.xml";
    std::fs::create_dir_all(home.path().join("etc/rules")).unwrap();
    std::fs::write(home.path().join(path), "new").unwrap();
    let entry = format!(
        r#"{{"{path}": {{"mod_time": 1.0, "cluster_item_key": "etc/rules/", "merged": false, "hash": "{}"}}}}"#,
        crate::system::hex::hex(&md5_of(b"new"))
    );
    let metadata = format!(r#"{{"missing": {entry}, "shared": {{}}, "extra": {{}}}}"#);
    let mut archive = tempfile::tempfile().unwrap();
    let mut writer = ArchiveWriter::new(&mut archive, 1, u64::MAX);
    let mut content = std::fs::File::open(home.path().join(path)).unwrap();
    assert!(matches!(writer.add_file(path, &mut content, None, None), Ok(Added::Written { .. })));
    writer.finish(metadata.as_bytes()).unwrap();
    ReceivedFile { file: archive, sha256: [0; 32] }
}

/// Case 6.9: a panic leaves nothing behind that is waited for.
#[test]
fn after_a_panic_the_master_is_told_and_the_next_check_comes_in_its_time() {
    let (clock, hand) = FakeClock::new();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("queue")).unwrap();
    let cluster = Cluster {
        node_type: NodeType::Worker,
        nodes: vec!["127.0.0.1".to_owned()],
        ..Cluster::new(ClusterKey::new("0123456789abcdef0123456789abcdef").unwrap())
    };
    let settings = Settings::parse(b"{}", Path::new("cluster.json")).unwrap();
    let config = Config {
        home: Home::new(directory.path()),
        cluster,
        auth: Auth::default(),
        global: Global::default(),
        settings,
    };
    let node = Prepared::new(config, clock.clone()).unwrap().start().unwrap();
    let Role::Worker(worker) = node.role() else { panic!("this is a worker") };

    let (one, two) = UnixStream::pair().unwrap();
    let (asked, heard) = unbounded();
    let connection = |stream, handler| {
        let options = worker.node.local_options("test".into());
        Connection::start(Socket::Unix(stream), options, &worker.node.connections, |_| handler).unwrap()
    };
    let (master, _other) = (connection(one, Master(unbounded().0)), connection(two, Master(asked)));
    let analysis = Endpoint::new("none", directory.path().join("none"), worker.node.shutdown.clone());
    let mut files = Files::new(Scanner::new(directory.path(), worker.node.items.clone()), Reload::new(analysis));
    files.disk.faults.plan = Some((0, Fault::Panic));
    let features = Features { checksum_md5: true, digest: true, ..Features::default() };
    let (mut inbox, events) = channel();
    thread::scope(|scope| {
        let integrity = Integrity::new(&worker.node, &master, &files, features);
        scope.spawn(move || integrity.run(&events));
        assert!(inbox.sync_begins().is_ok() && inbox.archive(update()).is_ok());
        let told = wait(&heard, "syn_i_w_m_r ");
        assert!(told.starts_with("syn_i_w_m_r None ") && told.contains("the worker failed: operation 0"), "{told}");
        assert!(heard.is_empty(), "nothing more before its time");
        hand.advance(worker.node.settings.worker.sync_integrity);
        wait(&heard, "syn_i_w_m_p ");
        wait(&heard, "int_digest ");
        master.close("the test ends");
    });
    assert_eq!(worker.node.metrics.task(Task::IntegritySync).failures.get(), 1);
}

/// The next request with this name.
fn wait(heard: &Receiver<String>, name: &str) -> String {
    loop {
        let one = heard.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{name} was not asked"));
        if one.starts_with(name) {
            return one;
        }
    }
}
