//! `-i` and `-i more`: when the nodes were last synchronized.

use std::fmt::{self, Write};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Exit, Output,
    failure::Failure,
    report::{self, visible},
    status::{Health, Info, Node, Span, Status, Verdict},
};
use crate::{local::client::LocalClient, wire::Command};

/// Shows the health of the named nodes, or of all.
pub(super) fn show(client: &LocalClient, names: &[String], more: bool, json: bool) -> Result<Output, Failure> {
    let (health, value) = Health::ask(client, names)?;
    let nodes = health.in_order();
    let listed = nodes.iter().map(|node| (node.info.name.as_str(), node.is_master()));
    let mut output = report::judged(String::new(), &health, listed, names);
    output.out = if json {
        report::document(&with_verdicts(value, &health, output.exit))
    } else {
        text(&cluster_name(client)?, &health, &nodes, more)
    };
    Ok(output)
}

/// The only part of the configuration that is shown. It also holds the key, which is not kept.
#[derive(Deserialize)]
struct Configuration {
    name: String,
}

fn cluster_name(client: &LocalClient) -> Result<String, Failure> {
    let answer = client.ask(Command::Config, b"")?;
    let configuration: Configuration =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "get_config", source })?;
    Ok(configuration.name)
}

/// The health as it came, with a verdict for each node and for all.
fn with_verdicts(mut value: Value, health: &Health, exit: Exit) -> Value {
    if let Some(nodes) = value.get_mut("nodes").and_then(Value::as_object_mut) {
        for (name, node) in nodes {
            insert(node, health.verdict(name) == Verdict::InSync);
        }
    }
    insert(&mut value, exit == Exit::InSync);
    value
}

fn insert(object: &mut Value, in_sync: bool) {
    if let Some(members) = object.as_object_mut() {
        members.insert("in_sync".to_owned(), in_sync.into());
    }
}

fn text(cluster: &str, health: &Health, nodes: &[&Node], more: bool) -> String {
    let mut text = format!("Cluster name: {}\n\n", visible(cluster));
    // Writing to a string cannot fail.
    let _ = if more { write_all(&mut text, health, nodes) } else { write_brief(&mut text, health, nodes) };
    text.push('\n');
    text
}

fn write_brief(out: &mut String, health: &Health, nodes: &[&Node]) -> fmt::Result {
    writeln!(out, "Last completed synchronization for connected nodes ({}):", health.n_connected_nodes)?;
    for node in nodes {
        let Some(status) = &node.status else { continue };
        let sending =
            status.sync_progress.as_ref().map(|progress| format!(" | Sending: {progress}")).unwrap_or_default();
        writeln!(
            out,
            "    {}: Integrity check: {} | Integrity sync: {} | Agents-info: {} | Agent-groups: {} | \
             Agent-groups full: {} | Last keep alive: {}{sending}.",
            title(&node.info),
            status.last_check_integrity.date_end,
            status.last_sync_integrity.date_end,
            status.last_sync_agentinfo.date_end,
            status.last_sync_agentgroup.date_end,
            status.last_sync_full_agentgroup.date_end,
            status.last_keep_alive,
        )?;
    }
    Ok(())
}

fn write_all(out: &mut String, health: &Health, nodes: &[&Node]) -> fmt::Result {
    writeln!(out, "Connected nodes ({}):", health.n_connected_nodes)?;
    for node in nodes {
        let info = &node.info;
        writeln!(out, "\n    {}", title(info))?;
        writeln!(out, "        Version: {}", visible(&info.version))?;
        writeln!(out, "        Type: {}", visible(&info.role))?;
        writeln!(out, "        Active agents: {}", info.n_active_agents)?;
        if let Some(status) = &node.status {
            write_status(out, status)?;
        }
    }
    Ok(())
}

/// The indentation, the names and their capitals are those of the original.
fn write_status(out: &mut String, status: &Status) -> fmt::Result {
    let files = &status.last_sync_integrity.total_files;
    let mut line = |depth: usize, text: String| writeln!(out, "{:1$}{text}", "", 4 * depth);
    line(2, "Status:".to_owned())?;
    line(3, "Last keep Alive:".to_owned())?;
    line(4, format!("Last received: {}.", status.last_keep_alive))?;
    line(3, "Integrity check:".to_owned())?;
    line(4, format!("Last integrity check: {}.", span(&status.last_check_integrity)))?;
    line(4, format!("Permission to check integrity: {}.", truth(status.sync_integrity_free)))?;
    line(3, "Integrity sync:".to_owned())?;
    line(4, format!("Last integrity synchronization: {}.", span(&status.last_sync_integrity)))?;
    let (shared, missing, extra) = (files.shared, files.missing, files.extra);
    line(4, format!("Synchronized files: Shared: {shared} | Missing: {missing} | Extra: {extra}."))?;
    if let Some(progress) = &status.sync_progress {
        line(4, format!("Sending: {progress}."))?;
    }
    let transfers = [
        ("Agents-info:", &status.last_sync_agentinfo, Some(status.sync_agent_info_free)),
        ("Agents-groups:", &status.last_sync_agentgroup, None),
        ("Agents-groups full:", &status.last_sync_full_agentgroup, None),
    ];
    for (name, transfer, permission) in transfers {
        line(3, name.to_owned())?;
        line(4, format!("Last synchronization: {}.", span(transfer)))?;
        line(4, format!("Number of synchronized chunks: {}.", transfer.n_synced_chunks))?;
        if let Some(permission) = permission {
            line(4, format!("Permission to synchronize agent-info: {}.", truth(permission)))?;
        }
    }
    Ok(())
}

fn title(info: &Info) -> String {
    format!("{} ({})", visible(&info.name), visible(&info.ip))
}

fn span(span: &Span) -> String {
    let (start, end) = (&span.date_start, &span.date_end);
    format!("{} ({start} - {end})", start.duration_until(end))
}

/// As the original spells it.
const fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
