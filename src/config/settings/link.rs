//! `distributed_api`, `link` and `local`: who may talk to the daemon, and how.

use std::{net::IpAddr, time::Duration};

use serde_json::Value;
use zeroize::Zeroize;

use super::{Version, section::Section};
use crate::{
    config::{ClusterKey, is_node_name},
    system::network::Network,
};

/// Features of the native link that this build knows (`spec/native.md` 2).
const FEATURES: [&str; 13] = [
    "checksum=md5+blake2b",
    "checksum=md5",
    "digest",
    "push",
    "keys",
    "applied",
    "outline",
    "groups",
    "delta",
    "known",
    "quiet",
    SESSION,
    "term",
];

/// The feature without which `require` has no sense.
const SESSION: &str = "session";

/// Keys that may be accepted besides `<key>`. A change needs one; each is a way in.
pub const MOST_KEYS: usize = 4;

/// Processes that may execute requests of one node: each takes some 30 MB while it is there.
const MOST_PROCESSES: u32 = 8;

/// `distributed_api`.
#[derive(Clone, Debug, PartialEq)]
pub struct DistributedApi {
    /// Whether a worker passes requests of the API to the master; otherwise it executes them itself.
    pub enabled: bool,
    /// What executes requests of the API.
    pub executor: Executor,
    /// Processes that execute requests of one node at a time, with [`Executor::Auto`].
    pub processes: u32,
}

/// `distributed_api` > `executor`: what executes requests of the API on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executor {
    /// Processes of this daemon that run on the manager's Python framework, if there is one.
    Auto,
    /// Nothing.
    None,
    /// A program and its arguments, never empty: one process for each request, which it gets on its standard input and
    /// answers on its standard output, both JSON.
    Command(Vec<String>),
}

/// `link`: ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Whether two nodes of ours speak more than the classic protocol.
    pub native: Native,
    /// Features that are offered and taken on such a link, in the spelling of `spec/native.md`.
    pub features: Vec<String>,
    /// Further keys; see [`Keys`](crate::config::Keys).
    pub accept_keys: Vec<ClusterKey>,
    /// The workers that a master accepts, by their names; all if it is empty.
    pub allow_nodes: Vec<String>,
    /// Where the connections to a master may come from; anywhere if it is empty.
    pub allow_networks: Vec<Network>,
    /// Whether a master accepts other patch versions of its own minor.
    pub accept_patch_versions: bool,
    /// Connections of one address that have not said `hello`.
    pub max_unauthenticated_per_address: u32,
    /// Connections of all addresses that have not said `hello`.
    pub max_unauthenticated: u32,
    /// Connected workers.
    pub max_workers: u32,
    /// From the accepted connection to its `hello`.
    pub handshake_timeout: Duration,
    /// From the header of a frame to its last byte.
    pub frame_timeout: Duration,
    /// The first pause before a worker connects again.
    pub reconnect_min: Duration,
}

/// `link` > `native` (`spec/native.md` 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// If the other end can.
    Auto,
    /// Never.
    Never,
    /// A link without a session is closed.
    Require,
}

/// `local`: ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Clients of the control socket at the same time.
    pub max_clients: u32,
    /// Whether `get_config` shows the key.
    pub show_key: bool,
}

impl DistributedApi {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let what = "auto, none, or a list: the absolute path of a program, then its arguments";
        let executor = section.convert("executor", what, executor).unwrap_or(Executor::None);
        if let Executor::Command(command) = &executor
            && !command[0].starts_with('/')
        {
            section.fault("executor", "does not begin with an absolute path", &command[0], &format!("write {what}"));
        }
        let api = Self {
            enabled: section.flag("enabled"),
            executor,
            processes: section.count("processes", 1..=MOST_PROCESSES),
        };
        section.finish();
        api
    }
}

