//! What the master must know of the agents of a node: taken on the one, stored on the other (`spec/agentdb.md` 9).

use std::fmt::Write;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Error, Store, TakenInfo,
    store::{PARTS, parse},
};
use crate::system::at_most::AtMost;

/// Bytes of the texts of one message to the master, or a little more. What is left follows at once.
const TEXTS: usize = 16 * 1024 * 1024;

/// Agents that one statement names; it must stay well below the longest request.
const NAMED: usize = 4_000;

/// What a database says of agents that it does not know; the stock daemon ignores it too (`spec/protocol.md` 11.2).
const UNKNOWN_AGENT: &str = "Cannot execute Global database query; FOREIGN KEY constraint failed";

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

impl Store {
    /// Takes what the master must know of the agents of this node; it counts as sent. None if there is nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub fn take_info(&self, form: Form) -> Result<Option<AgentInfo>, Error> {
        match form {
            Form::Object => {
                let TakenInfo { info, more } = self.0.take_info()?;
                let count = parse::<Lists<IgnoredAny>>(&info)?.count();
                Ok((count > 0).then_some(AgentInfo { chunks: info, count, more }))
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
            match self.0.store_info(chunks) {
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
}

/// The texts of a message that is a list of them.
///
/// # Errors
/// When it is none, or has more than any node sends.
pub fn texts(chunks: &str) -> Result<Vec<String>, serde_json::Error> {
    serde_json::from_str::<AtMost<String, PARTS>>(chunks).map(|list| list.0)
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
