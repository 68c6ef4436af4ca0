//! The `connect` thread: connects to the master, says hello, runs the tasks of the connection, and begins again when it
//! ends. Addresses are resolved anew at each attempt: in a container world a name keeps and its address does not.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use log::Level;

use super::{
    Link, Worker,
    backoff::Backoff,
    greeting::{NotConnected, greet, needs_session},
    session::{Inboxes, MasterSession},
};
use crate::{
    connection::{CONNECT_TIMEOUT, Connection, Known, Socket, reach},
    crypto::Fernet,
    logging::{Repeats, Scope, debug, info, log, scope},
    session::native::Features,
    system::thread::spawn,
    tasks::{
        agent_groups_send::worker as agent_groups, agent_info::worker as agent_info, integrity::worker as integrity,
        keep_alive,
    },
};

/// Rounds of all hosts in the seconds after which an elected master is given up.
const PAUSES: u32 = 20;

/// Hosts that may be silent for as long as that.
const SILENCES: u32 = 10;

/// Runs until the node stops.
pub fn run(worker: &Arc<Worker>) {
    let node = &worker.node;
    let scope = scope(&format!("Worker {}", node.cluster.node_name), "Main");
    let mut backoff = Backoff::new(node.settings.link.reconnect_min, node.settings.worker.connection_retry);
    let told = Repeats::default();
    let mut turn = Turn::new(&node.cluster.nodes);
    // Of the hosts of a round, one that answers tells more than one that is not there.
    let mut telling: Option<NotConnected> = None;
    loop {
        match attempts(worker, turn.host(), &scope) {
            Ok(_) if node.shutdown.ordered() => return,
            Ok(reason) => {
                backoff.reset();
                told.clear();
                telling = None;
                turn.begin();
                if worker.ttl.read().is_some() {
                    // Another one may be the master by now; one that is silent would take long to show that it is not.
                    turn.passes();
                    turn.begin();
                }
                *worker.failure.write() = Some(format!("the connection has been closed: {reason}"));
                info!(scope, "The connection has been closed: {reason}.");
            }
            Err(failed) if node.shutdown.ordered() => debug!(scope, "{failed}"),
            Err(failed) => {
                let text = format!("Could not connect to master: {failed}.");
                log!(scope, told.level(Level::Error, &text, node.clock.now()), "{text}");
                if telling.is_none() || !matches!(failed, NotConnected::NotReached(_)) {
                    telling = Some(failed);
                }
                if turn.passes() {
                    continue;
                }
                *worker.failure.write() = telling.take().map(|failed| failed.to_string());
            }
        }
        crossbeam_channel::select! {
            recv(node.shutdown.channel()) -> _ => return,
            recv(worker.hurry.channel()) -> _ => {
                backoff.reset();
                // What fails now is news to whoever has ordered it.
                told.clear();
            }
            recv(node.clock.after(pause(worker, &mut backoff))) -> _ => (),
        }
    }
}

/// How long to wait after a round of all hosts. Where the masters are elected, the next one is soon there.
fn pause(worker: &Worker, backoff: &mut Backoff) -> Duration {
    match *worker.ttl.read() {
        Some(ttl) => backoff.short(ttl / PAUSES),
        None => backoff.wait(),
    }
}

/// How long a host may be silent. Where another one may be the master at any time, one that has lost its power holds nobody
/// up.
fn connect_limit(worker: &Worker) -> Duration {
    worker.ttl.read().map_or(CONNECT_TIMEOUT, |ttl| CONNECT_TIMEOUT.min(ttl / SILENCES))
}

/// Whose turn it is of the hosts that may be the master. The one that took this worker in last stays the first; after each
/// round of all of them comes a pause.
struct Turn<'a> {
    hosts: &'a [String],
    at: usize,
    /// How many of this round have failed.
    failed: usize,
}

impl<'a> Turn<'a> {
    fn new(hosts: &'a [String]) -> Self {
        Self { hosts, at: 0, failed: 0 }
    }

    fn host(&self) -> &'a str {
        self.hosts.get(self.at).map_or("", String::as_str)
    }

    /// This one has taken the worker in: the next round begins with it.
    fn begin(&mut self) {
        self.failed = 0;
    }

    /// This one has not. Whether another of the round is to be tried at once.
    fn passes(&mut self) -> bool {
        let count = self.hosts.len().max(1);
        self.at = (self.at + 1) % count;
        self.failed = (self.failed + 1) % count;
        self.failed > 0
    }
}

/// One connection under the `<key>` or, while the master closes at hello, under each of the accepted keys in turn: whether
/// the key was changed here first or there, the two find each other. Gives the reason of its end.
fn attempts(worker: &Arc<Worker>, host: &str, scope: &Scope) -> Result<String, NotConnected> {
    // Each is looked up when its turn comes: a key that was kept here would outlive its removal.
    let cipher = |turn| worker.node.keys().ciphers().into_iter().nth(turn);
    let mut outcome = Ok(String::new());
    for cipher in (0..).map_while(cipher) {
        outcome = attempt(worker, host, scope, cipher);
        match &outcome {
            Err(NotConnected::Closed(error)) => debug!(scope, "The master does not take this key: {error}"),
            _ => break,
        }
    }
    outcome
}

