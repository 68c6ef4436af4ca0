//! `--config-diff`: where the nodes differ in what the cluster does not keep equal.

use serde_json::json;

use super::{Exit, Output, failure::Failure, report, table};
use crate::system::visible::visible;
use crate::{
    drift::{Difference, DifferenceKind, RulesetState},
    local::client::LocalClient,
    questions::drift::{DriftAnswer, DriftQuestion, NodeDrift},
    wire::Command,
};

/// Compares the named nodes, or all, with the master.
pub(super) fn show(client: &LocalClient, nodes: &[String], json: bool) -> Result<Output, Failure> {
    let question = json!(DriftQuestion { nodes: nodes.iter().cloned().collect() }).to_string();
    let asked = client.ask(Command::Drift, question.as_bytes());
    let answer = asked.map_err(|error| Failure::of_master(error, "compare nodes"))?;
    let answer: DriftAnswer =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "get_drift", source })?;
    let missing = nodes.iter().filter(|name| !answer.nodes.contains_key(*name));
    let missing = missing.map(|name| format!("Not connected: {name}"));
    let remarks: Vec<String> =
        answer.nodes.iter().flat_map(|(name, node)| remarks(name, node)).chain(missing).collect();
    let out = if json { report::document(&json!(answer.nodes)) } else { tables(&answer) };
    let err = remarks.iter().map(|remark| format!("{}.\n", visible(remark))).collect();
    Ok(Output { out, err, exit: if remarks.is_empty() { Exit::InSync } else { Exit::NotInSync } })
}

/// What keeps the verdict from being good.
fn remarks(name: &str, node: &NodeDrift) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(reason) = &node.error {
        remarks.push(format!("Not compared: {name}: {reason}"));
    }
    if !node.differences.is_empty() {
        let more = if node.more { "more than " } else { "" };
        remarks.push(format!("Differs: {name}: {more}{} in etc/ossec.conf", options(node.differences.len())));
    }
    let only_copied = node.ruleset.as_ref().filter(|ruleset| ruleset.verdict == RulesetState::OnlyCopied);
    if let Some(newest) = only_copied.and_then(|ruleset| ruleset.newest.as_ref()) {
        remarks.push(format!("Not loaded: {name}: {newest} has changed since the ruleset was loaded"));
    }
    remarks
}

fn options(count: usize) -> String {
    format!("{count} option{}", if count == 1 { "" } else { "s" })
}

fn tables(answer: &DriftAnswer) -> String {
    let line = |line: Option<usize>| line.map_or_else(String::new, |line| line.to_string());
    let row = |(name, difference): (&str, &Difference)| -> [String; 5] {
        let kind = match difference.difference {
            DifferenceKind::Differs => "differs",
            DifferenceKind::OnlyOnMaster => "only on master",
            DifferenceKind::OnlyOnNode => "only on node",
        };
        let (master, node) = (line(difference.master_line), line(difference.node_line));
        [name.to_owned(), difference.option.clone(), kind.to_owned(), master, node]
    };
    let all = answer.nodes.iter().flat_map(|(name, node)| node.differences.iter().map(|one| (name.as_str(), one)));
    let differences: Vec<[String; 5]> = all.map(row).collect();
    let rulesets: Vec<[String; 5]> = answer.nodes.iter().filter_map(|(name, node)| ruleset(name, node)).collect();
    let compared = answer.nodes.iter().any(|(name, node)| *name != answer.master && node.error.is_none());
    let same = (compared && differences.is_empty()).then(|| "No option of etc/ossec.conf differs.\n".to_owned());
    let parts = [
        same,
        draw(["NODE", "OPTION OF ETC/OSSEC.CONF", "DIFFERENCE", "LINE ON MASTER", "LINE ON NODE"], &differences),
        draw(["NODE", "RULESET", "LOADED", "CHANGED", "NEWEST"], &rulesets),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn ruleset(name: &str, node: &NodeDrift) -> Option<[String; 5]> {
    let ruleset = node.ruleset.as_ref()?;
    let verdict = match ruleset.verdict {
        RulesetState::Loaded => "loaded",
        RulesetState::OnlyCopied => "only copied",
        RulesetState::NotRunning => "wazuh-analysisd does not run",
    };
    let date = |date: &Option<String>| date.clone().unwrap_or_else(|| "n/a".to_owned());
    let newest = ruleset.newest.clone().unwrap_or_default();
    Some([name.to_owned(), verdict.to_owned(), date(&ruleset.loaded), date(&ruleset.changed), newest])
}

/// A table that has rows.
fn draw<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Option<String> {
    let rows: Vec<[&str; N]> = rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
    (!rows.is_empty()).then(|| table::draw(head, &rows))
}
