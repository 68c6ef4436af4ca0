//! The agents of a trial: what was answered of them, and what therefore has to be true at the end.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    cluster::ask,
    support::{Home, control_command},
};

/// The longest that a request to a database is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the names of agents begin with that are there from the start and stay.
pub const BASE: &str = "base-";

/// The client.keys of so many of them.
pub fn base(count: u32) -> String {
    (1..=count).map(|id| format!("{id:03} {BASE}{id} any {:064x}\n", u64::from(id) * 7919)).collect()
}

/// What the nodes are to say of something.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Known {
    /// It was never said.
    #[default]
    Nothing,
    /// This: it was answered.
    Surely(String),
    /// It was asked, and not answered. From then on it is left alone.
    Unsure,
}

/// An agent that was to be registered.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// Unique in the trial.
    pub name: String,
    /// Its id and its key, if the registration was answered.
    pub registered: Option<(u32, String)>,
    /// Whether its removal was asked for.
    pub to_remove: bool,
    /// Whether that was answered.
    pub removed: bool,
    /// Its groups, joined by commas.
    pub groups: Known,
    /// The version that it told its worker.
    pub version: Known,
}

impl Agent {
    /// Its id, while nobody wants to remove it.
    fn id(&self) -> Option<u32> {
        self.registered.as_ref().filter(|_| !self.to_remove).map(|(id, _)| *id)
    }
}

/// All agents of a trial.
#[derive(Clone, Default)]
pub struct Agents(Arc<Mutex<Vec<Agent>>>);

/// The groups with a number.
const GROUPS: [&str; 4] = ["default", "web", "db", "web,db"];

impl Agents {
    /// As they are now.
    pub fn all(&self) -> Vec<Agent> {
        self.0.lock().clone()
    }

    /// Whether an agent may go.
    pub fn may_go(&self, id: u32) -> bool {
        self.0
            .lock()
            .iter()
            .any(|agent| agent.to_remove && agent.registered.as_ref().is_some_and(|(its, _)| *its == id))
    }

    /// Registers one on a node as a person does; the thread ends with the answer.
    pub fn register(&self, home: &Home, groups: usize) -> JoinHandle<()> {
        let (agents, number) = (self.0.clone(), self.0.lock().len());
        let name = format!("agent-{number}");
        agents.lock().push(Agent { name: name.clone(), ..Agent::default() });
        let mut command = control_command(home);
        command.args(["--json", "--add-agent", &name]);
        let asked = if groups == 0 { Known::Nothing } else { Known::Surely(GROUPS[groups].to_owned()) };
        if groups > 0 {
            command.args(["--groups", GROUPS[groups]]);
        }
        thread::spawn(move || {
            if let Some(answer) = answered(command) {
                let mut agents = agents.lock();
                let key = answer["key"].as_str().unwrap().to_owned();
                agents[number].registered = Some((answer["id"].as_str().unwrap().parse().unwrap(), key));
                agents[number].groups = asked;
            }
        })
    }

    /// Removes one on a node as a person does.
    pub fn remove(&self, home: &Home, number: usize) -> Option<JoinHandle<()>> {
        let (number, id) = self.choose(number)?;
        let agents = self.0.clone();
        agents.lock()[number].to_remove = true;
        let mut command = control_command(home);
        command.args(["--json", "--remove-agent", &id.to_string()]);
        if number % 2 == 0 {
            command.arg("--purge");
        }
        Some(thread::spawn(move || {
            if answered(command).is_some() {
                agents.lock()[number].removed = true;
            }
        }))
    }

    /// Gives one other groups, as the API does at the database of the master.
    pub fn assign(&self, master: &Path, agent: usize, groups: usize) -> Option<JoinHandle<()>> {
        let names: Vec<&str> = GROUPS[groups].split(',').collect();
        let socket = database(master);
        self.tell(
            agent,
            |agent| &mut agent.groups,
            move |id| {
                let request =
                    json!({"mode": "override", "sync_status": "syncreq", "data": [{"id": id, "groups": names}]});
                match ask(socket, &format!("global set-agent-groups {request}"), PATIENCE).as_deref() {
                    Ok("ok") => Some(Known::Surely(GROUPS[groups].to_owned())),
                    Err(error) if is_refused(error) => None,
                    _ => Some(Known::Unsure),
                }
            },
        )
    }

    /// One tells its worker, always the same of these, its version, as remoted does.
    pub fn report(&self, workers: Vec<PathBuf>, agent: usize, version: u64) -> Option<JoinHandle<()>> {
        let version = format!("v{version}");
        self.tell(agent, |agent| &mut agent.version, move |id| {
            let worker = id as usize % workers.len();
            let socket = database(&workers[worker]);
            let data = json!({
                "id": id, "version": version, "node_name": format!("w{}", worker + 1), "manager_host": "m", "agent_ip": "10.0.0.5",
                "connection_status": "active", "sync_status": "syncreq", "group_config_status": "synced",
                "labels": format!("\"env\":{version}"),
            });
            let row = format!("global sql SELECT version FROM agent WHERE id = {id}");
            match ask(socket.clone(), &format!("global update-agent-data {data}"), PATIENCE).as_deref() {
                Ok("ok") => {}
                Err(error) if is_refused(error) => return None,
                _ => return Some(Known::Unsure),
            }
            match ask(socket, &row, PATIENCE).as_deref() {
                // Its key has not come yet.
                Ok("ok []") => None,
                Ok(row) if row.contains(&format!(r#""version":"{version}""#)) => Some(Known::Surely(version)),
                _ => Some(Known::Unsure),
            }
        })
    }

    /// Tells a database something about an agent, on a thread; notes what is known afterwards. Who has not yet been told
    /// what became of the last, or never will be, says nothing more.
    fn tell(
        &self,
        number: usize,
        field: fn(&mut Agent) -> &mut Known,
        said: impl FnOnce(u32) -> Option<Known> + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        let (number, id) = self.choose(number)?;
        let mut agents = self.0.lock();
        let before = std::mem::replace(field(&mut agents[number]), Known::Unsure);
        if before == Known::Unsure {
            return None;
        }
        let agents = self.0.clone();
        Some(thread::spawn(move || {
            let known = said(id).unwrap_or(before);
            *field(&mut agents.lock()[number]) = known;
        }))
    }

    /// The first one from a number on, counted around, that is registered and to stay; with its id.
    fn choose(&self, number: usize) -> Option<(usize, u32)> {
        let agents = self.0.lock();
        let from = number.checked_rem(agents.len())?;
        (from..agents.len()).chain(0..from).find_map(|number| Some((number, agents[number].id()?)))
    }
}

fn database(home: &Path) -> PathBuf {
    home.join("queue/db/wdb")
}

/// Whether nobody has got the request.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// What cluster_control says; none if it fails, for then nobody knows what was done.
fn answered(mut command: Command) -> Option<Value> {
    let output = command.output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}
