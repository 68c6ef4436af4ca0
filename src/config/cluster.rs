//! The `<cluster>` block as the daemon uses it.

use std::{fmt, net::IpAddr};

use serde_json::{Map, Value};

use super::{ClusterKey, settings::Version};
use crate::system::own_address::{addresses, is_own};

/// Options of the block in the order in which [`Cluster::to_json`] shows those that the file leaves out.
pub(super) const OPTIONS: [&str; 10] =
    ["name", "node_name", "node_type", "key", "port", "bind_addr", "nodes", "hidden", "disabled", "haproxy_helper"];

/// Shown where a secret is withheld.
const MASK: &str = "*****";

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeType {
    /// The authority, to which workers connect.
    Master,
    /// A node that connects to the master.
    Worker,
}

impl NodeType {
    /// The word in configuration, `hello` and `get_nodes`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for NodeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The `<cluster>` block of `ossec.conf` (`spec/protocol.md` 15.1). Its `Debug` text shows no secret.
#[derive(Clone)]
pub struct Cluster {
    /// The cluster's name, one word.
    pub name: String,
    /// This node's name; fulfils [`is_node_name`].
    pub node_name: String,
    /// This node's role.
    pub node_type: NodeType,
    /// The shared key. Of no use if the cluster is disabled, or when [`Config::take_keys`](super::Config::take_keys) has
    /// taken it out: a node that runs has its [`Keys`](super::Keys).
    pub key: ClusterKey,
    /// TCP port of the master.
    pub port: u16,
    /// The address at which a master listens: an IP address or a host name.
    pub bind_addr: String,
    /// Addresses of the nodes that may be the master. A worker tries them in turn.
    pub nodes: Vec<String>,
    /// Concerns alerts of other daemons; any text.
    pub hidden: String,
    /// The daemon has nothing to do and exits with success. Nothing else of the block was checked then.
    pub disabled: bool,
    /// The block for the load-balancer helper, as written: texts, objects for elements with children, arrays for
    /// repeated ones.
    pub haproxy_helper: Option<Value>,
    /// The options that the file names, in its order.
    pub written: Vec<&'static str>,
}

impl Cluster {
    /// The address of the master: the first one, on a master the first that is an IP address of this machine.
    pub fn master(&self) -> &str {
        let own = || self.nodes.iter().find(|node| node.parse::<IpAddr>().is_ok() && self.is_here(node));
        let several = self.node_type == NodeType::Master && self.nodes.len() > 1;
        let node = if several { own() } else { None };
        node.or(self.nodes.first()).map_or("", String::as_str)
    }

    /// Whether `host`, a name or an address, is where this node listens as a master. A name may take long to resolve.
    pub fn is_here(&self, host: &str) -> bool {
        match self.bind_addr.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() => addresses(host).contains(&address.to_canonical()),
            _ => is_own(host) == Some(true),
        }
    }

    /// Whether a host of the `<nodes>` has this address. Names may take long to resolve.
    pub fn lists(&self, address: IpAddr) -> bool {
        self.nodes.iter().any(|host| addresses(host).contains(&address.to_canonical()))
    }

    /// A cluster with this key and the defaults of the stock daemon in all else. `nodes` then names no real address.
    pub fn new(key: ClusterKey) -> Self {
        Self {
            name: "wazuh".into(),
            node_name: "node01".into(),
            node_type: NodeType::Master,
            key,
            port: 1516,
            bind_addr: "0.0.0.0".into(),
            nodes: vec!["NODE_IP".into()],
            hidden: "no".into(),
            disabled: false,
            haproxy_helper: None,
            written: Vec::new(),
        }
    }

    /// Whether the load-balancer helper is to run: the last `<haproxy_disabled>` says no.
    pub fn wants_haproxy_helper(&self) -> bool {
        let written = self.haproxy_helper.as_ref().and_then(|block| block.get("haproxy_disabled"));
        let last = match written {
            Some(Value::Array(texts)) => texts.last(),
            single => single,
        };
        last.and_then(Value::as_str) == Some("no")
    }

