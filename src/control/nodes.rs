//! `-l`: the nodes of the cluster.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Output,
    failure::Failure,
    report,
    status::{Health, Verdict},
    table,
};
use crate::{
    local::client::LocalClient,
    wire::{Command, json as text},
};

/// The arguments of `get_nodes`, all of them, as the original's clients send them (`spec/protocol.md` 13.5).
#[derive(Serialize)]
struct Arguments<'a> {
    filter_node: Option<&'a [String]>,
    offset: usize,
    limit: usize,
    sort: Option<()>,
    search: Option<()>,
    select: Option<()>,
    filter_type: &'static str,
    distinct: bool,
}

/// Nodes per request.
const PAGE: usize = 500;

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    #[serde(rename = "totalItems", default)]
    total: usize,
}

#[derive(Deserialize)]
struct Item {
    name: String,
    #[serde(rename = "type")]
    role: String,
    version: String,
    ip: String,
}

impl Item {
    fn is_master(&self) -> bool {
        self.role == "master"
    }

    /// `null` where the health does not know the node.
    fn to_value(&self, health: &Health) -> Value {
        let in_sync = match health.verdict(&self.name) {
            _ if self.is_master() => Value::Bool(true),
            Verdict::Unknown => Value::Null,
            verdict => Value::Bool(verdict == Verdict::InSync),
        };
        json!({"name": self.name, "type": self.role, "version": self.version, "ip": self.ip, "in_sync": in_sync})
    }
}

/// Lists the named nodes, or all. The health is asked for the verdict only.
pub(super) fn show(client: &LocalClient, names: &[String], json: bool) -> Result<Output, Failure> {
    let items = ask(client, names)?;
    let (health, _) = Health::ask(client, names)?;
    let out = if json {
        report::document(&items.iter().map(|item| item.to_value(&health)).collect())
    } else {
        let rows: Vec<_> = items.iter().map(|item| [&*item.name, &*item.role, &*item.version, &*item.ip]).collect();
        table::draw(["NAME", "TYPE", "VERSION", "ADDRESS"], &rows)
    };
    let listed = items.iter().map(|item| (item.name.as_str(), item.is_master()));
    Ok(report::judged(out, &health, listed, names))
}

/// All nodes, however many requests it takes; nodes may come and go between these.
fn ask(client: &LocalClient, names: &[String]) -> Result<Vec<Item>, Failure> {
    let mut items: Vec<Item> = Vec::new();
    loop {
        let arguments = Arguments {
            filter_node: Some(names).filter(|names| !names.is_empty()),
            offset: items.len(),
            limit: PAGE,
            sort: None,
            search: None,
            select: None,
            filter_type: "all",
            distinct: false,
        };
        let answer = client.ask(Command::Nodes, text::text(&arguments).as_bytes())?;
        let mut page: Page =
            serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "get_nodes", source })?;
        let nothing_more = page.items.is_empty();
        items.append(&mut page.items);
        if nothing_more || items.len() >= page.total {
            return Ok(items);
        }
    }
}
