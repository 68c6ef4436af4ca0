//! A node: a home, the daemon that runs in it, and its log.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::Failure;

/// All workers of a benchmark come from one address, and after a restart of their master at the same time.
const STRANGERS: usize = 1000;
const KEY: &str = "c98b62a9b6169ac5f67dae55ae4a9088";
/// How often a log is looked at: the precision of times measured from outside.
const GLANCE: Duration = Duration::from_millis(2);
/// After which a step of the benchmark has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How a cluster is set up.
#[derive(Clone, Copy)]
pub struct Setup {
    /// Whether the link may be a native one.
    pub native: bool,
    /// From one check of the worker to the next, seconds.
    pub check: f64,
    /// From one local integrity run of the master to the next, seconds.
    pub local: f64,
}

impl Setup {
    fn cluster_json(self) -> String {
        let native = if self.native { "require" } else { "never" };
        format!(
            r#"{{"intervals": {{"worker": {{"sync_integrity": {}}}, "master": {{"recalculate_integrity": {}}}}},
                "link": {{"native": "{native}", "max_unauthenticated_per_address": {STRANGERS}}}}}"#,
            self.check, self.local
        )
    }
}

/// Makes a home for a master that listens at `port`, or for a worker that connects there; what is in it stays.
pub fn furnish(home: &Path, kind: &str, port: u16, setup: Setup) -> io::Result<()> {
    furnish_named(home, (kind, kind), port, setup)
}

/// [`furnish`] for a node of this `name`.
pub fn furnish_named(home: &Path, (kind, name): (&str, &str), port: u16, setup: Setup) -> io::Result<()> {
    for directory in ["etc/shared", "etc/rules", "etc/decoders", "etc/lists", "logs", "queue/cluster", "var/run"] {
        fs::create_dir_all(home.join(directory))?;
    }
    let conf = format!(
        "<ossec_config><cluster><name>bench</name><node_name>{name}</node_name><node_type>{kind}</node_type>\
         <key>{KEY}</key><port>{port}</port><bind_addr>127.0.0.1</bind_addr><nodes><node>127.0.0.1</node></nodes>\
         <hidden>no</hidden><disabled>no</disabled></cluster></ossec_config>\n"
    );
    fs::write(home.join("etc/ossec.conf"), conf)?;
    fs::write(home.join("etc/cluster.json"), setup.cluster_json())
}

/// A port that nobody listens at.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A line of a log and when it was seen.
#[derive(Clone, Debug)]
pub struct Line {
    /// At most [`GLANCE`] after it was written.
    pub seen: Instant,
    /// Without its end.
    pub text: String,
}

impl Line {
    /// The seconds of `Finished in 0.013s.`
    pub fn finished_in(&self) -> Option<f64> {
        self.text.split_once("Finished in ")?.1.split_once('s')?.0.parse().ok()
    }
}

/// A daemon that runs. Dropping it stops it.
pub struct Node {
    /// Its home.
    pub home: PathBuf,
    /// What its log has said since the start.
    pub lines: Vec<Line>,
    child: Child,
    log: PathBuf,
    read: u64,
    rest: String,
}

/// How the C library is to allocate.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// What the unit sets it to, so that what is measured is what is installed.
fn of_the_unit() -> io::Result<&'static str> {
    let unit = include_str!("../../etc/service/wazuh-clusterd.service");
    let mut settings = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let set = settings.find_map(|setting| setting.strip_prefix(TUNABLES)?.strip_prefix('='));
    set.ok_or_else(|| io::Error::other("the unit does not set GLIBC_TUNABLES"))
}

impl Node {
    /// Starts the daemon in `home`.
    pub fn start(home: &Path) -> io::Result<Self> {
        let log = home.join("logs/cluster.log");
        let read = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let errors = File::create(home.join("logs/stderr.log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_wazuh-clusterd"))
            // In the foreground, so that this process is the daemon; as the user that runs the benchmark.
            .args(["-f", "-r", "--home"])
            .arg(home)
            .env(TUNABLES, of_the_unit()?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()?;
        Ok(Self { home: home.to_owned(), lines: Vec::new(), child, log, read, rest: String::new() })
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads what is new in the log.
    pub fn glance(&mut self) -> io::Result<()> {
        let mut file = match File::open(&self.log) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut new = Vec::new();
        self.read += file.read_to_end(&mut new)? as u64;
        self.rest += &String::from_utf8_lossy(&new);
        let seen = Instant::now();
        while let Some((line, rest)) = self.rest.split_once('\n') {
            self.lines.push(Line { seen, text: line.to_owned() });
            self.rest = rest.to_owned();
        }
        Ok(())
    }

    /// The first line from number `from` on that contains all of `parts`, with its number.
    pub fn line(&self, from: usize, parts: &[&str]) -> Option<(usize, &Line)> {
        let mut lines = self.lines.iter().enumerate().skip(from);
        lines.find(|(_, line)| parts.iter().all(|part| line.text.contains(part)))
    }

    /// How many lines contain all of `parts`.
    pub fn count(&self, parts: &[&str]) -> usize {
        self.lines.iter().filter(|line| parts.iter().all(|part| line.text.contains(part))).count()
    }

    /// Waits for [`Node::line`].
    pub fn wait_for(&mut self, from: usize, parts: &[&str]) -> Result<(usize, Line), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.glance()?;
            if let Some((at, line)) = self.line(from, parts) {
                return Ok((at, line.clone()));
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("the daemon has ended, {status}, before it said {parts:?}")));
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("the daemon has not said {parts:?} within {PATIENCE:?}")));
            }
            thread::sleep(GLANCE);
        }
    }

    /// A failure that shows the end of the log.
    pub fn failure(&self, what: &str) -> Failure {
        let last: Vec<&str> = self.lines.iter().rev().take(20).map(|line| line.text.as_str()).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join("\n    ");
        format!("{}: {what}; the end of its log:\n    {last}", self.home.display()).into()
    }

    /// Stops the daemon.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        let deadline = Instant::now() + Duration::from_secs(12);
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(GLANCE);
        }
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be over already, and there is nobody to tell.
        let _ = self.end();
    }
}
