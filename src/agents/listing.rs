//! Lists of agents, and how many of them are active, in plain SQL that every backend understands.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Error, Store};

/// The states of the connection of an agent.
pub const STATUSES: [&str; 4] = ["active", "disconnected", "never_connected", "pending"];

/// Agents of one question to the database; its answer must fit into a frame.
const PAGE: usize = 200;

/// An answer of this length was cut.
const CUT: usize = 65_536 - "ok ".len();

/// Which agents are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Nodes that they report to; any if there is none.
    pub nodes: Vec<String>,
    /// Some of [`STATUSES`]; any if there is none.
    pub statuses: Vec<String>,
}

/// An agent as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// 0 is the manager itself.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its address, or that of its registration.
    #[serde(default)]
    pub ip: String,
    /// One of [`STATUSES`].
    pub status: String,
    /// `Wazuh v4.14.7`; empty before it has connected.
    #[serde(default)]
    pub version: String,
    /// The node that it reports to.
    #[serde(default)]
    pub node_name: String,
}

impl Store {
    /// At most `limit` agents whose numbers are greater than `after`, in the order of their numbers.
    ///
    /// # Errors
    /// [`Error`].
    pub fn agents(&self, filter: &Filter, after: i64, limit: usize) -> Result<Vec<Agent>, Error> {
        let (mut agents, mut after, mut page): (Vec<Agent>, _, _) = (Vec::new(), after, PAGE);
        while agents.len() < limit {
            let count = page.min(limit - agents.len());
            let rows = self.query(&question(filter, after, count))?;
            if rows.len() >= CUT && page > 1 {
                page /= 2;
                continue;
            }
            let found: Vec<Agent> = parse(&rows)?;
            let complete = found.len() < count;
            after = found.last().map_or(after, |agent| agent.id);
            agents.extend(found);
            if complete {
                break;
            }
        }
        Ok(agents)
    }

    /// How many agents are active, by the name of the node that they report to. The manager itself does not count.
    ///
    /// # Errors
    /// [`Error`].
    pub fn active_agents(&self) -> Result<HashMap<String, u64>, Error> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(default)]
            node_name: String,
            active: u64,
        }
        let rows = self.query(
            "global sql SELECT node_name, count(*) AS active FROM agent WHERE id > 0 AND connection_status = 'active' \
             GROUP BY node_name",
        )?;
        Ok(parse::<Vec<Row>>(&rows)?.into_iter().map(|row| (row.node_name, row.active)).collect())
    }
}

fn question(filter: &Filter, after: i64, limit: usize) -> String {
    let among = |column: &str, values: &[String]| {
        let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
        if values.is_empty() { String::new() } else { format!(" AND {column} IN ({})", values.join(",")) }
    };
    format!(
        "global sql SELECT id, name, coalesce(ip, register_ip) AS ip, connection_status AS status, version, node_name \
         FROM agent WHERE id > {after}{}{} ORDER BY id LIMIT {limit}",
        among("node_name", &filter.nodes),
        among("connection_status", &filter.statuses)
    )
}

/// A text as SQL spells it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn parse<'a, T: Deserialize<'a>>(rows: &'a str) -> Result<T, Error> {
    serde_json::from_str(rows).map_err(|error| Error::Unavailable(format!("its answer is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agents::embedded::Embedded,
        config::NodeType,
        system::{clock::Clock, shutdown, thread::Group},
    };

    #[test]
    fn lists_are_paged_and_filtered_whatever_the_names_are() {
        let folder = tempfile::tempdir().unwrap();
        let (_trigger, order) = shutdown::channel();
        let path = folder.path().join("global.db");
        let threads = Group::new(2);
        let (database, owner) = Embedded::new(path, NodeType::Master, Clock::real(), order);
        owner.start(&threads).unwrap();
        let store = Store::new(database);
        let fill = "INSERT INTO agent (id, name, date_add, register_ip, node_name, connection_status, version)
            WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 1000)
            SELECT id, 'agent' || id || replace(hex(zeroblob(60 * (id % 7))), '0', 'x'), 1, 'any',
                CASE WHEN id % 2 THEN 'o''brien' ELSE 'w2' END,
                CASE WHEN id % 4 THEN 'active' ELSE 'disconnected' END, 'v' FROM n";
        store.query(&format!("global sql {}", fill.replace('\n', " "))).unwrap();
        let all = store.agents(&Filter::default(), -1, 5000).unwrap();
        assert_eq!(all.len(), 1001);
        assert!(all.iter().map(|agent| agent.id).eq(0..=1000));
        assert_eq!((all[0].name.as_str(), all[0].ip.as_str(), all[0].version.as_str()), ("localhost", "127.0.0.1", ""));
        assert_eq!(all[1].ip, "any");
        let some = store.agents(&Filter::default(), 10, 3).unwrap();
        assert!(some.iter().map(|agent| agent.id).eq(11..=13));
        let filter = Filter { nodes: vec!["o'brien".to_owned()], statuses: vec!["active".to_owned()] };
        assert_eq!(store.agents(&filter, -1, 5000).unwrap().len(), 500);
        let attack = Filter { nodes: vec!["x') OR 1=1 --".to_owned()], ..Filter::default() };
        assert!(store.agents(&attack, -1, 5000).unwrap().is_empty());
        let active = store.active_agents().unwrap();
        assert_eq!((active["o'brien"], active["w2"]), (500, 250));
    }
}