impl Link {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        const COUNTS: std::ops::RangeInclusive<u32> = 1..=65_535;
        let features = format!("a list of features, of which this version knows: {}", FEATURES.join(", "));
        let link = Self {
            native: section.convert("native", "auto, never or require", native).unwrap_or(Native::Never),
            features: section.texts("features", &features, |feature| FEATURES.contains(&feature)),
            accept_keys: keys(&mut section, "accept_keys"),
            allow_nodes: section.texts("allow_nodes", "a list of node names, or [] for all nodes", is_any_node_name),
            allow_networks: networks(&mut section, "allow_networks"),
            accept_patch_versions: section.flag("accept_patch_versions"),
            max_unauthenticated_per_address: section.count("max_unauthenticated_per_address", COUNTS),
            max_unauthenticated: section.count("max_unauthenticated", COUNTS),
            max_workers: section.count("max_workers", COUNTS),
            handshake_timeout: section.seconds("handshake_timeout"),
            frame_timeout: section.seconds("frame_timeout"),
            reconnect_min: section.seconds("reconnect_min"),
        };
        if link.native == Native::Require && !link.features.iter().any(|feature| feature == SESSION) {
            let remedy = "add session to link > features, or write auto";
            section.fault("native", "is require, which needs the feature session", "require", remedy);
        }
        section.finish();
        link
    }

    /// Whether a worker of this name may join.
    pub fn allows_node(&self, name: &str) -> bool {
        self.allow_nodes.is_empty() || self.allow_nodes.iter().any(|allowed| allowed == name)
    }

    /// Whether a connection may come from this address.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.allow_networks.is_empty() || self.allow_networks.iter().any(|network| network.contains(address))
    }
}

/// Whether a node of any version may have this name.
pub(super) fn is_any_node_name(text: &str) -> bool {
    is_node_name(text, Version { major: 4, minor: 4, patch: 0 })
}

/// Takes a list of networks.
fn networks(section: &mut Section<'_>, name: &str) -> Vec<Network> {
    let texts = section.texts(name, "a list of networks like 10.0.0.0/8 or fd00::/8, or [] for all", |_| true);
    let network = |text: &String| match text.parse() {
        Ok(network) => Some(network),
        Err(error) => {
            section.fault(name, "is not acceptable", text, &format!("{error}"));
            None
        }
    };
    texts.iter().filter_map(network).collect()
}

/// Takes a list of keys. What is wrong with them is told without them.
fn keys(section: &mut Section<'_>, name: &str) -> Vec<ClusterKey> {
    let remedy =
        format!("write a list of at most {MOST_KEYS} keys of 32 letters, digits or underscores, or [] for none");
    let Some(value) = section.take(name) else { return Vec::new() };
    let wrong = |detail: String| section.hidden_fault(name, "is not acceptable", Some(detail), &remedy);
    let values = match value {
        Value::Array(values) => values,
        other => {
            drop(key(other));
            wrong("it is not a list".to_owned());
            return Vec::new();
        }
    };
    if values.len() > MOST_KEYS {
        wrong(format!("it has {} keys", values.len()));
    }
    let mut keys = Vec::new();
    for (number, value) in (1..).zip(values) {
        match key(value) {
            Ok(key) => keys.push(key),
            Err(fault) => wrong(format!("key {number}: {fault}")),
        }
    }
    keys
}

/// The key that `value` is, whose text is wiped in any case.
fn key(value: Value) -> Result<ClusterKey, String> {
    let Value::String(mut text) = value else { return Err("it is not a string".to_owned()) };
    let key = ClusterKey::new(&text).ok_or_else(|| ClusterKey::fault(&text));
    text.zeroize();
    key
}

fn executor(value: &Value) -> Option<Executor> {
    let text = |value: &Value| value.as_str().filter(|word| !word.contains('\0')).map(str::to_owned);
    match value {
        Value::String(word) if word == "auto" => Some(Executor::Auto),
        Value::String(word) if word == "none" => Some(Executor::None),
        Value::Array(words) if words.is_empty() => Some(Executor::None),
        Value::Array(words) => words.iter().map(text).collect::<Option<_>>().map(Executor::Command),
        _ => None,
    }
}

fn native(value: &Value) -> Option<Native> {
    match value.as_str()? {
        "auto" => Some(Native::Auto),
        "never" => Some(Native::Never),
        "require" => Some(Native::Require),
        _ => None,
    }
}

impl Local {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let local = Self { max_clients: section.count("max_clients", 1..=65_535), show_key: section.flag("show_key") };
        section.finish();
        local
    }
}
