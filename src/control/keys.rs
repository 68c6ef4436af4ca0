//! `--key-status`: which key each node has and uses, by its fingerprint.

use std::fmt::Write;

use serde_json::json;

use super::{
    Exit, Output,
    arguments::Request,
    failure::Failure,
    report::{self, visible},
    table,
};
use crate::{
    local::client::LocalClient,
    session::keys::{ClusterKeys, NodeKeys},
    wire::Command,
};

/// What the original's tables show where nothing is known.
const UNKNOWN: &str = "unknown";
const NONE: &str = "-";

/// Shows the keys of the named nodes, or of all. If the master cannot be asked, those of this node and why.
pub(super) fn show(client: &LocalClient, request: &Request) -> Result<Output, Failure> {
    let own = own(client)?;
    match all(client) {
        Ok(nodes) => Ok(judged(&nodes, request)),
        Err(failure) => {
            let mut output = failure.output(request);
            output.out = if request.json {
                report::document(&json!({"nodes": [own], "error": failure.to_value()}))
            } else {
                draw(&[&own])
            };
            Ok(output)
        }
    }
}

fn own(client: &LocalClient) -> Result<NodeKeys, Failure> {
    let answer = client.ask(Command::NodeKeys, b"")?;
    serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "node_keys", source })
}

fn all(client: &LocalClient) -> Result<Vec<NodeKeys>, Failure> {
    let answer =
        client.ask(Command::Keys, b"").map_err(|error| Failure::of_master(error, "tell the keys of its nodes"))?;
    let keys: ClusterKeys =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "get_keys", source })?;
    Ok(keys.items)
}

/// The nodes with a remark for each that has not the key of the master.
fn judged(nodes: &[NodeKeys], request: &Request) -> Output {
    let asked = |node: &&NodeKeys| request.nodes.is_empty() || request.nodes.contains(&node.name);
    let shown: Vec<&NodeKeys> = nodes.iter().filter(asked).collect();
    let masters = nodes.iter().find(|node| node.role == "master").and_then(key);
    let mut err = String::new();
    for node in &shown {
        let (Some(has), Some(masters)) = (key(node), masters) else { continue };
        if has != masters {
            let name = visible(&node.name);
            // Writing to a string cannot fail.
            let _ = writeln!(err, "Another key: {name}: it has {}, the master {}.", visible(has), visible(masters));
        }
    }
    for name in request.nodes.iter().filter(|name| shown.iter().all(|node| node.name != **name)) {
        let _ = writeln!(err, "Not connected: {}.", visible(name));
    }
    let same = err.is_empty();
    let out = if request.json { report::document(&json!({"nodes": shown, "same_key": same})) } else { draw(&shown) };
    Output { out, err, exit: if same { Exit::InSync } else { Exit::NotInSync } }
}

/// The key that a node connects with. One that does not tell is taken for an original one, which has only that of its
/// link.
fn key(node: &NodeKeys) -> Option<&str> {
    node.key.as_deref().or(node.link.as_deref())
}

fn draw(nodes: &[&NodeKeys]) -> String {
    let accepted: Vec<String> = nodes.iter().map(|node| accepted(node)).collect();
    let rows: Vec<_> = nodes.iter().zip(&accepted).map(|(node, accepted)| row(node, accepted)).collect();
    table::draw(["NAME", "TYPE", "LINK", "KEY", "ACCEPTED"], &rows)
}

fn accepted(node: &NodeKeys) -> String {
    match &node.accepted {
        None => UNKNOWN.to_owned(),
        Some(keys) if keys.is_empty() => NONE.to_owned(),
        Some(keys) => keys.join(", "),
    }
}

fn row<'a>(node: &'a NodeKeys, accepted: &'a str) -> [&'a str; 5] {
    [&node.name, &node.role, node.link.as_deref().unwrap_or(NONE), node.key.as_deref().unwrap_or(UNKNOWN), accepted]
}
