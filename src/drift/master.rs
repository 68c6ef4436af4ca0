//! The master's part: asks the workers, and compares.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    Outline, Ruleset,
    compare::{Difference, compare},
};
use crate::{
    config::Setting,
    connection::{Begun, RequestError},
    master::{Master, Member},
    system::random,
    wire::{Class, Command, ErrorObject},
};

/// How long the workers may take to tell their outlines: less than a worker waits that has been asked by a program.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest outline that is read, in bytes.
const LONGEST: usize = 8 * 1024 * 1024;

/// Why a node is not asked.
const ORIGINAL: &str =
    "it cannot be asked: it is an original node, or cluster.json forbids it (link.native, link.features)";

/// The payload of `get_drift`, a request of our own.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// Which nodes; all if there is none.
    pub nodes: Vec<String>,
}

/// The answer to a [`Question`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The name of the master.
    pub master: String,
    /// What there is to say of each node, by its name.
    pub nodes: BTreeMap<String, NodeDrift>,
}

/// What there is to say of a node.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDrift {
    /// Why it could not be asked; the rest is empty then.
    pub error: Option<String>,
    /// Where its ossec.conf differs from the master's. Always empty for the master.
    pub differences: Vec<Difference>,
    /// Whether there are more differences than these.
    pub more: bool,
    /// Whether its ruleset is applied.
    pub ruleset: Option<Ruleset>,
}

impl NodeDrift {
    fn unknown(reason: String) -> Self {
        Self { error: Some(reason), differences: Vec::new(), more: false, ruleset: None }
    }
}

impl Master {
    /// The answer to `get_drift`. Waits for all workers, so never on the reader of a connection.
    ///
    /// # Errors
    /// What is wrong with the question; or that the master cannot read its own configuration.
    pub fn drift(&self, question: &[u8]) -> Result<String, ErrorObject> {
        let wrong = |error: serde_json::Error| ErrorObject::unexpected(error.to_string());
        let Question { nodes: wanted } = serde_json::from_slice(question).map_err(wrong)?;
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
        let nonce = random::bytes::<16>().map_err(|error| ErrorObject::unexpected(error.to_string()))?;
        let workers: Vec<_> =
            self.registry.workers().into_iter().filter(|worker| is_wanted(&worker.hello.node)).collect();
        // All are asked before any is waited for.
        let asked: Vec<_> = workers.iter().map(|worker| ask(worker, &nonce)).collect();
        let own = Outline::of(&self.node, &nonce, None);
        let settings = own.settings.map_err(ErrorObject::unexpected)?;
        let mut nodes: BTreeMap<String, NodeDrift> = workers
            .iter()
            .zip(asked)
            .map(|(worker, asked)| (worker.hello.node.clone(), judge(&settings, asked)))
            .collect();
        let master = self.node.cluster.node_name.clone();
        if is_wanted(&master) {
            let ruleset = Some(own.ruleset);
            nodes.insert(master.clone(), NodeDrift { error: None, differences: Vec::new(), more: false, ruleset });
        }
        if wanted.iter().any(|name| !nodes.contains_key(name)) {
            return Err(ErrorObject::new(Class::NotFound, 1730));
        }
        serde_json::to_string(&Answer { master, nodes }).map_err(wrong)
    }
}

/// A question that is under way; none if the worker would not understand it.
type Asked = Option<Result<Begun, RequestError>>;

fn ask(worker: &Arc<Member>, nonce: &[u8]) -> Asked {
    let knows = worker.is_settled() && worker.features().outline;
    knows.then(|| worker.connection.begin_within(PATIENCE, Command::Outline, STANDARD.encode(nonce)))
}

fn judge(master: &[Setting], asked: Asked) -> NodeDrift {
    let Some(asked) = asked else { return NodeDrift::unknown(ORIGINAL.to_owned()) };
    let answer = match asked.and_then(Begun::wait) {
        Ok(answer) if answer.len() > LONGEST => {
            return NodeDrift::unknown(format!("its answer is longer than {LONGEST} bytes"));
        }
        Ok(answer) => answer,
        Err(error) => return NodeDrift::unknown(error.to_string()),
    };
    let (settings, ruleset) = match serde_json::from_slice(&answer) {
        Ok(Outline { settings: Ok(settings), ruleset }) => (settings, ruleset),
        Ok(Outline { settings: Err(reason), .. }) => return NodeDrift::unknown(reason),
        Err(error) => return NodeDrift::unknown(format!("its answer is not understood: {error}")),
    };
    let (differences, more) = compare(master, &settings);
    NodeDrift { error: None, differences, more, ruleset: Some(ruleset) }
}
