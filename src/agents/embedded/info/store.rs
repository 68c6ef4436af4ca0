//! `POST /v1/agents/sync`: stores what another node knows of its agents. Agents that do not exist here are left out.

use std::borrow::Cow;

use rusqlite::{CachedStatement, ToSql, params};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    agents::embedded::{Database, answer::Failure, fault::message, labels},
    logging::warn,
    system::at_most::AtMost,
};

/// Records of one list: more agents than any cluster has. Everybody else waits while they are stored.
const MOST: usize = 1_000_000;

/// Labels of one agent: as many as a program can bring with one request.
const LABELS: usize = 16_384;

/// Records are read one by one: each takes much more memory than its text may.
type List<'a> = AtMost<&'a RawValue, MOST>;

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    syncreq: List<'a>,
    #[serde(borrow, default)]
    syncreq_keepalive: List<'a>,
    #[serde(borrow, default)]
    syncreq_status: List<'a>,
}

/// What is missing becomes an empty text or 0.
#[derive(Deserialize)]
struct Record<'a> {
    id: i64,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    ip: Cow<'a, str>,
    #[serde(borrow, default)]
    os_name: Cow<'a, str>,
    #[serde(borrow, default)]
    os_version: Cow<'a, str>,
    #[serde(borrow, default)]
    os_major: Cow<'a, str>,
    #[serde(borrow, default)]
    os_minor: Cow<'a, str>,
    #[serde(borrow, default)]
    os_codename: Cow<'a, str>,
    #[serde(borrow, default)]
    os_build: Cow<'a, str>,
    #[serde(borrow, default)]
    os_platform: Cow<'a, str>,
    #[serde(borrow, default)]
    os_uname: Cow<'a, str>,
    #[serde(borrow, default)]
    os_arch: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    config_sum: Cow<'a, str>,
    #[serde(borrow, default)]
    merged_sum: Cow<'a, str>,
    #[serde(borrow, default)]
    manager_host: Cow<'a, str>,
    #[serde(borrow, default)]
    node_name: Cow<'a, str>,
    #[serde(default)]
    last_keepalive: i64,
    #[serde(borrow, default)]
    connection_status: Cow<'a, str>,
    #[serde(default)]
    disconnection_time: i64,
    #[serde(borrow, default)]
    group_config_status: Cow<'a, str>,
    #[serde(default)]
    status_code: i64,
    #[serde(borrow, default)]
    labels: AtMost<Label<'a>, LABELS>,
}

#[derive(Deserialize)]
struct Label<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Keepalive<'a> {
    id: i64,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Status<'a> {
    id: i64,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    connection_status: Cow<'a, str>,
    #[serde(default)]
    disconnection_time: i64,
    #[serde(default)]
    status_code: i64,
}

impl Database {
    /// Stores what another node has taken; gives the number of agents that do not exist here.
    ///
    /// # Errors
    /// What is wrong with the object, or why the file cannot be written. What stands before that is stored, as by the
    /// stock daemon.
    pub(in crate::agents::embedded) fn store_info(&self, info: &str) -> Result<usize, Failure> {
        let object: Object<'_> = read(info)?;
        let work = |database: &Self| {
            let mut unknown = 0;
            let mut records = Records::new(database)?;
            for text in object.syncreq.0 {
                unknown += usize::from(!records.whole(&read(text.get())?)?);
            }
            for text in object.syncreq_keepalive.0 {
                unknown += usize::from(!records.keepalive(&read(text.get())?)?);
            }
            for text in object.syncreq_status.0 {
                unknown += usize::from(!records.status(&read(text.get())?)?);
            }
            Ok(unknown)
        };
        self.transaction(work)
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Text(format!("the agents' information is wrong: {error}")))
}

