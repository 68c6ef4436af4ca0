//! The HAProxy helper of the manager's framework, which keeps a load balancer in front of the cluster up to date: on a
//! master, as a process beside this daemon (`spec/haproxy_helper.md` 2).
//!
//! ```text
//! haproxy_helper ── launches ──► helper.py: the framework's own helper
//!    ▲    │                         │ asks the control socket, like a program of this machine
//!    │    └─ haproxy-lines ◄─ lines ┤ for cluster.log, under the helper's tags
//!    └──── 1 s, 2 s, … 10 min ◄──── it ends
//! ```

use std::{
    io::{self, Read},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{bounded, select};
use log::LevelFilter;
use serde_json::json;

use crate::{
    config::{Cluster, Home, NodeType, settings::Version},
    framework::{self, Framework, Kind},
    logging::{info, scope, warn},
    node::Node,
    system::thread::{Group, spawn},
    turn::Turns,
};

/// The program, which the framework's interpreter runs.
const SOURCE: &str = include_str!("helper.py");

/// The first minor version of 4 that has a helper. 5.0 has none any more.
const FIRST_MINOR: u16 = 9;

/// How long nothing balances the agents after the helper has ended: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// A helper that has run for so long is started again after the first pause.
const STEADY: Duration = Duration::from_secs(600);

/// The longest line of a helper, in bytes.
const LONGEST: usize = 64 * 1024;

/// The framework whose helper a node is to run; none if its configuration wants none.
///
/// # Errors
/// Why nothing balances the agents although the configuration wants it, and what to do.
pub fn wanted(home: &Home, cluster: &Cluster, version: Version) -> Result<Option<Framework>, String> {
    if cluster.node_type != NodeType::Master || !cluster.wants_haproxy_helper() {
        return Ok(None);
    }
    if version.major != 4 || version.minor < FIRST_MINOR {
        return Err(nobody(home, &format!("this node runs with Wazuh {version}, which has no HAProxy helper")));
    }
    Framework::find(home.path()).map(Some).map_err(|reason| nobody(home, &reason))
}

/// Starts the helper, and says so if there can be none.
///
/// # Errors
/// When its thread cannot be started.
pub fn start(node: &Arc<Node>, threads: &Group) -> io::Result<()> {
    match wanted(&node.home, &node.cluster, node.settings.version) {
        Ok(None) => Ok(()),
        Ok(Some(framework)) => {
            let helper = Helper { framework, node: node.clone() };
            threads.spawn("haproxy_helper", move || helper.run())
        }
        Err(problem) => {
            warn!(tags(), "{problem}");
            Ok(())
        }
    }
}

fn nobody(home: &Home, reason: &str) -> String {
    format!(
        "<haproxy_helper> is enabled, but nothing balances the agents: {reason}. Install the framework of a Wazuh manager \
         of 4.9 to 4.14 in {home}, or write <haproxy_disabled>yes</haproxy_disabled> and balance them in another way."
    )
}

fn tags() -> crate::logging::Scope {
    scope("HAPHelper", "Main")
}

struct Helper {
    framework: Framework,
    node: Arc<Node>,
}

/// How a helper has ended.
enum End {
    /// With the node.
    Stopped,
    /// There is none, for this reason.
    Missing(String),
    /// By itself, or killed.
    Fallen(String),
}

impl Helper {
    fn run(&self) {
        let (node, turns) = (&self.node, Turns::uncounted(tags(), &self.node.clock));
        let mut pause = PAUSES.0;
        loop {
            let begun = node.clock.now();
            match turns.run(|| self.turn()) {
                Ok(End::Stopped) => return,
                Ok(End::Missing(reason)) => return warn!(turns.scope(), "{}", nobody(&node.home, &reason)),
                Ok(End::Fallen(how)) => warn!(turns.scope(), "The helper has ended: {how}."),
                Err(_) => {}
            }
            if node.clock.now().saturating_duration_since(begun) >= STEADY {
                pause = PAUSES.0;
            }
            info!(turns.scope(), "Nothing balances the agents until it is started again, in {} s.", pause.as_secs());
            if !node.shutdown.sleep(&node.clock, pause) {
                return;
            }
            pause = PAUSES.1.min(2 * pause);
        }
    }

    /// Runs one helper to its end.
    fn turn(&self) -> io::Result<End> {
        let node = &self.node;
        let settings = json!({"home": node.home.path(), "level": level()});
        let mut program = self.framework.launch(SOURCE, &settings, &node.home.cluster_dir())?;
        let line = program.line().try_clone()?;
        let (tell, told) = bounded(1);
        let reader = spawn("haproxy-lines", move || _ = tell.send(read(&line)))?;
        let (stopped, said) = select! {
            recv(told) -> said => (false, said.ok().and_then(Result::ok)),
            recv(node.shutdown.channel()) -> _ => (true, None),
        };
        let status = program.end()?;
        // Also if something else has the other end, its reader is to end.
        let _ = program.line().shutdown(Shutdown::Both);
        let _ = reader.join();
        Ok(match said {
            _ if stopped => End::Stopped,
            Some((Kind::Refused, reason)) => End::Missing(reason),
            Some((_, failure)) => End::Fallen(failure),
            None => {
                let complaint = program.complaint();
                let colon = if complaint.is_empty() { "" } else { ": " };
                End::Fallen(format!("{status}{colon}{complaint}"))
            }
        })
    }
}

/// The level from which on the framework makes lines, by its own numbers.
fn level() -> u8 {
    match log::max_level() {
        LevelFilter::Trace => 5,
        LevelFilter::Debug => 10,
        _ => 20,
    }
}

/// Logs what a helper says, until it tells why there is none ([`Kind::Refused`]) or why it ends ([`Kind::Failed`]).
///
/// # Errors
/// When it has ended, or says what cannot be understood.
fn read(mut line: &UnixStream) -> io::Result<(Kind, String)> {
    loop {
        let (kind, length) = framework::header(&mut line)?;
        if length > LONGEST {
            return Err(io::Error::other("a line of the helper is too long"));
        }
        let mut payload = vec![0; length];
        line.read_exact(&mut payload)?;
        match kind {
            Kind::Refused | Kind::Failed => return Ok((kind, String::from_utf8_lossy(&payload).into_owned())),
            Kind::Log => log(&payload),
            _ => {}
        }
    }
}

/// Logs one line: its level, its two tags and its text, with a tab behind each tag.
fn log(payload: &[u8]) {
    let text = String::from_utf8_lossy(payload);
    let (level, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    match rest.splitn(3, '\t').collect::<Vec<_>>()[..] {
        [tag, subtag, text] => framework::log(&scope(tag, subtag), format!("{level}{text}").as_bytes()),
        _ => framework::log(&tags(), payload),
    }
}
