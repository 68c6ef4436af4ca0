//! What the manager's other programs do at the sockets of the agent database.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::Node;

/// A program that is connected to `queue/db/wdb`.
pub struct Database(UnixStream);

impl Database {
    /// Connects to the database of a node.
    pub fn of(node: &Node) -> Self {
        Self::at(&node.home.path("queue/db/wdb"))
    }

    /// Connects to a socket.
    pub fn at(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(stream)
    }

    /// Sends a request and gives the whole answer.
    pub fn ask(&mut self, request: &str) -> String {
        write_frame(&mut self.0, request.as_bytes());
        String::from_utf8(read_frame(&mut self.0).expect("an answer")).unwrap()
    }

    /// [`Database::ask`] for a request that must succeed without data.
    #[track_caller]
    pub fn tell(&mut self, request: &str) {
        assert_eq!(self.ask(request), "ok", "{request}");
    }

    /// The rows of an answer.
    #[track_caller]
    pub fn rows(&mut self, request: &str) -> Value {
        let answer = self.ask(request);
        let rows = answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{request}: {answer}"));
        serde_json::from_str(rows).unwrap()
    }

    /// All that is known of an agent; null if it does not exist.
    pub fn agent(&mut self, id: u32) -> Value {
        self.rows(&format!("global get-agent-info {id}"))[0].clone()
    }

    /// Tells [`report`].
    pub fn reports(&mut self, id: u32, node: &str, version: &str) {
        self.tell(&report(id, node, version));
    }
}

/// What remoted tells of an agent that has connected.
pub fn report(id: u32, node: &str, version: &str) -> String {
    let data = serde_json::json!({
        "id": id, "version": version, "config_sum": "c", "merged_sum": "m", "manager_host": node,
        "node_name": node, "agent_ip": "10.0.0.5", "labels": format!("\"env\":lab{id}\n#\"_node_name\":{node}"),
        "connection_status": "active", "sync_status": "syncreq", "group_config_status": "synced",
        "os_name": "Ubuntu", "os_version": "24.04", "os_major": "24", "os_minor": "04", "os_codename": "noble",
        "os_platform": "ubuntu", "os_build": "", "os_uname": format!("Linux |a{id} |6.8.0"), "os_arch": "x86_64",
    });
    format!("global update-agent-data {data}")
}

/// A socket whose programs are taken and never answered; `asked` is set when the first has come. It ends with this process.
pub fn silent_database(path: &Path, asked: Arc<AtomicBool>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let mut programs = Vec::new();
        for program in listener.incoming().map_while(Result::ok) {
            programs.push(program);
            asked.store(true, Ordering::Release);
        }
    });
}

/// A database daemon that says what a test wants; it ends with this process.
pub fn fake_database(path: &Path, answer: impl Fn(&str) -> String + Send + Sync + 'static) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    let answer = Arc::new(answer);
    // Both end when the other side closes, at the latest with this process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (answer, mut stream) = (answer.clone(), stream);
            thread::spawn(move || {
                while let Some(request) = read_frame(&mut stream) {
                    write_frame(&mut stream, answer(&String::from_utf8_lossy(&request)).as_bytes());
                }
            });
        }
    });
}

pub(super) fn write_frame(stream: &mut UnixStream, payload: &[u8]) {
    let frame = [&(payload.len() as u32).to_le_bytes(), payload].concat();
    // Whoever has left needs no answer.
    let _ = stream.write_all(&frame);
}

pub(super) fn read_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut payload = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(payload)
}
