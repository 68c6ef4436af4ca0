//! A home for one node, in a directory in which anything that escapes from it is seen.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Snapshot, snapshot, until};

/// The key of every test cluster.
pub const KEY: &str = "0123456789abcdefghijklmnopqrstuv";

/// Below the range from which the system takes ports by itself.
const PORT: u16 = 15_160;

/// Where a master listens. Each has a loopback address that nobody else has, in this run or in another one of this machine,
/// so no port can be taken by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub Ipv4Addr);

impl Address {
    /// One that nobody has. A socket of another protocol claims it until this process ends.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = (std::process::id() << 8).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let [_, high, middle, low] = number.to_be_bytes();
            let address = Ipv4Addr::new(127, 1 + high % 254, middle, 1 + low % 254);
            if let Ok(claim) = UdpSocket::bind((address, PORT)) {
                std::mem::forget(claim);
                return Self(address);
            }
        }
    }

    /// With the port.
    pub fn socket(self) -> SocketAddr {
        SocketAddr::from((self.0, PORT))
    }
}

/// The home of one node.
pub struct Home {
    outside: TempDir,
    /// Where the master of its cluster listens.
    pub address: Address,
}

impl Home {
    /// Of a master at an address of its own.
    pub fn master() -> Self {
        Self::master_at(Address::new())
    }

    /// Of a master at this address.
    pub fn master_at(address: Address) -> Self {
        Self::new("master", "m", address)
    }

    /// Of the worker `name`, whose master is at `address`.
    pub fn worker(name: &str, address: Address) -> Self {
        Self::new("worker", name, address)
    }

    fn new(node_type: &str, name: &str, address: Address) -> Self {
        let outside = tempfile::tempdir().unwrap();
        let home = Self { outside, address };
        for directory in ["etc/rules", "etc/shared", "logs", "queue/cluster", "var/run", "var/multigroups"] {
            fs::create_dir_all(home.path(directory)).unwrap();
        }
        let text = format!(
            "<ossec_config>\n  <cluster>\n    <name>wazuh</name>\n    <node_name>{name}</node_name>\n    \
             <node_type>{node_type}</node_type>\n    <key>{KEY}</key>\n    <port>{PORT}</port>\n    \
             <bind_addr>{0}</bind_addr>\n    <nodes><node>{0}</node></nodes>\n    <disabled>no</disabled>\n  \
             </cluster>\n</ossec_config>\n",
            address.0
        );
        home.write("etc/ossec.conf", text);
        home.settings(json!({}));
        home.write("etc/local_internal_options.conf", "wazuh_clusterd.debug=1\n");
        home
    }

    /// Overrides settings of cluster.json; times are short unless said otherwise.
    pub fn settings(&self, over: Value) {
        let mut settings = json!({
            "intervals": {
                "worker": {"sync_integrity": 0.1, "connection_retry": 0.2},
                "master": {"recalculate_integrity": 0.1},
            },
            "link": {"reconnect_min": 0.05},
        });
        merge(&mut settings, over);
        self.write("etc/cluster.json", settings.to_string());
    }

    /// Replaces the value of an option of the `<cluster>` block.
    pub fn option(&self, name: &str, value: &str) {
        let text = String::from_utf8(self.read("etc/ossec.conf").unwrap()).unwrap();
        let (before, rest) = text.split_once(&format!("<{name}>")).unwrap();
        let (_, after) = rest.split_once(&format!("</{name}>")).unwrap();
        self.write("etc/ossec.conf", format!("{before}<{name}>{value}</{name}>{after}"));
    }

    /// A path in it; the home itself for an empty one.
    pub fn path(&self, relative: &str) -> PathBuf {
        let home = self.outside.path().join("home");
        if relative.is_empty() { home } else { home.join(relative) }
    }

    /// A path beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// Writes a file, with its directories.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The content of a file, if there is one.
    pub fn read(&self, relative: &str) -> Option<Vec<u8>> {
        fs::read(self.path(relative)).ok()
    }

    /// Waits until a file has this content.
    pub fn wait_for_file(&self, relative: &str, content: impl AsRef<[u8]>) {
        let what = || format!("{relative} as expected; the log:\n{}", self.log());
        wait(what, || (self.read(relative).as_deref() == Some(content.as_ref())).then_some(()));
    }

    /// Waits until there is no such file.
    pub fn wait_for_no_file(&self, relative: &str) {
        let what = || format!("{relative} gone; the log:\n{}", self.log());
        wait(what, || (!self.path(relative).exists()).then_some(()));
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.read("logs/cluster.log").unwrap_or_default()).into_owned()
    }

    /// Waits for a log line that contains `text`; gives the whole line.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_since(0, text)
    }

    /// The length of the log, for [`Home::wait_for_since`].
    pub fn mark(&self) -> usize {
        self.log().len()
    }

    /// Waits for such a line after a mark.
    pub fn wait_for_since(&self, mark: usize, text: &str) -> String {
        let what = || format!("a log line with '{text}'; the log:\n{}", self.log());
        wait(what, || {
            let log = self.log();
            // The last line may still be in the making.
            let whole = &log[mark.min(log.len())..=log.rfind('\n').filter(|end| *end >= mark)?];
            whole.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// All that is in and around the home but the log, received files and pid files.
    pub fn snapshot(&self) -> Snapshot {
        let varies = [
            "home/logs/cluster.log",
            "home/queue/cluster",
            "home/queue/cluster-state",
            "home/queue/db",
            "home/queue/sockets",
            "home/var/run",
            "stdout",
            "stderr",
        ];
        snapshot(self.outside.path(), &varies)
    }

    /// Names in `queue/cluster` and `var/run`.
    pub fn traces(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in ["queue/cluster", "var/run"] {
            names.extend(snapshot(&self.path(directory), &[]).into_keys().map(|name| format!("{directory}/{name}")));
        }
        names
    }

    /// Lets every user reach the home, and sets the owner of what is named.
    pub fn give(&self, uid: u32, what: &[&str]) {
        fs::set_permissions(self.outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for path in what {
            std::os::unix::fs::chown(self.path(path), Some(uid), Some(uid)).unwrap();
        }
    }
}

/// [`until`] with a text that is made only when it is needed.
fn wait<T>(what: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + super::LIMIT;
    let found = until("", || match look() {
        Some(found) => Some(Ok(found)),
        None if std::time::Instant::now() + std::time::Duration::from_millis(100) > end => Some(Err(())),
        None => None,
    });
    found.unwrap_or_else(|()| panic!("not in time: {}", what()))
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
