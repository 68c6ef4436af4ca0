//! The health of a cluster (`spec/protocol.md` 13.6) and what it says about a node being in sync.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{failure::Failure, moment::Moment};
use crate::{
    local::client::LocalClient,
    system::human,
    tasks::integrity::{Failed, master::Held},
    wire::{Command, json},
};

/// The health of the cluster. What an older daemon does not tell has its empty value.
#[derive(Debug, Deserialize)]
pub(super) struct Health {
    /// Workers in this answer.
    #[serde(default)]
    pub(super) n_connected_nodes: u64,
    #[serde(default)]
    pub(super) nodes: BTreeMap<String, Node>,
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
    #[serde(default)]
    pub(super) n_active_agents: u64,
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
    /// Ours, while there are any.
    pub(super) failed_files: Option<FailedFiles>,
    /// Ours, while the master has files that the worker has not shown to have.
    pub(super) behind_since: Option<Moment>,
    /// Ours, until somebody confirms them.
    pub(super) held_deletions: Option<Held>,
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

/// Files that the worker could not write or delete.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FailedFiles {
    count: usize,
    first: Vec<Failed>,
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

/// Whether a node has the master's files, as far as the master knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    InSync,
    NeverChecked,
    NotVerified,
    Behind,
    Unknown,
}

impl Verdict {
    /// Why the node is not in sync, in general.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::InSync => None,
            Self::NeverChecked => Some("no integrity check has ended yet"),
            Self::NotVerified => Some("files were sent to it, and no integrity check has confirmed them yet"),
            Self::Behind => Some("the files of the master have changed, and it has not shown yet that it has them"),
            Self::Unknown => Some("its health is not known; it may just have left or joined"),
        }
    }
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

    /// The nodes: the master first, then the workers by name.
    pub(super) fn in_order(&self) -> Vec<&Node> {
        let mut nodes: Vec<_> = self.nodes.values().collect();
        nodes.sort_by_key(|node| (!node.is_master(), node.info.name.as_str()));
        nodes
    }

    /// Why the node with this name is not in sync, as far as is known; none if it is.
    pub(super) fn reason(&self, name: &str) -> Option<String> {
        let general = self.verdict(name).reason()?;
        let status = self.nodes.get(name).and_then(|node| node.status.as_ref());
        if let Some(held) = status.and_then(|status| status.held_deletions) {
            return Some(format!("{held}: 'cluster_control --confirm-deletions' on the master lets it go"));
        }
        if let Some(failed) = status.and_then(|status| status.failed_files.as_ref()) {
            let first = |Failed { path, reason }: &Failed| format!(", the first {path}: {reason}");
            let first = failed.first.first().map(first).unwrap_or_default();
            return Some(format!("{} could not be written there{first}", human::files(failed.count)));
        }
        if let Some(progress) = status.and_then(|status| status.sync_progress.as_ref()) {
            return Some(format!("files are being sent to it, {progress}"));
        }
        let since = status.and_then(|status| status.behind_since.as_ref()).filter(|since| since.time().is_some());
        Some(since.map_or_else(|| general.to_owned(), |since| format!("{general} (since {since})")))
    }

    /// What is known about the node with this name.
    pub(super) fn verdict(&self, name: &str) -> Verdict {
        self.nodes.get(name).map_or(Verdict::Unknown, Node::verdict)
    }
}

impl Node {
    pub(super) fn is_master(&self) -> bool {
        self.info.role == "master"
    }

