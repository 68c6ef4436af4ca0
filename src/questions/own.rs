//! What a node tells of itself: `get_config`, `get_hash` and `get_term` (`spec/protocol.md` 13.3, 13.4, 13.12).

use crate::{
    config::{Secret, settings::RULESET_KEYS},
    election::Known,
    files::{ChecksumKind, Entry, Manifest},
    node::Node,
    system::{hex::hex, json},
};

/// The configuration as it was loaded, in the order of the file. The key is masked unless cluster.json says otherwise:
/// whoever may open the socket is not meant to be administrator of every node.
pub fn config(node: &Node) -> Secret {
    let show_key = node.settings.local.show_key;
    let mut text = Secret::default();
    for (option, value) in node.cluster.to_json(show_key) {
        text.push_str(if text.is_empty() { "{" } else { ", " });
        text.push_str(&format!("{}: ", json::text(option)));
        if option == "key" && show_key {
            // It has no character that JSON would escape.
            ["\"", node.keys().current.expose(), "\""].into_iter().for_each(|part| text.push_str(part));
        } else {
            text.push_str(&json::text(&value));
        }
    }
    text.push_str("}");
    text
}

/// [`known`] as the answer to a program.
pub fn term(node: &Node) -> String {
    json::text(&known(node))
}

/// Which term of the master the node knows, and how failover stands. It asks the arbiter.
pub fn known(node: &Node) -> Known {
    Known {
        term: node.term.status(&node.home, node.cluster.node_type),
        failover: node.candidate.as_ref().map(|candidate| candidate.status()),
    }
}

/// The BLAKE2b-512 of each file of the ruleset, as this manifest has them.
pub fn hash(manifest: &Manifest) -> String {
    let ruleset = manifest.entries().iter().filter(|entry| RULESET_KEYS.contains(&manifest.key_of(entry)));
    let member = |entry: &Entry| {
        let sum = entry.checksum(ChecksumKind::Blake2b).unwrap_or_default();
        format!("{}: \"{}\"", json::text(&*entry.path), hex(sum))
    };
    format!("{{{}}}", ruleset.map(member).collect::<Vec<_>>().join(", "))
}