    /// Options whose values are not the same, but for the key.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differs = |option: &&str| self.option(option, true) != other.option(option, true);
        OPTIONS.into_iter().filter(differs).collect()
    }

    /// What `get_config` answers (`spec/protocol.md` 13.3): the options of the file in its order, then the defaulted
    /// ones. The key is masked; unless `show_passwords`, so are the passwords of the helper.
    pub fn to_json(&self, show_passwords: bool) -> Vec<(&'static str, Value)> {
        let defaulted = OPTIONS.into_iter().filter(|option| !self.written.contains(option));
        let options = self.written.iter().copied().chain(defaulted);
        options.filter_map(|option| Some((option, self.option(option, show_passwords)?))).collect()
    }

    fn option(&self, option: &str, show_passwords: bool) -> Option<Value> {
        Some(match option {
            "name" => self.name.as_str().into(),
            "node_name" => self.node_name.as_str().into(),
            "node_type" => self.node_type.as_str().into(),
            "key" => MASK.into(),
            "port" => self.port.into(),
            "bind_addr" => self.bind_addr.as_str().into(),
            "nodes" => self.nodes.as_slice().into(),
            "hidden" => self.hidden.as_str().into(),
            "disabled" => self.disabled.into(),
            "haproxy_helper" if show_passwords => self.haproxy_helper.clone()?,
            "haproxy_helper" => masked(self.haproxy_helper.as_ref()?),
            _ => return None,
        })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.to_json(false)).finish()
    }
}

/// `value` with every member whose name speaks of a password masked.
fn masked(value: &Value) -> Value {
    let member = |(name, value): (&String, &Value)| {
        let secret = name.ends_with("password");
        (name.clone(), if secret { MASK.into() } else { masked(value) })
    };
    match value {
        Value::Object(members) => Value::Object(members.iter().map(member).collect::<Map<_, _>>()),
        Value::Array(values) => values.iter().map(masked).collect(),
        other => other.clone(),
    }
}

/// The first release whose masters demand `[A-Za-z0-9_-]+` in `hello` (`spec/protocol.md` 6.2). Before, names with dots
/// were in use, too.
const WITHOUT_DOTS: Version = Version { major: 4, minor: 14, patch: 6 };

/// Whether `text` can be the name of a node that states `version`. Such a name is safe as that of a directory beside
/// the control socket.
pub fn is_node_name(text: &str, version: Version) -> bool {
    let dots = version < WITHOUT_DOTS && !text.starts_with('.') && !text.ends_with(".sock");
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && dots);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster() -> Cluster {
        Cluster::new(ClusterKey::new("c98b62a9b6169ac5f67dae55ae4a9088").expect("a key"))
    }

    #[test]
    fn written_options_come_first() {
        let cluster = Cluster { written: vec!["port", "name"], ..cluster() };
        let names: Vec<_> = cluster.to_json(false).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["port", "name", "node_name", "node_type", "key", "bind_addr", "nodes", "hidden", "disabled"]
        );
    }

    #[test]
    fn secrets_show_only_on_demand() {
        let helper = json!({"haproxy_user": "u", "haproxy_password": "secret", "in": [{"x_password": "secret"}]});
        let cluster = Cluster { haproxy_helper: Some(helper.clone()), ..cluster() };
        let hidden = format!("{:?}", cluster.to_json(false));
        assert!(!hidden.contains("c98b") && !hidden.contains("secret") && hidden.contains(MASK), "{hidden}");
        let debug = format!("{cluster:?}");
        assert!(!debug.contains("c98b") && !debug.contains("secret") && debug.contains("node01"), "{debug}");
        let shown = cluster.to_json(true);
        assert!(shown.contains(&("haproxy_helper", helper)));
        assert!(shown.contains(&("key", json!(MASK))));
    }

    #[test]
    fn differences_are_named_and_the_key_is_none() {
        let other = Cluster {
            key: ClusterKey::new("ugdtAnd7Pi9myP7CVts4qZaZQEQcRYZa").expect("a key"),
            port: 1517,
            written: vec!["port"],
            haproxy_helper: Some(json!({"haproxy_password": "another"})),
            ..cluster()
        };
        assert_eq!(cluster().differences(&other), ["port", "haproxy_helper"]);
        assert_eq!(other.differences(&other), Vec::<&str>::new());
    }

    #[test]
    fn node_names() {
        let new = WITHOUT_DOTS;
        let old = Version { patch: 5, ..new };
        for version in [old, new] {
            assert!(is_node_name("Node_01-a", version));
            for text in ["", "a b", "a/b", "..", ".a", "../a", "c-internal.sock", "ä", "a\n"] {
                assert!(!is_node_name(text, version), "{text}");
            }
            assert_eq!(is_node_name("manager.siem.local", version), version == old);
        }
    }
}
