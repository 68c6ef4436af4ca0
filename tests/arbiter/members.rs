//! Real members of etcd.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use clusterd::arbiter::Key;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    node::{options, seat, until},
    support::Address,
};

const ETCD: &str = "/usr/bin/etcd";

/// A cluster of etcd; it ends when this is dropped.
pub struct Members {
    directory: TempDir,
    members: Vec<Member>,
    scheme: &'static str,
}

struct Member {
    address: Address,
    command: Command,
    child: Option<Child>,
}

impl Members {
    /// So many, with further options; none if etcd is not installed. They serve when this comes back.
    pub fn start(count: usize, more: &[&str]) -> Option<Self> {
        let members = Self::prepare(count)?.begin(more);
        members.serve();
        Some(members)
    }

    /// Directories and addresses; nothing is started.
    pub fn prepare(count: usize) -> Option<Self> {
        Self::at((0..count).map(|_| Address::new()).collect())
    }

    /// The same at these addresses.
    pub fn at(addresses: Vec<Address>) -> Option<Self> {
        if !Path::new(ETCD).exists() {
            println!("skipped: {ETCD} is missing; install etcd-server and etcd-client");
            return None;
        }
        let member = |address| Member { address, command: dies_with_its_test(), child: None };
        Some(Self {
            directory: tempfile::tempdir().unwrap(),
            members: addresses.into_iter().map(member).collect(),
            scheme: "http",
        })
    }

    /// Starts them. A single one needs no time for elections.
    pub fn begin(mut self, more: &[&str]) -> Self {
        let url = |member: &Member, scheme: &str, port: u16| format!("{scheme}://{}:{port}", member.address.0);
        let peers: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(at, member)| format!("m{at}={}", url(member, "http", 2380)))
            .collect();
        let peers = peers.join(",");
        let (heartbeat, election) = if self.members.len() == 1 { ("10", "100") } else { ("100", "1000") };
        for (at, member) in self.members.iter_mut().enumerate() {
            let (client, peer) = (url(member, self.scheme, 2379), url(member, "http", 2380));
            let name = format!("m{at}");
            let data = self.directory.path().join(&name);
            let log = File::create(self.directory.path().join(format!("{name}.log"))).unwrap();
            member.command.args(["--name", &name, "--listen-client-urls", &client, "--advertise-client-urls", &client]);
            member.command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            member.command.args(["--initial-cluster", &peers, "--initial-cluster-token", &peers]);
            member.command.args(["--heartbeat-interval", heartbeat, "--election-timeout", election, "--logger", "zap"]);
            member.command.arg("--data-dir").arg(data).args(more);
            member.command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            member.child = Some(member.command.spawn().unwrap());
        }
        self
    }

    /// They are to serve over TLS.
    pub fn over_tls(mut self) -> Self {
        self.scheme = "https";
        self
    }

    /// Waits until a node can read from each of them.
    pub fn serve(&self) {
        for at in 0..self.members.len() {
            self.serves(at);
        }
    }

    /// Waits for this one.
    pub fn serves(&self, at: usize) {
        let seat = seat(&options(&[self.url(at)]));
        until("etcd", || seat.etcd.read(&[Key::Master]).is_ok());
    }

    pub fn url(&self, at: usize) -> String {
        format!("{}://{}:2379", self.scheme, self.members[at].address.0)
    }

    pub fn urls(&self) -> Vec<String> {
        (0..self.members.len()).map(|at| self.url(at)).collect()
    }

    /// The address of the first.
    pub fn address(&self) -> String {
        self.members[0].address.0.to_string()
    }

    /// A place for files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lets it stand still. All its threads do when this comes back.
    pub fn stop(&self, at: usize) {
        let pid = self.signal(at, Signal::SIGSTOP);
        let stands = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        until("a member that stands still", || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(stands));
    }

    /// Lets it go on.
    pub fn go_on(&self, at: usize) {
        self.signal(at, Signal::SIGCONT);
    }

    fn signal(&self, at: usize, signal: Signal) -> Pid {
        let child = self.members[at].child.as_ref().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        pid
    }

    pub fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.members[at].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again, with these data if any.
    pub fn start_again(&mut self, at: usize, data: Option<&Path>) {
        self.kill(at);
        let member = &mut self.members[at];
        if let Some(data) = data {
            // The last one counts.
            member.command.arg("--data-dir").arg(data);
        }
        member.child = Some(member.command.spawn().unwrap());
        self.serves(at);
    }

    /// What `etcdctl` says, asking the first member.
    pub fn control(&self, arguments: &[&str]) -> String {
        self.control_all(&self.url(0), arguments)
    }

    fn control_all(&self, urls: &str, arguments: &[&str]) -> String {
        let output = Command::new("/usr/bin/etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", urls, "--command-timeout", "60s"])
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Which of them leads.
    pub fn leader(&self) -> usize {
        let status = self.control_all(&self.urls().join(","), &["endpoint", "status", "--write-out", "fields"]);
        let values = |name: &str| {
            let lines =
                status.lines().filter_map(move |line| line.strip_prefix(&format!("\"{name}\" : ")).map(str::to_owned));
            lines.collect::<Vec<_>>()
        };
        let (own, leaders) = (values("MemberID"), values("Leader"));
        own.iter().zip(&leaders).position(|(own, leader)| own == leader).unwrap()
    }
}

/// The command line of a member, without options. It is killed when the thread of its test ends, however that ends.
fn dies_with_its_test() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", ETCD]);
    command
}

impl Drop for Members {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|at| self.kill(at));
    }
}
