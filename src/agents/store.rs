//! What the rooms of the cluster ask of the agent database, in the commands that every backend understands.

use std::{borrow::Cow, collections::BTreeSet, fmt::Write, sync::Arc};

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Backend, Error, Pending, Reply, is_group_name};
use crate::wire::{AtMost, MESSAGE_LIMIT};

/// Parts of one answer, or texts of one message. A database that never comes to an end is not to hold a thread for ever.
const PARTS: usize = 100_000;

/// Bytes of the texts of one message to the master, or a little more. What is left follows at once.
const TEXTS: usize = 16 * 1024 * 1024;

/// Agents that one statement names; it must stay well below the longest request.
const NAMED: usize = 4_000;

/// Groups that one answer names: with the longest names they fit.
const GROUPS: usize = 200;

/// The agent database of this node, as the rooms of the cluster use it. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<dyn Backend>);

/// Which form agent information has on the wire (`spec/protocol.md` 11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A list of texts, until 4.12.
    Texts,
    /// One object, from 4.13 on.
    Object,
}

/// Agent information on its way to the master.
#[derive(Debug, PartialEq, Eq)]
pub struct AgentInfo {
    /// The member `chunks` of the message, JSON.
    pub chunks: String,
    /// Its number of chunks: texts, or members of the object.
    pub count: usize,
    /// Whether there is more to take at once.
    pub more: bool,
}

/// What became of agent information that was stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Chunks that were taken.
    pub chunks: usize,
    /// All that there were.
    pub of: usize,
    /// Agents that do not exist here, if the database tells.
    pub unknown: Option<usize>,
    /// Texts of the database about chunks that it refused.
    pub errors: Vec<String>,
    /// Why the database could not be asked.
    pub unavailable: Option<String>,
}

/// Assignments of agents to groups, as the database wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Answers of the database; the last has the hash, if that was asked for.
    pub chunks: Vec<String>,
    /// Whether they name any agent.
    pub agents: bool,
}

impl Store {
    /// A store on this database.
    pub fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    /// Sends one command and gives the whole answer; for commands that never answer with a part.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn query(&self, request: &str) -> Result<String, Error> {
        match self.0.query(request)? {
            Reply::Ok(text) | Reply::Due(text) => Ok(text),
        }
    }

    /// Sends one command of somebody else, as it stands.
    ///
    /// # Errors
    /// [`Error`].
    pub fn command(&self, request: &str) -> Result<Reply, Error> {
        self.0.command(request)
    }

    /// Sends commands until an answer is complete; `next` makes the one that follows a part.
    fn parts(&self, first: &str, next: impl FnMut(&str) -> String) -> Result<Vec<String>, Error> {
        match self.parts_so_far(first, next, MESSAGE_LIMIT) {
            (parts, Ok(true)) => Ok(parts),
            (_, Ok(false)) => Err(Error::Refused(format!("the agent database gives no end of '{first}'"))),
            (_, Err(error)) => Err(error),
        }
    }

    /// The parts that came until they have `longest` bytes, and whether that is all.
    fn parts_so_far(
        &self,
        first: &str,
        mut next: impl FnMut(&str) -> String,
        longest: usize,
    ) -> (Vec<String>, Result<bool, Error>) {
        let (mut parts, mut request, mut bytes) = (Vec::new(), first.to_owned(), 0);
        while parts.len() < PARTS && bytes < longest {
            match self.0.query(&request) {
                Ok(Reply::Ok(part)) => {
                    parts.push(part);
                    return (parts, Ok(true));
                }
                Ok(Reply::Due(part)) => {
                    request = next(&part);
                    bytes += part.len();
                    parts.push(part);
                }
                Err(error) => return (parts, Err(error)),
            }
        }
        (parts, Ok(false))
    }

    /// Takes what the master must know of the agents of this node; it counts as sent. None if there is nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub fn take_info(&self, form: Form) -> Result<Option<AgentInfo>, Error> {
        match form {
            Form::Object => {
                let Pending { object, more } = self.0.take_pending()?;
                let count = parse::<Lists<IgnoredAny>>(&object)?.count();
                Ok((count > 0).then_some(AgentInfo { chunks: object, count, more }))
            }
            Form::Texts => {
                let request = "global sync-agent-info-get {}";
                let (mut parts, complete) = self.parts_so_far(request, |_| request.to_owned(), TEXTS);
                parts.retain(|part| part != "[]");
                if parts.is_empty() {
                    return complete.map(|_| None);
                }
                // What came counts as sent already, so it is sent; the next turn shows whether an error stays.
                let more = complete == Ok(false);
                let chunks = serde_json::to_string(&parts).unwrap_or_default();
                Ok(Some(AgentInfo { chunks, count: parts.len(), more }))
            }
        }
    }

    /// Marks what was taken for sending again: it has not arrived.
    ///
    /// # Errors
    /// [`Error`].
    pub fn put_back(&self, info: &AgentInfo) -> Result<(), Error> {
        // What has changed since then may need less, and never more, than what was taken.
        let again = |ids: &[i64], status: &str, weaker: &str| -> Result<(), Error> {
            for ids in ids.chunks(NAMED) {
                let mut named = String::new();
                for id in ids {
                    let _ = write!(named, ",{id}");
                }
                let named = named.trim_start_matches(',');
                let set = format!("UPDATE agent SET sync_status = '{status}' WHERE id IN ({named})");
                self.query(&format!("global sql {set} AND sync_status IN ({weaker})"))?;
            }
            Ok(())
        };
        let lists = info.ids()?;
        again(&lists.syncreq, "syncreq", "'synced','syncreq_keepalive','syncreq_status'")?;
        again(&lists.syncreq_status, "syncreq_status", "'synced','syncreq_keepalive'")?;
        again(&lists.syncreq_keepalive, "syncreq_keepalive", "'synced'")
    }

    /// Marks all that is known of the agents of this node for sending: some of it may have been taken and lost.
    ///
    /// # Errors
    /// [`Error`].
    pub fn put_back_all(&self, node: &str) -> Result<(), Error> {
        let of = node.replace('\'', "''");
        let request = format!(
            "global sql UPDATE agent SET sync_status = 'syncreq' WHERE id > 0 AND node_name = '{of}' AND sync_status <> 'syncreq'"
        );
        self.query(&request).map(drop)
    }

    /// Stores agent information of another node, the member `chunks` of its message in either form.
    ///
    /// # Errors
    /// A text that says what is wrong with `chunks`; the other node is at fault.
    pub fn store_info(&self, chunks: &str) -> Result<Stored, String> {
        if chunks.starts_with('{') {
            let of = parse::<Lists<IgnoredAny>>(chunks).map_err(|error| error.to_string())?.count();
            let mut stored = Stored { of, ..Stored::default() };
            match self.0.store(chunks) {
                Ok(unknown) => (stored.chunks, stored.unknown) = (of, unknown),
                Err(Error::Refused(text)) => stored.errors.push(text),
                Err(Error::Unavailable(text)) => stored.unavailable = Some(text),
            }
            return Ok(stored);
        }
        let texts = texts(chunks).map_err(|error| error.to_string())?;
        let mut stored = Stored { of: texts.len(), ..Stored::default() };
        for text in texts {
            match self.0.query(&format!("global sync-agent-info-set {text}")) {
                Ok(_) => stored.chunks += 1,
                Err(Error::Refused(text)) if text.contains(UNKNOWN_AGENT) => (),
                Err(Error::Refused(text)) => stored.errors.push(text),
                Err(Error::Unavailable(text)) => {
                    stored.unavailable = Some(text);
                    break;
                }
            }
        }
        Ok(stored)
    }

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

