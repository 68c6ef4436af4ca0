//! The rules for the `<cluster>` block, in the order of the stock checks.

mod haproxy;

use std::path::Path;

use serde_json::Value;

use super::{
    options::Written,
    value::{is_empty, to_json},
};
use crate::{
    config::{
        Cluster, ClusterKey, NodeType, Note,
        address::is_address,
        cluster::{OPTIONS, is_node_name},
        fault::{Code, Fault, printable},
        published::{is_placeholder, is_published_key},
        settings::Version,
        xml::Element,
    },
    system::spelling,
};

/// Addresses that no master of a cluster has.
const RESERVED_NODES: [&str; 4] = ["localhost", "NODE_IP", "0.0.0.0", "127.0.1.1"];

/// One pass over the block.
pub(super) struct Check<'a> {
    pub(super) file: &'a Path,
    pub(super) block: &'a Element,
    /// The version that this node states.
    pub(super) version: Version,
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<Note>,
}

impl<'a> Check<'a> {
    /// The cluster that the block describes; of no use if there are faults afterwards.
    pub(super) fn cluster(&mut self) -> Cluster {
        let mut cluster = Cluster::new(ClusterKey::unset());
        cluster.written = self.options();
        let port = self.port_digits();
        cluster.disabled = self.disabled();
        if cluster.disabled {
            return cluster;
        }
        if let Some(key) = self.key() {
            cluster.key = key;
        }
        if let Some(node_type) = self.node_type() {
            cluster.node_type = node_type;
        }
        if let Some(port) = port.and_then(|port| self.port_range(port)) {
            cluster.port = port;
        }
        let nodes = self.nodes(&cluster.nodes, cluster.node_type);
        cluster.nodes = nodes;
        if let Some(name) = self.name() {
            cluster.name = name;
        }
        if let Some(node_name) = self.node_name() {
            cluster.node_name = node_name;
        }
        if let Some(bind_addr) = self.bind_addr() {
            cluster.bind_addr = bind_addr;
        }
        if let Some((hidden, _)) = self.block.option("hidden") {
            cluster.hidden = hidden.to_owned();
        }
        cluster.haproxy_helper = self.haproxy_helper();
        cluster
    }