/// Stores records; each function tells whether there is such an agent.
///
/// Names and addresses have indexes, states have checks, and SQLite would see to them even where nothing changes. So each
/// record is first written as if these were the same, which they nearly always are.
struct Records<'d> {
    database: &'d Database,
    whole: [CachedStatement<'d>; 2],
    keepalive: [CachedStatement<'d>; 2],
    status: CachedStatement<'d>,
}

impl<'d> Records<'d> {
    fn new(database: &'d Database) -> rusqlite::Result<Self> {
        const WHOLE: &str = "UPDATE agent SET os_name = ?2, os_version = ?3, os_major = ?4, os_minor = ?5,
            os_codename = ?6, os_build = ?7, os_platform = ?8, os_uname = ?9, os_arch = ?10, version = ?11,
            config_sum = ?12, merged_sum = ?13, manager_host = ?14, node_name = ?15, last_keepalive = ?16,
            disconnection_time = ?17, status_code = ?18";
        const KEEPALIVE: &str =
            "UPDATE agent SET last_keepalive = ?2, version = ?3, disconnection_time = 0, status_code = 0";
        let prepare = |sql: String| database.connection.prepare_cached(&sql);
        Ok(Self {
            database,
            whole: [
                // The plus keeps SQLite from considering the indexes, and thereby from planning each execution anew.
                prepare(format!(
                    "{WHOLE} WHERE id = ?1 AND id > 0 AND sync_status = 'synced' AND connection_status = ?19
                     AND group_config_status = ?20 AND +name IS ?21 AND +ip IS ?22"
                ))?,
                prepare(format!(
                    "{WHOLE}, sync_status = 'synced', connection_status = ?19, group_config_status = ?20, name = ?21, ip = ?22
                     WHERE id = ?1 AND id > 0"
                ))?,
            ],
            keepalive: [
                prepare(format!(
                    "{KEEPALIVE} WHERE id = ?1 AND id > 0 AND sync_status = 'synced' AND connection_status = 'active'"
                ))?,
                prepare(format!(
                    "{KEEPALIVE}, sync_status = 'synced', connection_status = 'active' WHERE id = ?1 AND id > 0"
                ))?,
            ],
            status: database.connection.prepare_cached(
                "UPDATE agent SET connection_status = ?2, disconnection_time = ?3, status_code = ?4, version = ?5,
                     sync_status = 'synced'
                 WHERE id = ?1 AND id > 0",
            )?,
        })
    }

    fn whole(&mut self, record: &Record<'_>) -> rusqlite::Result<bool> {
        let values = params![
            record.id,
            record.os_name,
            record.os_version,
            record.os_major,
            record.os_minor,
            record.os_codename,
            record.os_build,
            record.os_platform,
            record.os_uname,
            record.os_arch,
            record.version,
            record.config_sum,
            record.merged_sum,
            record.manager_host,
            record.node_name,
            record.last_keepalive,
            record.disconnection_time,
            record.status_code,
            record.connection_status,
            record.group_config_status,
            record.name,
            record.ip,
        ];
        if !first_that_fits(&mut self.whole, values)? {
            return Ok(false);
        }
        let labels = record.labels.0.iter().map(|label| (&*label.key, &*label.value));
        if let Err(error) = labels::replace(self.database, record.id, labels) {
            warn!("[Cluster] [Agent database]", "A label of agent {:03} is left out: {}", record.id, message(&error));
        }
        Ok(true)
    }

    fn keepalive(&mut self, Keepalive { id, version }: &Keepalive<'_>) -> rusqlite::Result<bool> {
        first_that_fits(&mut self.keepalive, params![id, self.database.now(), version])
    }

    fn status(&mut self, record: &Status<'_>) -> rusqlite::Result<bool> {
        let Status { id, version, connection_status, disconnection_time, status_code } = record;
        Ok(self.status.execute(params![id, connection_status, disconnection_time, status_code, version])? > 0)
    }
}

/// Executes one statement after the other until one has found its row; whether one has.
fn first_that_fits(statements: &mut [CachedStatement<'_>], values: &[&dyn ToSql]) -> rusqlite::Result<bool> {
    for statement in statements {
        if statement.execute(values)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
