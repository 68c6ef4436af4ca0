//! `-i` and `-i more`: when the nodes were last synchronized.

use std::fmt::{self, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Exit, Output,
    arguments::Request,
    failure::Failure,
    moment::utc,
    paint::Paint,
    report,
    status::{Health, Span, Status},
};
use crate::system::visible::visible;
use crate::{local::client::LocalClient, verdict::Listed, wire::Command};

/// Shows the health of the named nodes, or of all that are known.
pub(super) fn show(client: &LocalClient, request: &Request, more: bool) -> Result<Output, Failure> {
    let (health, value) = Health::ask(client, &request.nodes)?;
    let nodes = health.listed();
    let mut output = report::judged(String::new(), &nodes, &request.nodes);
    output.out = if request.json {
        report::document(&with_verdicts(value, &nodes, output.exit))
    } else {
        text(&cluster_name(client)?, &health, &nodes, (more, request.paint))
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

/// The health as it came, with a verdict for each node that is known, also for those that are not connected, and for all.
fn with_verdicts(mut value: Value, listed: &[Listed], exit: Exit) -> Value {
    let Some(members) = value.as_object_mut() else { return value };
    members.shift_remove("verdicts");
    let nodes = members.entry("nodes").or_insert_with(|| json!({}));
    for node in listed {
        let Listed { name, role, version, ip, state, since, reason, remedy } = node;
        if nodes.get(name).is_none() {
            nodes[name] = json!({"info": {"name": name, "type": role, "version": version, "ip": ip}});
        }
        nodes[name]["in_sync"] = report::is_in_sync(node).into();
        nodes[name]["state"] = json!(state);
        nodes[name]["since"] = json!(since);
        nodes[name]["reason"] = json!(reason);
        nodes[name]["remedy"] = json!(remedy);
    }
    members.insert("in_sync".to_owned(), (exit == Exit::InSync).into());
    value
}

fn text(cluster: &str, health: &Health, nodes: &[Listed], (more, paint): (bool, Paint)) -> String {
    let mut text = format!("Cluster name: {}\n\n", visible(cluster));
    // Writing to a string cannot fail.
    let _ =
        if more { write_all(&mut text, health, nodes, paint) } else { write_brief(&mut text, health, nodes, paint) };
    text.push('\n');
    text
}

/// The words for all states in one width.
const WIDE: usize = 9;

fn write_brief(out: &mut String, health: &Health, nodes: &[Listed], paint: Paint) -> fmt::Result {
    writeln!(out, "Last completed synchronization for connected nodes ({}):", health.n_connected_nodes)?;
    for node in nodes {
        let head = paint.state(node.state, &format!("{:WIDE$}{}", node.state, title(node)));
        let status = health.nodes.get(&node.name).and_then(|node| node.status.as_ref());
        let Some(status) = status else {
            writeln!(out, "    {head}{}.", since(node).map_or_else(String::new, |since| format!(": since {since}")))?;
            continue;
        };
        let sending =
            status.sync_progress.as_ref().map(|progress| format!(" | Sending: {progress}")).unwrap_or_default();
        writeln!(
            out,
            "    {head}: Integrity check: {} | Integrity sync: {} | Agents-info: {} | Agent-groups: {} | \
             Agent-groups full: {} | Last keep alive: {}{sending}.",
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

fn write_all(out: &mut String, health: &Health, nodes: &[Listed], paint: Paint) -> fmt::Result {
    writeln!(out, "Connected nodes ({}):", health.n_connected_nodes)?;
    for node in nodes {
        let head = paint.state(node.state, &format!("{:WIDE$}{}", node.state, title(node)));
        writeln!(out, "\n    {head}")?;
        let mut line = |name: &str, text: &str| writeln!(out, "        {name}: {}", visible(text));
        since(node).iter().try_for_each(|since| line("Since", since))?;
        node.reason.iter().try_for_each(|reason| line("Reason", reason))?;
        node.remedy.iter().try_for_each(|remedy| line("Remedy", remedy))?;
        line("Version", &node.version)?;
        line("Type", &node.role)?;
        let Some(node) = health.nodes.get(&node.name) else { continue };
        match node.info.n_active_agents {
            Some(agents) => line("Active agents", &agents.to_string())?,
            None => line("Active agents", "n/a (the agent database does not answer)")?,
        }
        if let Some(status) = &node.status {
            write_status(out, status)?;
        }
    }
    Ok(())
}

/// The indentation, the names and their capitals are those of the stock daemon.
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

fn title(node: &Listed) -> String {
    format!("{} ({})", visible(&node.name), visible(&node.ip))
}

fn since(node: &Listed) -> Option<String> {
    node.since.as_deref().map(|since| format!("{} UTC", utc(since)))
}

fn span(span: &Span) -> String {
    let (start, end) = (&span.date_start, &span.date_end);
    format!("{} ({start} - {end})", start.duration_until(end))
}

/// As the stock daemon spells it.
const fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
