//! `/health`: whether this node does what it is there for.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::view::{Seen, View};
use crate::{
    config::NodeType,
    metrics::Task,
    system::{human, json},
};

/// Periods of a task that may pass without a run that ends well, beside the time that a transfer may take.
const PERIODS: u32 = 5;

/// What was looked at.
pub(super) struct Health(Vec<Check>);

struct Check {
    name: &'static str,
    /// Why it is not as it should be.
    problem: Option<String>,
}

impl Health {
    pub(super) fn of(view: &View) -> Self {
        let node = &view.node;
        let settings = &node.settings;
        let (first, second) = match node.cluster.node_type {
            // The listener is bound before anything starts, and the process ends with its thread.
            NodeType::Master => (
                Check { name: "listening", problem: None },
                recent(view, Task::LocalIntegrity, settings.master.recalculate_integrity),
            ),
            NodeType::Worker => (
                Check {
                    name: "connected",
                    problem: view
                        .own()
                        .connected
                        .is_none()
                        .then(|| "this worker is not connected to its master".to_owned()),
                },
                recent(view, Task::IntegrityCheck, settings.worker.sync_integrity),
            ),
        };
        let away = node.metrics.database.away.get();
        let database = Check {
            name: "agent_database",
            problem: away.then(|| "the agent database did not answer the last request".to_owned()),
        };
        let directories = Check { name: "directories", problem: lack(view) };
        let mut checks = vec![first, second, database, directories];
        if node.cluster.node_type == NodeType::Master {
            checks.push(Check { name: "deletions", problem: held(view) });
        }
        Self(checks)
    }

    /// Whether nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        self.reasons().next().is_none()
    }

    /// What is wrong.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|check| check.problem.as_deref())
    }

    /// The body.
    pub(super) fn to_json(&self, view: &View) -> String {
        let verdict = |check: &Check| (check.name.to_owned(), Value::from(check.problem.is_none()));
        let checks: Map<String, Value> = self.0.iter().map(verdict).collect();
        let own = view.own();
        let body = json!({
            "healthy": self.is_good(),
            "node": own.name,
            "type": own.node_type,
            "checks": checks,
            "reasons": self.reasons().collect::<Vec<_>>(),
        });
        json::text(&body) + "\n"
    }
}

/// What the daemon cannot write to.
fn lack(view: &View) -> Option<String> {
    let mut lacks = view.node.places().urgent_lacks().into_iter();
    let first = lacks.next()?.text;
    Some(match lacks.len() {
        0 => first,
        more => format!("{first} (and {more} more, see 'wazuh-clusterd -t')"),
    })
}

/// What a person is to decide.
fn held(view: &View) -> Option<String> {
    let held = |node: &Seen| Some((node.name.clone(), node.files.as_ref()?.held?));
    let mut held = view.nodes.iter().filter_map(held);
    let (name, first) = held.next()?;
    let others = match held.count() {
        0 => String::new(),
        more => format!(" (and of {more} more)"),
    };
    Some(format!("of {name}{others}: {first}; see 'cluster_control --confirm-deletions'"))
}

fn recent(view: &View, task: Task, period: Duration) -> Check {
    let limit = period * PERIODS + view.node.settings.communication.timeout_receiving_file;
    let name = task.name();
    let title = task.title().to_lowercase();
    let problem = match view.node.metrics.age(task) {
        None => Some(format!("no {title} has ended well yet")),
        Some(age) if age > limit => {
            let (age, limit) = (human::span(age), human::span(limit));
            Some(format!("the last {title} ended {age} ago, more than {limit}"))
        }
        Some(_) => None,
    };
    Check { name, problem }
}
