//! Agents that report to their workers, as many as a large installation has.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

use serde_json::json;

/// Each agent reports once in this time.
const PERIOD: Duration = Duration::from_secs(60);

/// A thread for each worker, which reports what its agents say.
pub struct Keepalives {
    over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Keepalives {
    /// Agents 1 to `agents` report to the workers with these homes, each always to the same.
    pub fn start(homes: Vec<PathBuf>, agents: u32) -> Self {
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let workers = homes.len() as u32;
        let start = |(home, first): (PathBuf, u32)| {
            let (over, count) = (over.clone(), count.clone());
            thread::spawn(move || report(&home, (first..agents + 1).step_by(workers as usize), &over, &count))
        };
        let threads = homes.into_iter().zip(1..).map(start).collect();
        Self { over, count, threads }
    }

    /// Ends them; gives how often agents have reported.
    pub fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.count.load(Ordering::Relaxed)
    }
}

fn report(home: &Path, ids: impl ExactSizeIterator<Item = u32> + Clone, over: &AtomicBool, count: &AtomicU64) {
    let (socket, pause) = (home.join("queue/db/wdb"), PERIOD / ids.len().max(1) as u32);
    let (mut stream, mut round) = (None, 0);
    loop {
        for id in ids.clone() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            sleep(pause);
            stream = stream.or_else(|| UnixStream::connect(&socket).ok());
            // The worker may have been killed: whoever says nothing now does so in the next round.
            stream = stream.and_then(|stream| ask(stream, &request(id, round)));
            count.fetch_add(u64::from(stream.is_some()), Ordering::Relaxed);
        }
        round += 1;
    }
}

/// At first, and for some now and then, all that is known of an agent; otherwise that it lives.
fn request(id: u32, round: u32) -> String {
    if round > 0 && !(id + round).is_multiple_of(20) {
        let data = json!({"id": id, "connection_status": "active", "sync_status": "syncreq_keepalive"});
        return format!("global update-keepalive {data}");
    }
    let data = json!({
        "id": id, "version": "Wazuh v4.14.7", "node_name": "w", "manager_host": "m", "agent_ip": "10.0.0.5",
        "os_name": "Ubuntu", "os_version": "24.04", "os_platform": "ubuntu", "os_uname": format!("Linux |a{id} |6.8.0"),
        "connection_status": "active", "sync_status": "syncreq", "group_config_status": "synced",
        "labels": format!("\"round\":{round}\n\"env\":production"),
    });
    format!("global update-agent-data {data}")
}

/// The connection, as long as it answers.
fn ask(mut stream: UnixStream, request: &str) -> Option<UnixStream> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(&[&(request.len() as u32).to_le_bytes(), request.as_bytes()].concat()).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    stream.read_exact(&mut vec![0; u32::from_le_bytes(length) as usize]).ok()?;
    Some(stream)
}
