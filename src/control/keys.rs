//! `--key-status`: which key each node has and uses, by its fingerprint.

use std::fmt::Write;

use serde_json::json;

use super::{Exit, Output, arguments::Request, failure::Failure, report, table};
use crate::system::visible::visible;
use crate::{
    local::client::LocalClient,
    questions::node_keys::{ClusterKeys, NodeKeys},
    wire::Command,
};

/// What the stock daemon's tables show where nothing is known.
const UNKNOWN: &str = "unknown";
const NONE: &str = "-";

/// Shows the keys of the named nodes, or of all. If the master cannot be asked, those of this node and why.
pub(super) fn show(client: &LocalClient, request: &Request) -> Result<Output, Failure> {
    let own = own(client)?;
    match all(client) {
        Ok(nodes) => Ok(judged(&nodes, request)),
        Err(failure) => {
            let mut output = failure.output(request, &super::home(request));
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

/// The nodes with a remark for each that has not the key of the master, or is away, so that nobody knows.
fn judged(nodes: &[NodeKeys], request: &Request) -> Output {
    let asked = |node: &&NodeKeys| request.nodes.is_empty() || request.nodes.contains(&node.name);
    let shown: Vec<&NodeKeys> = nodes.iter().filter(asked).collect();
    let masters = nodes.iter().find(|node| node.role == "master").and_then(key);
    let mut err = String::new();
    for node in &shown {
        let name = visible(&node.name);
        // Writing to a string cannot fail.
        let _ = match (&node.left, key(node), masters) {
            (Some(left), ..) => writeln!(
                err,
                "Not connected: {name}, since {}; its current key is unknown; update its key before starting it. \
                 If it is gone for good: 'cluster_control --forget {name}' on the master.",
                visible(left)
            ),
            (None, Some(has), Some(masters)) if has != masters => {
                writeln!(err, "Another key: {name}: it has {}, the master {}.", visible(has), visible(masters))
            }
            _ => Ok(()),
        };
    }
    for name in request.nodes.iter().filter(|name| shown.iter().all(|node| node.name != **name)) {
        let _ = writeln!(err, "Not connected: {}.", visible(name));
    }
    let same = err.is_empty();
    let out = if request.json { report::document(&json!({"nodes": shown, "same_key": same})) } else { draw(&shown) };
    Output { out, err, exit: if same { Exit::InSync } else { Exit::NotInSync } }
}

/// The key that a node connects with. One that does not tell is taken for a stock one, which has only that of its
/// link.
fn key(node: &NodeKeys) -> Option<&str> {
    node.key.as_deref().or(node.link.as_deref())
}

fn draw(nodes: &[&NodeKeys]) -> String {
    let accepted: Vec<String> = nodes.iter().map(|node| accepted(node)).collect();
    let rows: Vec<_> = nodes.iter().zip(&accepted).map(|(node, accepted)| row(node, accepted)).collect();
    table::draw(["NAME", "TYPE", "LINK", "KEY", "ACCEPTED", "LEFT"], &rows)
}

fn accepted(node: &NodeKeys) -> String {
    match &node.accepted {
        None => UNKNOWN.to_owned(),
        Some(keys) if keys.is_empty() => NONE.to_owned(),
        Some(keys) => keys.join(", "),
    }
}

fn row<'a>(node: &'a NodeKeys, accepted: &'a str) -> [&'a str; 6] {
    let [link, left] = [&node.link, &node.left].map(|text| text.as_deref().unwrap_or(NONE));
    [&node.name, &node.role, link, node.key.as_deref().unwrap_or(UNKNOWN), accepted, left]
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::Value;

    use super::*;
    use crate::{
        control::run,
        local::client::fake::{FakeDaemon, Reply},
        wire::{Class, ErrorObject},
    };

    const OLD: &str = "0123abcd";
    const NEW: &str = "89abcdef";

    fn node(name: &str, link: Option<&str>, key: Option<&str>, accepted: Option<&[&str]>) -> Value {
        let role = if name == "m" { "master" } else { "worker" };
        json!({"name": name, "type": role, "link": link, "key": key, "accepted": accepted})
    }

    /// A daemon that is `own`, and tells `all` or, if it cannot, an error.
    fn daemon(own: Value, all: Result<Value, ErrorObject>) -> FakeDaemon {
        FakeDaemon::start(move |message| {
            let (command, body) = match (message.command.name(), &all) {
                (b"node_keys", _) => (Command::Ok, own.to_string()),
                (_, Ok(items)) => (Command::Ok, json!({"items": items}).to_string()),
                (_, Err(error)) => (Command::Err, error.to_json()),
            };
            vec![Reply::Answer(command, body.into_bytes())]
        })
    }

    fn show(daemon: &FakeDaemon, line: &str) -> Output {
        let line = format!("--home {} --key-status {line}", daemon.home().display());
        run(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_change_under_way_is_shown_with_who_is_behind() {
        let m = node("m", None, Some(NEW), Some(&[OLD]));
        let workers = [
            node("w1", Some(OLD), Some(NEW), Some(&[OLD])),
            node("w2", Some(OLD), Some(OLD), Some(&[])),
            node("w3", Some(NEW), None, None),
            node("w4", Some(OLD), None, None),
        ];
        let daemon = daemon(m.clone(), Ok(json!([m, workers[0], workers[1], workers[2], workers[3]])));
        let output = show(&daemon, "");
        let table = "NAME  TYPE    LINK      KEY       ACCEPTED  LEFT  \n\
                     m     master  -         89abcdef  0123abcd  -     \n\
                     w1    worker  0123abcd  89abcdef  0123abcd  -     \n\
                     w2    worker  0123abcd  0123abcd  -         -     \n\
                     w3    worker  89abcdef  unknown   unknown   -     \n\
                     w4    worker  0123abcd  unknown   unknown   -     \n";
        let remarks = "Another key: w2: it has 0123abcd, the master 89abcdef.\n\
                       Another key: w4: it has 0123abcd, the master 89abcdef.\n";
        assert_eq!(output, Output { out: table.to_owned(), err: remarks.to_owned(), exit: Exit::NotInSync });
        let some = show(&daemon, "-fn w1 w3 --json");
        let document: Value = serde_json::from_str(&some.out).unwrap();
        assert_eq!(document, json!({"nodes": [workers[0], workers[2]], "same_key": true}));
        assert_eq!((&*some.err, some.exit), ("", Exit::InSync));
        let missing = show(&daemon, "-fn w1 gone");
        assert_eq!((&*missing.err, missing.exit), ("Not connected: gone.\n", Exit::NotInSync));
    }

    /// Who changes keys is to know of it, and to decide whether it counts.
    #[test]
    fn a_node_that_is_away_is_shown_with_what_it_used_last() {
        const DATE: &str = "2026-11-25T22:05:36.000000Z";
        let (m, w1) = (node("m", None, Some(NEW), Some(&[])), node("w1", Some(NEW), Some(NEW), Some(&[])));
        let mut away = node("w2", Some(NEW), None, None);
        away["left"] = json!(DATE);
        let daemon = daemon(m.clone(), Ok(json!([m, w1, away])));
        let output = show(&daemon, "");
        assert!(
            output.out.contains(&format!("w2    worker  89abcdef  unknown   unknown   {DATE}  \n")),
            "{}",
            output.out
        );
        let remark = format!(
            "Not connected: w2, since {DATE}; its current key is unknown; update its key before starting it. If it is gone \
             for good: 'cluster_control --forget w2' on the master.\n"
        );
        assert_eq!((output.err, output.exit), (remark, Exit::NotInSync));
        let document = |line| serde_json::from_str::<Value>(&show(&daemon, line).out).unwrap();
        assert_eq!(document("-fn w2 --json"), json!({"nodes": [away], "same_key": false}));
        assert_eq!(document("-fn m w1 --json"), json!({"nodes": [m, w1], "same_key": true}));
    }

    #[test]
    fn without_its_master_a_worker_shows_its_own_keys() {
        let own = node("w1", None, Some(NEW), Some(&[]));
        let lonely = daemon(own.clone(), Err(ErrorObject::new(Class::Cluster, 3023)));
        let output = show(&lonely, "");
        assert!(output.out.ends_with("w1    worker  -     89abcdef  -         -     \n"), "{}", output.out);
        assert!(output.err.starts_with("ERROR: Error 3023 - Worker node is not connected to master\nRemedy: "));
        assert_eq!(output.exit, Exit::NotInSync);
        let document: Value = serde_json::from_str(&show(&lonely, "--json").out).unwrap();
        assert_eq!((&document["nodes"], &document["error"]["code"]), (&json!([own]), &json!(3023)));

        let original = daemon(own, Err(ErrorObject::cluster(3000, "unknown command 'b'get_keys''")));
        let output = show(&original, "");
        assert!(output.err.contains("the master of this cluster cannot tell the keys of its nodes"), "{}", output.err);
        assert_eq!((output.out.lines().count(), output.exit), (2, Exit::CannotAsk));
    }
}
