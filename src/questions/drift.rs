//! `get_drift`: asks the workers for the outlines of their configurations, and compares these with that of the master.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::Questions;
use crate::{
    config::Setting,
    connection::{Begun, RequestError},
    drift::{Difference, Nonce, Outline, Ruleset, compare, short},
    registry::ConnectedWorker,
    system::{human, random},
    wire::{Command, ErrorObject},
};

/// How long the workers may take to tell their outlines. With [`TURN`] it is less than the 20 s for which a program and
/// the worker that it has asked wait.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a comparison waits for others.
const TURN: Duration = Duration::from_secs(9);

/// The longest outline that is read, in bytes.
const LONGEST_OUTLINE: usize = 8 * 1024 * 1024;

/// Why a node is not asked.
const ORIGINAL: &str =
    "it cannot be asked: it is a stock node, or cluster.json forbids it (link.native, link.features)";

/// The payload of `get_drift`, a request of our own.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftQuestion {
    /// Which nodes; all if there is none. Names that no node has are ignored.
    pub nodes: BTreeSet<String>,
}

/// The answer to a [`DriftQuestion`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftAnswer {
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

impl Questions {
    /// The answer to `get_drift`. Waits for all workers, so never on the reader of a connection.
    ///
    /// # Errors
    /// What is wrong with the question; that others ask without end; or that the master cannot read its own configuration.
    pub fn drift(&self, question: &[u8]) -> Result<String, ErrorObject> {
        let node = &self.node;
        let wrong = |error: serde_json::Error| ErrorObject::unexpected(error.to_string());
        let DriftQuestion { nodes: wanted } = serde_json::from_slice(question).map_err(wrong)?;
        let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(name);
        let turn = self.comparing.take(&node.clock, &node.shutdown, TURN);
        let _turn = turn.ok_or_else(|| ErrorObject::unexpected("others compare nodes at the moment; ask again"))?;
        let nonce: Nonce = random::bytes().map_err(|error| ErrorObject::unexpected(error.to_string()))?;
        let workers: Vec<_> =
            self.registry.workers().into_iter().filter(|worker| is_wanted(&worker.hello.node)).collect();
        // All are asked before any is waited for.
        let asked: Vec<_> = workers.iter().map(|worker| ask(worker, &nonce)).collect();
        let own = Outline::of(node, &nonce, None);
        let settings = own.settings.map_err(ErrorObject::unexpected)?;
        let mut nodes: BTreeMap<String, NodeDrift> = workers
            .iter()
            .zip(asked)
            .map(|(worker, asked)| (worker.hello.node.clone(), judge(&settings, asked)))
            .collect();
        let master = node.cluster.node_name.clone();
        if is_wanted(&master) {
            let ruleset = Some(own.ruleset);
            nodes.insert(master.clone(), NodeDrift { error: None, differences: Vec::new(), more: false, ruleset });
        }
        serde_json::to_string(&DriftAnswer { master, nodes }).map_err(wrong)
    }
}

/// A question that is under way, or why there is none.
type Asked = Result<Begun, String>;

fn ask(worker: &ConnectedWorker, nonce: &Nonce) -> Asked {
    if !worker.is_settled() {
        return Err("it has only just connected; ask again".to_owned());
    }
    if !worker.features().outline {
        return Err(ORIGINAL.to_owned());
    }
    worker.connection.begin_at_once(PATIENCE, Command::Outline, STANDARD.encode(nonce)).map_err(reason)
}

fn reason(error: RequestError) -> String {
    match error {
        RequestError::Timeout { .. } => format!("it has not answered within {}", human::span(PATIENCE)),
        other => short(other.to_string()),
    }
}

fn judge(master: &[Setting], asked: Asked) -> NodeDrift {
    let outline = asked.and_then(|begun| outline(&begun.wait().map_err(reason)?));
    let (settings, ruleset) = match outline.map(|Outline { settings, ruleset }| (settings, ruleset)) {
        Ok((Ok(settings), ruleset)) => (settings, ruleset),
        Ok((Err(reason), _)) | Err(reason) => return NodeDrift::unknown(reason),
    };
    let (differences, more) = compare(master, &settings);
    NodeDrift { error: None, differences, more, ruleset: Some(ruleset) }
}

/// What a worker has answered.
fn outline(answer: &[u8]) -> Result<Outline, String> {
    if answer.len() > LONGEST_OUTLINE {
        return Err(format!("its answer is longer than {LONGEST_OUTLINE} bytes"));
    }
    let outline = serde_json::from_slice(answer).map(Outline::bounded);
    outline.map_err(|error| short(format!("its answer is not understood: {error}")))
}