    /// The options that the block names, in its order, with notes on those that it should not.
    fn options(&mut self) -> Vec<&'static str> {
        let mut written = Vec::new();
        for element in &self.block.children {
            let Some(option) = OPTIONS.into_iter().find(|option| *option == element.name) else {
                self.unknown(element, "cluster", &OPTIONS);
                continue;
            };
            if is_empty(element) {
                continue;
            }
            if !written.contains(&option) {
                written.push(option);
            } else if option != "nodes" {
                self.warn(element.line, &format!("<{option}> is given more than once; the last one counts"));
            }
        }
        written
    }

    /// Notes that an element of the block `of` is none of its options, which are `known`.
    fn unknown(&mut self, element: &Element, of: &str, known: &[&str]) {
        let name = printable(&element.name);
        let remedy = match spelling::closest(&element.name, known.iter().copied()) {
            Some(meant) => format!("did you mean <{meant}>?"),
            None => "remove it, other daemons may refuse it".to_owned(),
        };
        self.warn(element.line, &format!("Unknown option <{name}> in <{of}>; {remedy}"));
    }

    /// The digits of the port. They are checked even if the cluster is disabled; the range is not.
    fn port_digits(&mut self) -> Option<Written<'a>> {
        const DEFAULT: &str = "1516";
        let (text, line) = self.block.option("port").unwrap_or((DEFAULT, self.block.line));
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some((text, line));
        }
        self.fault(line, "Cluster port must be an integer.", "write a port between 1025 and 65534", text);
        None
    }

    fn port_range(&mut self, (text, line): Written<'_>) -> Option<u16> {
        let port = text.parse().ok().filter(|port| (1025..=65534).contains(port));
        if port.is_none() {
            let problem = "Port must be higher than 1024 and lower than 65535.";
            self.fault(line, problem, "write a port between 1025 and 65534", text);
        }
        port
    }

    fn disabled(&mut self) -> bool {
        match self.block.option("disabled") {
            None | Some(("no", _)) => false,
            Some(("yes", _)) => true,
            Some((text, line)) => {
                let problem = format!("Allowed values for 'disabled' field are 'yes' and 'no'. Found: '{text}'");
                self.fault(line, &problem, "write yes or no", text);
                false
            }
        }
    }

    fn key(&mut self) -> Option<ClusterKey> {
        const REMEDY: &str = "write the key of the cluster; a new one is made by: wazuh-clusterd --generate-key";
        let Some((text, line)) = self.block.option("key") else {
            let line = self.block.line_of("key");
            self.faults.push(Fault::new(Code::Cluster, self.file, "Unspecified key", REMEDY).line(line));
            return None;
        };
        let Some(key) = ClusterKey::new(text) else {
            let problem = "Key must be 32 characters long and only have alphanumeric characters";
            let fault = Fault::new(Code::Cluster, self.file, problem, REMEDY).line(line);
            self.faults.push(fault.detail(ClusterKey::fault(text)));
            return None;
        };
        if is_published_key(text) {
            let text = "The key of the cluster is a published example that everybody knows; \
                        make an own one for all nodes with: wazuh-clusterd --generate-key";
            self.warn(line, text);
        }
        Some(key)
    }

    fn node_type(&mut self) -> Option<NodeType> {
        match self.block.option("node_type")? {
            ("master", _) => Some(NodeType::Master),
            ("worker", _) => Some(NodeType::Worker),
            ("client", line) => {
                let text =
                    format!("Node type 'client' is read as 'worker' ({}:{line}: write worker)", self.file.display());
                self.notes.push(Note::info(text));
                Some(NodeType::Worker)
            }
            (text, line) => {
                let problem = format!("Invalid node type {text}. Correct values are master and worker");
                self.fault(line, &problem, "write master or worker", text);
                None
            }
        }
    }

    /// The addresses of all `<nodes>`; `default` if there are none.
    fn nodes(&mut self, default: &[String], node_type: NodeType) -> Vec<String> {
        let elements = self.block.options("nodes").flat_map(|list| list.options("node"));
        let written: Vec<_> = elements.filter(|element| !is_empty(element)).map(Element::written).collect();
        let (missing, line) = (written.is_empty(), self.block.line_of("nodes"));
        let nodes = if missing { default.iter().map(|node| (node.as_str(), line)).collect() } else { written };

        if let [(first, _), (_, second), ..] = nodes[..] {
            let first = printable(first);
            self.warn(
                second,
                &format!(
                    "<nodes> has {} nodes; workers that run this daemon try them in turn, stock daemons use only the first, \
                     {first}",
                    nodes.len()
                ),
            );
        }
        let reserved: Vec<_> = nodes.iter().filter(|(node, _)| RESERVED_NODES.contains(node)).collect();
        if let Some((node, line)) = reserved.first() {
            let list: Vec<_> = reserved.iter().map(|(node, _)| *node).collect();
            let problem = format!("Invalid elements in node fields: {}.", list.join(", "));
            let remedy = "write the address of the master as <nodes><node>...</node></nodes>, on the master too";
            let fault = Fault::new(Code::Cluster, self.file, problem, remedy).line(*line);
            self.faults.push(if missing { fault.detail("no node is given") } else { fault.found(node) });
        }
        if let Some((master, line)) = nodes.first()
            && node_type == NodeType::Worker
            && master.contains(char::is_whitespace)
        {
            let remedy = "write the IP address or the host name of the master into <node>";
            self.fault(*line, "The address of the master must not have blanks", remedy, master);
            return Vec::new();
        }
        for (node, line) in nodes.iter().filter(|(node, _)| !RESERVED_NODES.contains(node)) {
            self.warn_of_placeholder("node", node, *line);
            if !is_address(node) {
                let node = printable(node);
                self.warn(
                    *line,
                    &format!(
                        "The node '{node}' is neither an IP address nor a host name; no connection to it will succeed"
                    ),
                );
            }
        }
        nodes.into_iter().map(|(node, _)| node.to_owned()).collect()
    }

    fn name(&mut self) -> Option<String> {
        let (text, line) = self.block.option("name")?;
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            // The name is one of the blank-separated words of `hello`.
            self.fault(line, "The name of the cluster must not have blanks", "write one word", text);
            return None;
        }
        self.warn_of_placeholder("name", text, line);
        Some(text.to_owned())
    }

    fn node_name(&mut self) -> Option<String> {
        let (text, line) = self.block.option("node_name")?;
        if !is_node_name(text, self.version) {
            let problem = "The name of the node may only have letters from a to z, digits, underscores and hyphens";
            let remedy = match is_node_name(text, Version { patch: 0, ..self.version }) {
                true => {
                    "write such a name; or, in a cluster whose nodes are older than 4.14.6, their version in cluster.json"
                }
                false => "write such a name; it must differ on every node",
            };
            self.fault(line, problem, remedy, text);
            return None;
        }
        if text.contains('.') {
            let name = printable(text);
            self.warn(
                line,
                &format!(
                    "The node_name '{name}' has a dot, which nodes from 4.14.6 on refuse; write another one before the \
                     cluster is upgraded"
                ),
            );
        }
        self.warn_of_placeholder("node_name", text, line);
        Some(text.to_owned())
    }

    fn bind_addr(&mut self) -> Option<String> {
        let (text, line) = self.block.option("bind_addr")?;
        if !is_address(text) {
            let remedy = "write an address of this node without port or brackets, or 0.0.0.0 or :: for all of them";
            self.fault(line, "The bind_addr is neither an IP address nor a host name", remedy, text);
            return None;
        }
        self.warn_of_placeholder("bind_addr", text, line);
        Some(text.to_owned())
    }

    fn haproxy_helper(&mut self) -> Option<Value> {
        let helper = self.block.options("haproxy_helper").next_back()?;
        if helper.children.is_empty() {
            return None;
        }
        self.check_helper(helper);
        Some(to_json(helper))
    }

    fn fault(&mut self, line: usize, problem: &str, remedy: &str, found: &str) {
        self.faults.push(Fault::new(Code::Cluster, self.file, problem, remedy).line(line).found(found));
    }

    fn warn(&mut self, line: usize, text: &str) {
        self.notes.push(Note::warning(format!("{text} ({}:{line})", self.file.display())));
    }

    fn warn_of_placeholder(&mut self, option: &str, text: &str, line: usize) {
        if is_placeholder(text) {
            self.warn(
                line,
                &format!("<{option}> is still the placeholder '{text}' of a template; write the real value"),
            );
        }
    }
}