/// One connection from beginning to end; gives the reason of its end.
fn attempt(worker: &Arc<Worker>, host: &str, scope: &Scope, cipher: Fernet) -> Result<String, NotConnected> {
    let node = &worker.node;
    let (stream, address) =
        reach((host, node.cluster.port), connect_limit(worker), &node.shutdown)?.map_err(NotConnected::NotReached)?;
    stream.set_nodelay(true)?;
    // Where a session is needed, a message that the key opens may be an old one.
    let known = if needs_session(worker) { Known::ByHello } else { Known::ByKey };
    let options = node.link_options(address.to_string(), vec![cipher], known);
    let (inboxes, lines) = lines();
    let (told, reason) = crossbeam_channel::bounded(1);
    let master = node.connections.start(Socket::Tcp(stream), options, |_| MasterSession::new(worker, inboxes, told))?;
    // Whatever ends this attempt, the connection ends with it.
    let master = Closing(master);
    let features = greet(worker, &master.0, (host, address), scope)?;
    crate::system::directory::create(&node.home.node_dir(&node.cluster.node_name), 0o770)?;
    info!(scope, "Successfully connected to master.");
    debug!(scope, "The link with {address} carries {:?} checksums.", features.checksum());
    if master.0.cipher() != Some(node.keys().current.cipher()) {
        info!(scope, "The master does not take the <key> of this node; the link uses one of link.accept_keys.");
    }

    *worker.master.write() = Some(Link { master: master.0.clone(), since: node.clock.wall(), features });
    node.check_key(&master.0);
    let tasks = start_tasks(worker, &master.0, lines, features);
    crossbeam_channel::select! {
        recv(master.0.closed()) -> _ => (),
        recv(node.shutdown.channel()) -> _ => master.0.close("this node stops"),
    }
    *worker.lost.write() = node.clock.wall();
    *worker.master.write() = None;
    worker.services.waiting.lost(&master.0, "the connection to the master was lost before it had answered");
    for task in tasks? {
        // A task that panicked has ended the process.
        let _ = task.join();
    }
    Ok(reason.recv().unwrap_or_default())
}

struct Closing(Connection);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close("this node ends it");
    }
}

/// The threads' ends of the lines from the session.
struct Lines {
    integrity: integrity::Events,
    agent_info: agent_info::Outcomes,
    agent_groups: agent_groups::Messages,
}

fn lines() -> (Inboxes, Lines) {
    let (integrity, events) = integrity::channel();
    let (agent_info, outcomes) = agent_info::channel();
    let (agent_groups, messages) = agent_groups::channel();
    (
        Inboxes { integrity, agent_info, agent_groups },
        Lines { integrity: events, agent_info: outcomes, agent_groups: messages },
    )
}

/// What a task of a connection does until that closes.
type Task = Box<dyn FnOnce(&Worker, &Connection) + Send>;

fn start_tasks(
    worker: &Arc<Worker>,
    master: &Connection,
    lines: Lines,
    features: Features,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut tasks = Vec::new();
    let mut start = |name, task: Task| {
        let (this, connection) = (worker.clone(), master.clone());
        let started = spawn(name, move || task(&this, &connection));
        // Those that were started end with the connection.
        tasks.push(started.inspect_err(|_| master.close("no thread could be started"))?);
        io::Result::Ok(())
    };
    start(
        "integrity",
        Box::new(move |this, master| {
            integrity::Integrity::new(&this.node, master, &this.files, features).run(&lines.integrity);
        }),
    )?;
    start(
        "agent_info",
        Box::new(move |this, master| {
            let is_new = this.new_master.swap(false, Ordering::AcqRel);
            let agents = this.services.agents.clone();
            let thread = agent_info::Thread::new(&this.node, agents, master, lines.agent_info);
            thread.with_extensions(features.any()).of_master(is_new).run()
        }),
    )?;
    start(
        "agent_groups",
        Box::new(move |this, master| {
            let thread = agent_groups::Thread::new(&this.node, this.services.agents.clone(), master);
            thread.with_quiet(features.quiet).run(&lines.agent_groups)
        }),
    )?;
    start("keep_alive", Box::new(|this, master| keep_alive::worker::run(&this.node, master, *this.ttl.read())))?;
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_tried_in_turn_and_the_one_that_was_the_master_first() {
        let hosts = ["a", "b", "c"].map(str::to_owned);
        let mut turn = Turn::new(&hosts);
        let mut seen = String::new();
        // a and b fail, c takes the worker in, and fails later.
        for _ in 0..2 {
            seen.push_str(turn.host());
            assert!(turn.passes());
        }
        seen.push_str(turn.host());
        turn.begin();
        for pauses in [false, false, true, false] {
            seen.push_str(turn.host());
            assert_eq!(!turn.passes(), pauses);
        }
        assert_eq!(seen, "abccabc");
        let mut one = Turn::new(&hosts[..1]);
        assert!(!one.passes() && !one.passes(), "a pause after each");
        assert_eq!(one.host(), "a");
    }
}
