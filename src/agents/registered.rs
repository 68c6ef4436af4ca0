//! What a registrar tells the agent database, and asks it (`spec/registration.md` 4, 6).

use serde::Deserialize;
use serde_json::json;

use super::{Error, Store, is_group_name, store::parse};

/// What decides whether an agent may be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its connection status, such as `never_connected`.
    pub status: String,
    /// Unix seconds; 0 if it is not disconnected.
    pub disconnection_time: i64,
    /// When it was registered, in Unix seconds.
    pub date_add: i64,
}

/// A new agent.
#[derive(Clone, Debug)]
pub struct NewAgent<'a> {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: &'a str,
    /// `any`, or its address without a prefix.
    pub ip: &'a str,
    /// Its key.
    pub key: &'a str,
    /// When it was registered, in Unix seconds.
    pub date_add: i64,
    /// The names of its groups, joined by commas; empty if it asked for none.
    pub groups: &'a str,
}

impl NewAgent<'_> {
    /// The command that makes its row.
    pub(super) fn command(&self) -> String {
        let Self { id, name, ip, key, date_add, groups } = self;
        let mut row = json!({"id": id, "name": name, "register_ip": ip, "internal_key": key, "date_add": date_add});
        if !groups.is_empty() {
            row["group"] = (*groups).into();
        }
        format!("global insert-agent {row}")
    }
}

/// What becomes of groups that an agent has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// They go: they are those of another agent.
    Replace,
    /// They stay: somebody has assigned them since.
    Keep,
}

#[derive(Deserialize)]
struct Row {
    name: Option<String>,
    connection_status: Option<String>,
    disconnection_time: Option<i64>,
    date_add: Option<i64>,
    internal_key: Option<String>,
}

impl Store {
    /// What is known of an agent; none if it is not known, or not all of that.
    ///
    /// # Errors
    /// [`Error`].
    pub fn registered(&self, id: u32) -> Result<Option<Registered>, Error> {
        let row = self.row(id)?;
        Ok(row.and_then(|Row { connection_status, disconnection_time, date_add, .. }| {
            Some(Registered {
                status: connection_status?,
                disconnection_time: disconnection_time?,
                date_add: date_add?,
            })
        }))
    }

    fn row(&self, id: u32) -> Result<Option<Row>, Error> {
        let rows: Vec<Row> = parse(&self.query(&format!("global get-agent-info {id}"))?)?;
        Ok(rows.into_iter().next())
    }

    /// Makes a row for an agent that has got this key. A row that another agent has left under its number goes first; one
    /// that is this agent's own already stays as it is.
    ///
    /// # Errors
    /// [`Error`].
    pub fn insert(&self, agent: &NewAgent<'_>) -> Result<(), Error> {
        let refused = match self.0.insert(agent) {
            Err(Error::Refused(text)) => text,
            done => return done,
        };
        let is_own =
            |row: &Row| row.name.as_deref() == Some(agent.name) && row.internal_key.as_deref() == Some(agent.key);
        match self.row(agent.id)? {
            Some(row) if is_own(&row) => Ok(()),
            Some(_) => {
                self.remove(agent.id)?;
                self.0.insert(agent)
            }
            None => Err(Error::Refused(refused)),
        }
    }

    /// Puts an agent into groups, names joined by commas; the workers are to hear of it.
    ///
    /// # Errors
    /// [`Error`]; refused if one of the groups does not exist, then the agent belongs to the others.
    pub fn assign(&self, id: u32, groups: &str, before: Before) -> Result<(), Error> {
        let mode = match before {
            Before::Replace => "override",
            Before::Keep => "empty_only",
        };
        let groups: Vec<&str> = groups.split(',').collect();
        let request = json!({"mode": mode, "sync_status": "syncreq", "data": [{"id": id, "groups": groups}]});
        self.query(&format!("global set-agent-groups {request}")).map(drop)
    }

    /// The groups of an agent, or those of its registration, joined by commas; empty if it has none. None if there is no
    /// such agent.
    ///
    /// # Errors
    /// [`Error`].
    pub fn groups_of(&self, id: u32) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Groups {
            group: Option<String>,
        }
        let rows: Vec<Groups> = parse(&self.query(&format!("global select-agent-group {id}"))?)?;
        Ok(rows.into_iter().next().map(|row| row.group.unwrap_or_default()))
    }

    /// Whether there is a group of this name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn has_group(&self, name: &str) -> Result<bool, Error> {
        Ok(is_group_name(name) && self.query(&format!("global find-group {name}"))? != "[]")
    }

    /// The groups, joined by commas, that have this hash; none if no agent belongs to just those.
    ///
    /// # Errors
    /// [`Error`].
    pub fn groups_of_hash(&self, hash: &str) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Groups {
            names: Option<String>,
        }
        if !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let request = format!("global sql SELECT `group` AS names FROM agent WHERE group_hash = '{hash}' LIMIT 1");
        let rows: Vec<Groups> = parse(&self.query(&request)?)?;
        Ok(rows.into_iter().next().and_then(|row| row.names))
    }

    /// Removes the row of an agent, and the database that belongs to it alone, if there is one.
    ///
    /// # Errors
    /// [`Error`].
    pub fn remove(&self, id: u32) -> Result<(), Error> {
        self.query(&format!("global delete-agent {id}"))?;
        self.query(&format!("wazuhdb remove {id}")).map(drop)
    }
}
