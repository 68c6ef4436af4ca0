//! What every node tells of itself: `get_config` and `get_hash` (`spec/protocol.md` 13.3, 13.4).

use serde_json::Value;

use super::Role;
use crate::{
    config::settings::RULESET_KEYS,
    files::{ChecksumKind, Entry},
    node::Node,
    system::hex::hex,
    wire::json,
};

/// The configuration as it was loaded, in the order of the file. The key is masked unless cluster.json says otherwise:
/// whoever may open the socket is not meant to be administrator of every node.
pub fn config(node: &Node) -> String {
    let members = node.cluster.to_json(node.settings.local.show_key);
    let member = |(key, value): &(&str, Value)| format!("{}: {}", json::text(key), json::text(value));
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
}

/// The BLAKE2b-512 of each file of the ruleset, calculated now with the cache of the integrity threads.
pub fn hash(role: &Role) -> String {
    let scan = match role {
        Role::Master(master) => master.local_integrity.scan(ChecksumKind::Blake2b),
        Role::Worker(worker) => worker.scanner.lock().scan(true),
    };
    let manifest = scan.manifest;
    let ruleset = manifest.entries().iter().filter(|entry| RULESET_KEYS.contains(&manifest.key_of(entry)));
    let member = |entry: &Entry| {
        let sum = entry.checksum(ChecksumKind::Blake2b).unwrap_or_default();
        format!("{}: \"{}\"", json::text(&*entry.path), hex(sum))
    };
    format!("{{{}}}", ruleset.map(member).collect::<Vec<_>>().join(", "))
}
