//! The health of a cluster (`spec/protocol.md` 13.6) and what it says about a node being in sync.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{failure::Failure, moment::Moment};
use crate::{
    local::client::LocalClient,
    system::{human, json},
    verdict::{Listed, NOT_CHECKED, NOT_CONFIRMED, State, Verdict},
    wire::Command,
};

/// The health of the cluster. What an older daemon does not tell has its empty value.
#[derive(Debug, Deserialize)]
pub(super) struct Health {
    /// Workers in this answer.
    #[serde(default)]
    pub(super) n_connected_nodes: u64,
    #[serde(default)]
    pub(super) nodes: BTreeMap<String, Node>,
    /// Ours: every node that is known.
    pub(super) verdicts: Option<Vec<Listed>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) info: Info,
    /// The master has none.
    pub(super) status: Option<Status>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) role: String,
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) ip: String,
    /// None while the agent database does not answer.
    pub(super) n_active_agents: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) sync_integrity_free: bool,
    pub(super) last_check_integrity: Span,
    pub(super) last_sync_integrity: Span,
    pub(super) sync_agent_info_free: bool,
    pub(super) last_sync_agentinfo: Span,
    pub(super) last_sync_agentgroup: Span,
    pub(super) last_sync_full_agentgroup: Span,
    pub(super) last_keep_alive: Moment,
    /// Ours, while files are sent.
    pub(super) sync_progress: Option<Progress>,
}

/// How much of an archive is on its way.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    files: u64,
    of_files: u64,
    bytes: u64,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} files, {}", self.files, self.of_files, human::bytes(self.bytes))
    }
}

/// When something last began and ended on the master, and how much was moved.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Span {
    #[serde(alias = "date_start_master")]
    pub(super) date_start: Moment,
    #[serde(alias = "date_end_master")]
    pub(super) date_end: Moment,
    pub(super) n_synced_chunks: u64,
    pub(super) total_files: Files,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Files {
    pub(super) shared: u64,
    pub(super) missing: u64,
    pub(super) extra: u64,
}

impl Health {
    /// Asks for the health of the named nodes, or of all if none is named. Gives it as it came, too.
    pub(super) fn ask(client: &LocalClient, nodes: &[String]) -> Result<(Self, Value), Failure> {
        let filter = if nodes.is_empty() { "null".to_owned() } else { json::text(&nodes) };
        let answer = client.ask(Command::Health, filter.as_bytes())?;
        let malformed = |source| Failure::Malformed { what: "get_health", source };
        let value: Value = serde_json::from_slice(&answer).map_err(malformed)?;
        Ok((serde_json::from_slice(&answer).map_err(malformed)?, value))
    }

    /// How each node stands, in the order in which people look at them: as the master tells it or, if it does not, as far
    /// as its dates tell.
    pub(super) fn listed(&self) -> Vec<Listed> {
        let mut listed: Vec<Listed> =
            self.verdicts.clone().unwrap_or_else(|| self.nodes.values().map(Node::listed).collect());
        listed.sort_by(Listed::order);
        listed
    }
}

impl Node {
    pub(super) fn is_master(&self) -> bool {
        self.info.role == "master"
    }

    /// How the node stands behind a master that does not tell it.
    fn listed(&self) -> Listed {
        let info = &self.info;
        let words = [&info.name, &info.role, &info.version, &info.ip].map(String::clone);
        match self.fault() {
            None => Listed::new(words, Verdict::in_sync(None)),
            Some((state, reason)) => Listed::new(words, Verdict::bad(state, None, reason)),
        }
    }

    /// Why the node does not count as in sync; none if its last check found no difference.
    ///
    /// A check that finds a difference ends too, and then files are sent. So a check counts only if it came after the
    /// last sending of files. Where a run is under way, its beginning is newer than the end that stands beside it,
    /// which belongs to the run before; the earlier date of a check and the later of a sending are the safe ones.
    fn fault(&self) -> Option<(State, &'static str)> {
        if self.is_master() {
            return None;
        }
        const JOINING: Option<(State, &str)> = Some((State::Joining, NOT_CHECKED));
        let Some(status) = &self.status else { return JOINING };
        let (check, sync) = (&status.last_check_integrity, &status.last_sync_integrity);
        let Some(check_end) = check.date_end.time() else { return JOINING };
        let checked = check.date_start.time().map_or(check_end, |start| start.min(check_end));
        // `None`, which is never, is before every date.
        let sent = sync.date_start.time().max(sync.date_end.time());
        (Some(checked) <= sent).then_some((State::Behind, NOT_CONFIRMED))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A worker whose dates are seconds of one minute; 0 is never.
    fn worker(check: [u8; 2], sync: [u8; 2]) -> State {
        let date = |second: u8| match second {
            0 => "n/a".to_owned(),
            second => format!("2026-11-23T10:32:{second:02}.000000Z"),
        };
        let span = |[start, end]: [u8; 2]| json!({"date_start_master": date(start), "date_end_master": date(end)});
        let node = json!({
            "info": {"name": "w1", "type": "worker"},
            "status": {"last_check_integrity": span(check), "last_sync_integrity": span(sync)},
        });
        serde_json::from_value::<Node>(node).unwrap().listed().state
    }

    #[test]
    fn a_worker_is_in_sync_when_a_check_followed_the_last_sending_of_files() {
        let cases = [
            ("connected just now", [0, 0], [0, 0], State::Joining),
            ("first check under way", [5, 0], [0, 0], State::Joining),
            ("checked, nothing to send", [5, 6], [0, 0], State::InSync),
            ("check found differences, sending under way", [5, 6], [6, 0], State::Behind),
            ("sent, not checked since", [5, 6], [6, 8], State::Behind),
            ("check after the sending under way", [17, 6], [6, 8], State::Behind),
            ("check after the sending ended", [17, 18], [6, 8], State::InSync),
            ("next check under way", [27, 18], [6, 8], State::InSync),
            ("next check found differences, sending under way", [27, 28], [28, 8], State::Behind),
            ("sending failed, a later check found nothing", [37, 38], [28, 8], State::InSync),
        ];
        for (case, check, sync, expected) in cases {
            assert_eq!(worker(check, sync), expected, "{case}");
        }
    }

    #[test]
    fn the_verdict_of_the_master_counts_if_it_tells_one() {
        let mut health = json!({
            "n_connected_nodes": 1, "nodes": {"w1": {"info": {"name": "w1", "type": "worker"}, "status": {}}},
        });
        let listed = |health: &Value| serde_json::from_value::<Health>(health.clone()).unwrap().listed();
        let derived = listed(&health);
        assert_eq!(
            (derived.len(), derived[0].state, derived[0].reason.as_deref()),
            (1, State::Joining, Some(NOT_CHECKED))
        );
        let node = |name: &str, state: &str| {
            json!({"name": name, "type": "worker", "version": "4", "ip": "::1", "state": state, "since": null,
                "reason": "why", "remedy": null})
        };
        health["verdicts"] = json!([node("w10", "in sync"), node("w1", "in sync"), node("w2", "away")]);
        let told: Vec<String> = listed(&health).into_iter().map(|node| node.name).collect();
        assert_eq!(told, ["w2", "w1", "w10"]);
    }
}