    /// Whether the node is in sync: its last check found no difference.
    ///
    /// A check that finds a difference ends too, and then files are sent. So a check counts only if it came after the
    /// last sending of files. Where a run is under way, its beginning is newer than the end that stands beside it,
    /// which belongs to the run before; the earlier date of a check and the later of a sending are the safe ones.
    fn verdict(&self) -> Verdict {
        if self.is_master() {
            return Verdict::InSync;
        }
        let Some(status) = &self.status else { return Verdict::NeverChecked };
        if status.held_deletions.is_some() || status.failed_files.is_some() {
            return Verdict::NotVerified;
        }
        let (check, sync) = (&status.last_check_integrity, &status.last_sync_integrity);
        let Some(check_end) = check.date_end.time() else { return Verdict::NeverChecked };
        let checked = check.date_start.time().map_or(check_end, |start| start.min(check_end));
        // `None`, which is never, is before every date.
        let sent = sync.date_start.time().max(sync.date_end.time());
        match (Some(checked) > sent, &status.behind_since) {
            (true, None) => Verdict::InSync,
            (true, Some(_)) => Verdict::Behind,
            (false, _) => Verdict::NotVerified,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A worker whose dates are seconds of one minute; 0 is never.
    fn worker(check: [u8; 2], sync: [u8; 2]) -> Verdict {
        let date = |second: u8| match second {
            0 => "n/a".to_owned(),
            second => format!("2026-11-23T10:32:{second:02}.000000Z"),
        };
        let span = |[start, end]: [u8; 2]| json!({"date_start_master": date(start), "date_end_master": date(end)});
        let node = json!({
            "info": {"name": "w1", "type": "worker"},
            "status": {"last_check_integrity": span(check), "last_sync_integrity": span(sync)},
        });
        serde_json::from_value::<Node>(node).unwrap().verdict()
    }

    #[test]
    fn a_worker_is_in_sync_when_a_check_followed_the_last_sending_of_files() {
        let cases = [
            ("connected just now", [0, 0], [0, 0], Verdict::NeverChecked),
            ("first check under way", [5, 0], [0, 0], Verdict::NeverChecked),
            ("checked, nothing to send", [5, 6], [0, 0], Verdict::InSync),
            ("check found differences, sending under way", [5, 6], [6, 0], Verdict::NotVerified),
            ("sent, not checked since", [5, 6], [6, 8], Verdict::NotVerified),
            ("check after the sending under way", [17, 6], [6, 8], Verdict::NotVerified),
            ("check after the sending ended", [17, 18], [6, 8], Verdict::InSync),
            ("next check under way", [27, 18], [6, 8], Verdict::InSync),
            ("next check found differences, sending under way", [27, 28], [28, 8], Verdict::NotVerified),
            ("sending failed, a later check found nothing", [37, 38], [28, 8], Verdict::InSync),
        ];
        for (case, check, sync, expected) in cases {
            assert_eq!(worker(check, sync), expected, "{case}");
        }
    }

    #[test]
    fn a_worker_that_has_not_shown_the_present_files_is_behind() {
        let date = "2026-11-23T10:32:05.000000Z";
        let checked = json!({"date_start_master": date, "date_end_master": date});
        let health = |status: Value| -> Health {
            serde_json::from_value(
                json!({"nodes": {"w1": {"info": {"name": "w1", "type": "worker"}, "status": status}}}),
            )
            .unwrap()
        };
        assert_eq!(health(json!({"last_check_integrity": checked})).verdict("w1"), Verdict::InSync);
        let behind = health(json!({"last_check_integrity": checked, "behind_since": date}));
        assert_eq!(behind.verdict("w1"), Verdict::Behind);
        let reason = "the files of the master have changed, and it has not shown yet that it has them (since \
                      2026-11-23T10:32:05.000000Z)";
        assert_eq!(behind.reason("w1").unwrap(), reason);
    }

    #[test]
    fn a_health_without_the_parts_of_later_versions_is_read() {
        let health: Health = serde_json::from_value(json!({
            "n_connected_nodes": 1, "nodes": {"w1": {"info": {"name": "w1", "type": "worker"}, "status": {}}},
        }))
        .unwrap();
        assert_eq!(health.verdict("w1"), Verdict::NeverChecked);
        assert_eq!(health.verdict("w2"), Verdict::Unknown);
    }
}
