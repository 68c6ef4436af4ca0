//! `-l`: the nodes of the cluster.

use serde_json::{Value, json};

use super::{Output, arguments::Request, failure::Failure, moment::utc, report, status::Health, table};
use crate::{
    local::client::LocalClient,
    verdict::{Listed, State},
};

const COLUMNS: [&str; 6] = ["STATE", "NAME", "TYPE", "VERSION", "ADDRESS", "SINCE (UTC)"];

/// The width of a state.
const STATE: usize = State::InSync.text().len();

/// Lists the named nodes, or all that are known.
pub(super) fn show(client: &LocalClient, request: &Request) -> Result<Output, Failure> {
    let (health, _) = Health::ask(client, &request.nodes)?;
    let nodes = health.listed();
    let out =
        if request.json { report::document(&nodes.iter().map(to_value).collect()) } else { draw(&nodes, request) };
    Ok(report::judged(out, &nodes, &request.nodes))
}

fn draw(nodes: &[Listed], request: &Request) -> String {
    // All states are as wide, whichever there are.
    let own =
        |node: &Listed| [format!("{:STATE$}", node.state), node.since.as_deref().map_or_else(|| "-".to_owned(), utc)];
    let own: Vec<[String; 2]> = nodes.iter().map(own).collect();
    let rows: Vec<[&str; COLUMNS.len()]> = nodes
        .iter()
        .zip(&own)
        .map(|(Listed { name, role, version, ip, .. }, [state, since])| {
            [state, name, role, version, ip, since].map(|text| &**text)
        })
        .collect();
    let table = table::draw(COLUMNS, &rows);
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let lines = lines.zip(nodes).map(|(line, node)| request.paint.state(node.state, line));
    std::iter::once(head.to_owned()).chain(lines).map(|line| line + "\n").collect()
}

fn to_value(node: &Listed) -> Value {
    let Listed { name, role, version, ip, state, since, reason, remedy } = node;
    json!({
        "name": name, "type": role, "version": version, "ip": ip, "in_sync": report::is_in_sync(node), "state": state,
        "since": since, "reason": reason, "remedy": remedy,
    })
}
