//! One cluster, its disturbances, and what it comes to.

use std::{
    fmt,
    path::Path,
    process::Command,
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    agents::{Agents, base},
    cluster::Cluster,
    files::Files,
    flood::flood,
    judgement::{self, Promise},
    proxy::Weather,
    random::Random,
    recorder::Recorder,
    schedule::{Action, Plan},
};

/// The period of every task. The time limits have to it the ratio that they have by default to that of a check.
const CYCLE: Duration = Duration::from_secs(1);
/// Time for a frame, and for an answer, once the stream of a connection was damaged.
const LINK: Duration = Duration::from_secs(3);

/// The settings of a node in a trial. One trial in three is without protocol extensions.
fn settings(plan: &Plan) -> Value {
    let (cycle, native) = (CYCLE.as_secs(), if plan.seed.is_multiple_of(3) { "never" } else { "auto" });
    json!({
        "intervals": {
            "worker": {
                "sync_integrity": cycle, "sync_agent_info": cycle, "connection_retry": cycle, "keep_alive": cycle,
                "timeout_agent_groups": 4 * cycle,
            },
            "master": {
                "recalculate_integrity": cycle, "sync_agent_groups": cycle, "agent_group_start_delay": cycle,
                "timeout_agent_info": 4 * cycle, "check_worker_lastkeepalive": cycle,
                "max_allowed_time_without_keepalive": 4 * cycle,
            },
            "communication": {"timeout_cluster_request": LINK.as_secs(), "timeout_receiving_file": 10 * cycle},
        },
        "link": {
            "native": native, "reconnect_min": 0.1, "frame_timeout": LINK.as_secs(), "handshake_timeout": LINK.as_secs(),
        },
    })
}

/// What a trial came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How much was done to it.
    pub actions: usize,
    /// Of these, processes that were killed.
    pub kills: usize,
    /// Registrations that were answered.
    pub registrations: usize,
    /// Files that were read on workers meanwhile.
    pub reads: usize,
    /// From the end of the disturbances until all files were equal.
    pub files: Duration,
    /// The same for all that the databases have of the agents.
    pub agents: Duration,
    /// How often workers have asked for all assignments to groups, because theirs went on differing from the master's.
    pub asked: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actions, kills, registrations, reads, asked, .. } = self;
        let (files, agents) = (self.files.as_secs_f64(), self.agents.as_secs_f64());
        write!(
            f,
            "{actions} actions, {kills} kills, {registrations} registrations answered, {reads} reads; equal after {files:.1} s \
             (files) and {agents:.1} s (agents); asked for all groups {asked} times"
        )
    }
}

/// A cluster that is disturbed.
pub struct Trial {
    /// The nodes.
    pub cluster: Cluster,
    /// What the master's files have been.
    pub files: Files,
    /// What was answered of the agents.
    pub agents: Agents,
    /// What it comes to.
    pub outcome: Outcome,
    random: Random,
    begun: Instant,
    threads: Vec<JoinHandle<()>>,
    trace: Vec<String>,
}

/// Runs a trial, and judges it.
pub fn run(plan: Plan) -> Outcome {
    let mut trial = Trial::new(&plan, &settings(&plan));
    trial.calm();
    let transfer = judgement::first(&trial, Duration::from_secs(60));
    let recorder = Recorder::start(&trial, Duration::from_micros(300));
    trial.disturb(&plan.schedule(), &recorder, |_| ());
    trial.calm();
    // A damaged stream is no lost packet: nobody can tell it from a slow one before these time limits.
    let damaged = if plan.network { LINK } else { Duration::ZERO };
    judgement::converge(&mut trial, &Promise { cycle: CYCLE, transfer, damaged });
    trial.outcome.reads = recorder.stop().unwrap_or_else(|found| panic!("{found}"));
    judgement::judge(&mut trial, CYCLE);
    trial.outcome.clone()
}

