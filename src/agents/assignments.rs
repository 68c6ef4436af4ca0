//! Which groups agents belong to: what the master gives out and the workers take (`spec/agentdb.md` 5).

use std::{borrow::Cow, collections::BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Error, Store, is_group_name, store::parse};

/// Groups that one answer names: with the longest names they fit.
const GROUPS: usize = 200;

/// Assignments of agents to groups, as the database wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Answers of the database; the last has the hash, if that was asked for.
    pub chunks: Vec<String>,
    /// Whether they name any agent.
    pub agents: bool,
}

impl Store {
    /// Takes the assignments to groups that the workers do not know yet, and the hash of all assignments. What is taken
    /// counts as sent.
    ///
    /// # Errors
    /// [`Error`].
    pub fn take_group_changes(&self) -> Result<Groups, Error> {
        let request =
            r#"global sync-agent-groups-get {"condition":"sync_status","set_synced":true,"get_global_hash":true}"#;
        groups(self.parts(request, |_| request.to_owned())?)
    }

    /// All assignments to groups, with the hash of all of them if it is wanted.
    ///
    /// # Errors
    /// [`Error`].
    pub fn all_groups(&self, with_hash: bool) -> Result<Groups, Error> {
        let request = |last: i64| {
            format!(
                r#"global sync-agent-groups-get {{"condition":"all","set_synced":false,"get_global_hash":{with_hash},"last_id":{last}}}"#
            )
        };
        let parts = self.parts(&request(0), |part| request(last_agent(part)))?;
        groups(parts)
    }

    /// Makes a chunk of the master's assignments those of this node.
    ///
    /// # Errors
    /// [`Error`].
    pub fn set_groups(&self, chunk: &str) -> Result<(), Error> {
        let [GroupChunk { data, .. }] = parse(chunk)?;
        let request =
            format!(r#"global set-agent-groups {{"mode":"override","sync_status":"synced","data":{}}}"#, data.get());
        self.query(&request).map(drop)
    }

    /// The groups that the assignments of a chunk name.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no chunk.
    pub fn groups_named(chunk: &str) -> Result<BTreeSet<Cow<'_, str>>, Error> {
        #[derive(Deserialize)]
        struct Element<'a> {
            #[serde(borrow, default)]
            groups: Vec<Name<'a>>,
        }
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let [GroupChunk { data, .. }] = parse(chunk)?;
        let elements: Vec<Element<'_>> = parse(data.get())?;
        Ok(elements.into_iter().flat_map(|element| element.groups).map(|Name(name)| name).collect())
    }

    /// The names of all groups, in order.
    ///
    /// # Errors
    /// [`Error`].
    pub fn group_names(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Row {
            name: String,
        }
        let mut names: Vec<String> = Vec::new();
        loop {
            // Names are made of letters that need no care in SQL.
            let last = names.last().filter(|name| is_group_name(name)).map_or("", |name| name);
            let request =
                format!("global sql SELECT name FROM `group` WHERE name > '{last}' ORDER BY name LIMIT {GROUPS}");
            let rows: Vec<Row> = parse(&self.query(&request)?)?;
            let complete = rows.len() < GROUPS;
            names.extend(rows.into_iter().map(|row| row.name));
            if complete {
                names.retain(|name| is_group_name(name));
                return Ok(names);
            }
        }
    }

    /// The hash of all assignments to groups; none if there are none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn groups_hash(&self) -> Result<Option<String>, Error> {
        hash_of(&self.query(r#"global sync-agent-groups-get {"get_global_hash":true}"#)?).map(Option::flatten)
    }

    /// Makes every agent's group hash anew from its groups.
    ///
    /// # Errors
    /// [`Error`].
    pub fn recalculate_group_hashes(&self) -> Result<(), Error> {
        self.query("global recalculate-agent-group-hashes").map(drop)
    }
}

/// The hash that a chunk has: none if it says nothing of it, and in it none if it says that there are no assignments.
///
/// # Errors
/// [`Error::Refused`] when it is no chunk.
pub fn hash_of(chunk: &str) -> Result<Option<Option<String>>, Error> {
    let [GroupChunk { hash, .. }] = parse(chunk)?;
    Ok(hash)
}

#[derive(Deserialize)]
struct GroupChunk<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default, deserialize_with = "present")]
    hash: Option<Option<String>>,
}

/// A member that is there, be it `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Leaves out what says nothing, as the stock daemon does.
fn groups(mut chunks: Vec<String>) -> Result<Groups, Error> {
    chunks.retain(|chunk| !matches!(&**chunk, "[]" | r#"[{"data":[]}]"#));
    let agents = chunks.iter().any(|chunk| !chunk.starts_with(r#"[{"data":[]"#));
    Ok(Groups { chunks, agents })
}

#[derive(Deserialize)]
struct Agent {
    id: i64,
}

/// The id of the last agent of a chunk; without one nothing follows.
fn last_agent(chunk: &str) -> i64 {
    let data = |[GroupChunk { data, .. }]: [GroupChunk<'_>; 1]| -> Option<i64> {
        serde_json::from_str::<Vec<Agent>>(data.get()).ok()?.last().map(|agent| agent.id)
    };
    parse(chunk).ok().and_then(data).unwrap_or(i64::from(i32::MAX))
}
