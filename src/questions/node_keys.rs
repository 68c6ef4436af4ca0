//! Which keys the nodes have, by their fingerprints: every node tells its own (`node_keys`), a master those of all nodes
//! that are connected, or were lately (`get_keys`). Ours.

use serde::{Deserialize, Serialize};

use crate::{config::settings::MOST_KEYS, connection::Connection, crypto::is_fingerprint, node::Node, system::json};

/// What is known of the keys of one node. All are fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeKeys {
    /// The node.
    pub name: String,
    /// `master` or `worker`.
    #[serde(rename = "type")]
    pub role: String,
    /// The key of the link between a worker and its master, the last one if the worker has left; none if there is no link.
    pub link: Option<String>,
    /// Its `<key>`; none if the node does not tell.
    pub key: Option<String>,
    /// Those that it accepts besides; none if the node does not tell.
    pub accepted: Option<Vec<String>>,
    /// When it left, UTC; none if it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

/// The answer to `get_keys`: the master first.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClusterKeys {
    /// One for each node that is connected, then one for each that left lately.
    pub items: Vec<NodeKeys>,
}

impl NodeKeys {
    /// What this node tells of itself and of its link to the master. Slow for a key that has not been named before.
    pub fn own(node: &Node, link: Option<&Connection>) -> Self {
        let (cluster, keys) = (&node.cluster, node.keys());
        Self {
            key: Some(keys.current.cipher().fingerprint().to_owned()),
            accepted: Some(keys.accepted.iter().map(|key| key.cipher().fingerprint().to_owned()).collect()),
            ..Self::silent(&cluster.node_name, cluster.node_type.as_str(), link)
        }
    }

    /// A node that does not tell its keys.
    pub fn silent(name: &str, role: &str, link: Option<&Connection>) -> Self {
        let link = link.and_then(|link| Some(link.cipher()?.fingerprint().to_owned()));
        Self { name: name.to_owned(), role: role.to_owned(), link, key: None, accepted: None, left: None }
    }

    /// Adds what the node has answered; an answer that cannot be right counts as none.
    pub fn with_answer(mut self, answer: &[u8]) -> Self {
        if let Ok(Self { key: Some(key), accepted: Some(accepted), .. }) = serde_json::from_slice(answer)
            && accepted.len() <= MOST_KEYS
            && accepted.iter().chain([&key]).all(|name| is_fingerprint(name))
        {
            (self.key, self.accepted) = (Some(key), Some(accepted));
        }
        self
    }

    /// The answer to `node_keys`.
    pub fn to_json(&self) -> String {
        json::text(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fingerprints_are_believed() {
        let told = |answer: &str| NodeKeys::silent("w1", "worker", None).with_answer(answer.as_bytes());
        let good = r#"{"name": "x", "type": "y", "link": null, "key": "0123abcd", "accepted": ["89abcdef"]}"#;
        let node = told(good);
        assert_eq!((&*node.name, node.key.as_deref()), ("w1", Some("0123abcd")));
        assert_eq!(node.accepted, Some(vec!["89abcdef".to_owned()]));
        for (from, to) in [("0123abcd", "0123ABCD"), ("89abcdef", "89abcdef0"), ("89abcdef", ""), ("}", "")] {
            assert_eq!(told(&good.replace(from, to)).key, None, "{to}");
        }
        let many = ["\"89abcdef\""; 5].join(", ");
        assert_eq!(told(&good.replace("\"89abcdef\"", &many)).key, None);
    }
}