impl Trial {
    /// A cluster whose master has files; nothing runs yet.
    pub fn new(plan: &Plan, settings: &Value) -> Self {
        let mut random = Random::new(plan.seed ^ 0x5eed);
        let cluster = Cluster::new(plan.workers, plan.network, settings);
        let mut files = Files::new(Random::new(random.next()));
        files.fill(&cluster.master());
        // A master that starts without any keys takes none from its workers until a person confirms it.
        std::fs::write(cluster.master().join("etc/client.keys"), base(3)).unwrap();
        let (agents, outcome) = (Agents::default(), Outcome::default());
        Self { cluster, files, agents, outcome, random, begun: Instant::now(), threads: Vec::new(), trace: Vec::new() }
    }

    /// Does what is to be done, at its time or as soon as possible after it, and calls `meanwhile` all the time.
    pub fn disturb(&mut self, schedule: &[(Duration, Action)], recorder: &Recorder, mut meanwhile: impl FnMut(&Self)) {
        self.begun = Instant::now();
        for (at, action) in schedule {
            sleep((self.begun + *at).saturating_duration_since(Instant::now()));
            self.trace.push(format!("{:7.3} {action:?}", self.begun.elapsed().as_secs_f64()));
            self.act(*action);
            meanwhile(self);
            self.outcome.actions += 1;
            if recorder.has_ended() {
                return;
            }
        }
    }

    /// Ends all disturbances; all nodes run.
    pub fn calm(&mut self) {
        self.cluster.proxies.iter().for_each(|proxy| proxy.set(Weather::Fair));
        self.cluster.revive();
        let since = Instant::now();
        self.trace.push(format!("{:7.3} calm", (since - self.begun).as_secs_f64()));
        self.begun = since;
    }

    /// Since the disturbances have ended.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for those who still want an answer.
    pub fn join(&mut self) {
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        self.outcome.registrations = self.agents.all().iter().filter(|agent| agent.registered.is_some()).count();
    }

    fn act(&mut self, action: Action) {
        let Self { cluster, files, agents, .. } = self;
        let master = cluster.master();
        match action {
            Action::Edit => files.edit(&master),
            Action::Create => files.create(&master),
            Action::Delete => files.delete(&master),
            Action::Rename => files.rename(&master),
            Action::WriteOn(worker) => files.write_on(worker, &cluster.home(worker)),
            Action::DeleteOn(worker) => files.delete_on(worker, &cluster.home(worker)),
            Action::AddOn(worker) => files.add_on(&cluster.home(worker)),
            Action::Register { node, groups } => {
                self.threads.push(agents.register(&cluster.nodes[node].home, groups));
            }
            Action::Unregister { node, agent } => {
                self.threads.extend(agents.remove(&cluster.nodes[node].home, agent));
            }
            Action::Assign { agent, groups } => self.threads.extend(agents.assign(&master, agent, groups)),
            Action::Report { agent } => {
                let workers = (1..cluster.nodes.len()).map(|worker| cluster.home(worker)).collect();
                self.threads.extend(agents.report(workers, agent, self.random.next() >> 40));
            }
            Action::Flood { connections, lasting } => {
                let random = Random::new(self.random.next());
                self.threads.push(flood(cluster.nodes[0].home.address, connections, lasting, random));
            }
            Action::Kill(node) => self.outcome.kills += usize::from(cluster.nodes[node].kill()),
            Action::Start(node) => cluster.nodes[node].start(),
            Action::Pause(node) => cluster.nodes[node].signal(Signal::SIGSTOP),
            Action::Continue(node) => cluster.nodes[node].signal(Signal::SIGCONT),
            Action::Reload(node) => cluster.nodes[node].reload(),
            Action::Weather(worker, weather) => cluster.proxies[worker - 1].set(weather),
        }
    }
}

impl Drop for Trial {
    /// Of a trial that failed, what was done last is shown, and its directories are kept if somebody wants them.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("{}", self.trace.join("\n"));
        let Some(place) = std::env::var_os("CHAOS_KEEP") else { return };
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            let kept = Path::new(&place).join(format!("{}-{number}", std::process::id()));
            eprintln!("{} is kept in {}", node.home.path("").display(), kept.display());
            // Whoever reads this sees on the spot whether they are there.
            let _ = Command::new("cp").arg("-a").arg(node.home.path("")).arg(&kept).status();
        }
    }
}