/// The texts of a message that is a list of them.
///
/// # Errors
/// When it is none, or has more than any node sends.
pub fn texts(chunks: &str) -> Result<Vec<String>, serde_json::Error> {
    serde_json::from_str::<AtMost<String, PARTS>>(chunks).map(|list| list.0)
}

/// What a database says of agents that it does not know; the original ignores it too (`spec/protocol.md` 11.2).
const UNKNOWN_AGENT: &str = "Cannot execute Global database query; FOREIGN KEY constraint failed";

/// The hash that a chunk has: none if it says nothing of it, and in it none if it says that there are no assignments.
///
/// # Errors
/// [`Error::Refused`] when it is no chunk.
pub fn hash_of(chunk: &str) -> Result<Option<Option<String>>, Error> {
    let [GroupChunk { hash, .. }] = parse(chunk)?;
    Ok(hash)
}

impl AgentInfo {
    fn ids(&self) -> Result<Ids, Error> {
        if self.chunks.starts_with('{') {
            return Ok(parse::<Lists<Id>>(&self.chunks)?.ids());
        }
        // Which of the three kinds a record of the old form was is not told; a whole record is never wrong.
        let mut ids = Ids::default();
        for text in parse::<Vec<String>>(&self.chunks)? {
            ids.syncreq.extend(parse::<Vec<Id>>(&text)?.into_iter().map(|Id { id }| id));
        }
        Ok(ids)
    }
}

#[derive(Debug, Default)]
struct Ids {
    syncreq: Vec<i64>,
    syncreq_keepalive: Vec<i64>,
    syncreq_status: Vec<i64>,
}

#[derive(Deserialize)]
struct Id {
    id: i64,
}

/// The three lists of `spec/agentdb.md` 9.1. A list that is not there is no chunk.
#[derive(Deserialize)]
struct Lists<T> {
    syncreq: Option<Vec<T>>,
    syncreq_keepalive: Option<Vec<T>>,
    syncreq_status: Option<Vec<T>>,
}

impl<T> Lists<T> {
    fn count(&self) -> usize {
        [&self.syncreq, &self.syncreq_keepalive, &self.syncreq_status].into_iter().flatten().count()
    }
}

impl Lists<Id> {
    fn ids(self) -> Ids {
        let ids = |list: Option<Vec<Id>>| list.into_iter().flatten().map(|Id { id }| id).collect();
        Ids {
            syncreq: ids(self.syncreq),
            syncreq_keepalive: ids(self.syncreq_keepalive),
            syncreq_status: ids(self.syncreq_status),
        }
    }
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

pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::Refused(format!("what was to be stored or read is wrong: {error}")))
}

/// Leaves out what says nothing, as the original does.
fn groups(mut chunks: Vec<String>) -> Result<Groups, Error> {
    chunks.retain(|chunk| !matches!(&**chunk, "[]" | r#"[{"data":[]}]"#));
    let agents = chunks.iter().any(|chunk| !chunk.starts_with(r#"[{"data":[]"#));
    Ok(Groups { chunks, agents })
}

/// The id of the last agent of a chunk; without one nothing follows.
fn last_agent(chunk: &str) -> i64 {
    let data = |[GroupChunk { data, .. }]: [GroupChunk<'_>; 1]| -> Option<i64> {
        serde_json::from_str::<Vec<Id>>(data.get()).ok()?.last().map(|Id { id }| *id)
    };
    parse(chunk).ok().and_then(data).unwrap_or(i64::from(i32::MAX))
}
