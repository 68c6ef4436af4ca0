//! `get_nodes`: the nodes of the cluster (`spec/protocol.md` 13.5).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Questions;
use crate::{
    system::json,
    wire::{Class, ErrorObject},
};

/// What may be selected, in the order of a [`Node`].
const FIELDS: [&str; 4] = ["name", "type", "version", "ip"];
const MOST: i64 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Arguments {
    filter_node: Option<OneOrMany>,
    offset: i64,
    limit: Option<i64>,
    sort: Option<Sort>,
    search: Option<Search>,
    select: Option<Vec<String>>,
    filter_type: String,
    distinct: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            filter_node: None,
            offset: 0,
            limit: Some(500),
            sort: None,
            search: None,
            select: None,
            filter_type: "all".to_owned(),
            distinct: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

#[derive(Deserialize)]
struct Sort {
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    order: String,
}

#[derive(Deserialize)]
struct Search {
    value: String,
    #[serde(default)]
    negation: bool,
}

/// A node, its fields in the order of [`FIELDS`].
type Node = [String; 4];

impl Questions {
    /// The answer to `get_nodes` with these arguments.
    ///
    /// # Errors
    /// The numbered error of the argument that is wrong; the asking program is at fault.
    pub fn nodes(&self, arguments: &[u8]) -> Result<String, ErrorObject> {
        select(self.all_nodes(), arguments)
    }

    fn all_nodes(&self) -> Vec<Node> {
        let node = &self.node;
        let cluster = &node.cluster;
        let version = node.settings.version.to_string();
        let address = cluster.master().to_owned();
        let mut nodes = vec![[cluster.node_name.clone(), "master".to_owned(), version, address]];
        nodes.extend(self.registry.workers().iter().map(|worker| {
            let hello = worker.hello.clone();
            [hello.node, hello.node_type, hello.version, worker.address.to_string()]
        }));
        nodes
    }
}

fn select(mut nodes: Vec<Node>, arguments: &[u8]) -> Result<String, ErrorObject> {
    let arguments: Arguments =
        serde_json::from_slice(arguments).map_err(|error| ErrorObject::unexpected(error.to_string()))?;
    if let Some(filter) = &arguments.filter_node {
        if filter.names().iter().any(|name| nodes.iter().all(|node| &node[0] != name)) {
            return Err(ErrorObject::new(Class::NotFound, 1730));
        }
        nodes.retain(|node| filter.names().contains(&node[0]));
    }
    match arguments.filter_type.as_str() {
        "all" => (),
        "master" | "worker" => nodes.retain(|node| node[1] == arguments.filter_type),
        other => return Err(ErrorObject::request(1728, other)),
    }
    let fields = match &arguments.select {
        None => vec![0, 1, 2, 3],
        Some(select) => select.iter().map(|name| field(name)).collect::<Result<_, _>>()?,
    };
    if let Some(Sort { fields: by, order }) = &arguments.sort {
        let by: Vec<usize> = by.iter().map(|name| field(name)).collect::<Result<_, _>>()?;
        nodes.sort_by(|a, b| by.iter().map(|at| &a[*at]).cmp(by.iter().map(|at| &b[*at])));
        if order == "desc" {
            nodes.reverse();
        }
    }
    if let Some(search) = &arguments.search {
        let value = search.value.to_lowercase();
        nodes.retain(|node| fields.iter().any(|at| node[*at].to_lowercase().contains(&value)) != search.negation);
    }
    let mut items: Vec<Value> = nodes.iter().map(|node| item(node, &fields)).collect();
    if arguments.distinct {
        let mut seen = Vec::new();
        items.retain(|item| {
            !seen.contains(item) && {
                seen.push(item.clone());
                true
            }
        });
    }
    let total = items.len();
    cut(&mut items, arguments.offset, arguments.limit)?;
    Ok(json::text(&json!({"items": items, "totalItems": total})))
}

fn field(name: &str) -> Result<usize, ErrorObject> {
    FIELDS.iter().position(|field| *field == name).ok_or_else(|| ErrorObject::request(1724, name))
}

fn item(node: &Node, fields: &[usize]) -> Value {
    let members = fields.iter().map(|at| (FIELDS[*at].to_owned(), Value::from(node[*at].clone())));
    Value::Object(members.collect::<Map<_, _>>())
}

fn cut(items: &mut Vec<Value>, offset: i64, limit: Option<i64>) -> Result<(), ErrorObject> {
    let wrong = |code| Err(ErrorObject::new(Class::Request, code));
    let offset = match usize::try_from(offset) {
        Ok(offset) => offset,
        Err(_) => return wrong(1400),
    };
    items.drain(..offset.min(items.len()));
    match limit {
        None => (),
        Some(limit) if limit > MOST => return wrong(1405),
        Some(0) => return wrong(1406),
        Some(limit) if limit < 0 => return wrong(1401),
        Some(limit) => items.truncate(limit as usize),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Node> {
        let node = |name: &str, kind: &str| [name, kind, "4.14.7", "127.0.0.1"].map(str::to_owned);
        vec![node("m", "master"), node("w2", "worker"), node("W1", "worker")]
    }

    fn names(arguments: &str) -> Vec<String> {
        let value: Value = serde_json::from_str(&select(nodes(), arguments.as_bytes()).unwrap()).unwrap();
        value["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }

    fn code(arguments: &str) -> u32 {
        select(nodes(), arguments.as_bytes()).unwrap_err().code
    }

    #[test]
    fn the_arguments_of_the_original_client_are_understood() {
        let all = r#"{"filter_node": null, "offset": 0, "limit": 500, "sort": null, "search": null, "select": null, "filter_type": "all", "distinct": false}"#;
        assert_eq!(names(all), ["m", "w2", "W1"]);
        assert_eq!(names("{}"), ["m", "w2", "W1"]);
        assert_eq!(names(r#"{"filter_node": "w2"}"#), ["w2"]);
        assert_eq!(names(r#"{"filter_type": "worker", "sort": {"fields": ["name"], "order": "asc"}}"#), ["W1", "w2"]);
        assert_eq!(names(r#"{"search": {"value": "W", "negation": true}, "select": ["name"]}"#), ["m"]);
        assert_eq!(names(r#"{"offset": 1, "limit": 1}"#), ["w2"]);
        let one = select(nodes(), br#"{"select": ["version"], "distinct": true}"#).unwrap();
        assert_eq!(one, r#"{"items": [{"version": "4.14.7"}], "totalItems": 1}"#);
    }

    /// Case 4.2: the stock daemon's `cluster_control` prints the members as they come.
    #[test]
    fn members_come_in_the_order_of_the_original_or_of_the_selection() {
        let one = select(nodes(), br#"{"limit": 1}"#).unwrap();
        let node = r#"{"name": "m", "type": "master", "version": "4.14.7", "ip": "127.0.0.1"}"#;
        assert_eq!(one, format!(r#"{{"items": [{node}], "totalItems": 3}}"#));
        let one = select(nodes(), br#"{"limit": 1, "select": ["version", "name"]}"#).unwrap();
        assert_eq!(one, r#"{"items": [{"version": "4.14.7", "name": "m"}], "totalItems": 3}"#);
    }

    #[test]
    fn wrong_arguments_have_their_numbers() {
        assert_eq!(code(r#"{"filter_node": ["m", "x"]}"#), 1730);
        assert_eq!(code(r#"{"filter_type": "x"}"#), 1728);
        assert_eq!(code(r#"{"select": ["x"]}"#), 1724);
        assert_eq!(code(r#"{"offset": -1}"#), 1400);
        assert_eq!(code(r#"{"limit": -1}"#), 1401);
        assert_eq!(code(r#"{"limit": 100001}"#), 1405);
        assert_eq!(code(r#"{"limit": 0}"#), 1406);
        assert_eq!(code(r#"{"unknown": 0}"#), 1000);
        assert_eq!(code("nonsense"), 1000);
    }
}
