//! `POST /v1/agents/sync`: stores what another node knows of its agents. Agents that do not exist here are left out.

use std::borrow::Cow;

use rusqlite::params;
use serde::Deserialize;

use crate::agents::embedded::{Database, agents::replace_labels, answer::Failure};

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    syncreq: Vec<Record<'a>>,
    #[serde(borrow, default)]
    syncreq_keepalive: Vec<Keepalive<'a>>,
    #[serde(borrow, default)]
    syncreq_status: Vec<Status<'a>>,
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
    labels: Vec<Label<'a>>,
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
    /// Stores an object; gives the number of agents that do not exist here.
    ///
    /// # Errors
    /// A text that says what is wrong with the object, then nothing is stored; or what the database refuses, then what
    /// stands before that is stored, as by the original.
    pub fn store(&self, object: &str) -> Result<usize, String> {
        let object: Object<'_> =
            serde_json::from_str(object).map_err(|error| format!("the agents' information is wrong: {error}"))?;
        self.transaction(|database| Ok(database.store_object(&object)?)).map_err(|failure: Failure| failure.to_string())
    }

    fn store_object(&self, object: &Object<'_>) -> rusqlite::Result<usize> {
        let mut unknown = 0;
        let mut update = self.connection.prepare_cached(
            "UPDATE agent SET os_name = ?2, os_version = ?3, os_major = ?4, os_minor = ?5, os_codename = ?6,
                 os_build = ?7, os_platform = ?8, os_uname = ?9, os_arch = ?10, version = ?11, config_sum = ?12,
                 merged_sum = ?13, manager_host = ?14, node_name = ?15, last_keepalive = ?16, connection_status = ?17,
                 disconnection_time = ?18, group_config_status = ?19, status_code = ?20, sync_status = 'synced'
             WHERE id = ?1 AND id > 0",
        )?;
        // These have indexes, which would be written even where nothing changes.
        let mut rename = self
            .connection
            .prepare_cached("UPDATE agent SET name = ?2, ip = ?3 WHERE id = ?1 AND (name IS NOT ?2 OR ip IS NOT ?3)")?;
        for record in &object.syncreq {
            let changed = update.execute(params![
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
                record.connection_status,
                record.disconnection_time,
                record.group_config_status,
                record.status_code,
            ])?;
            if changed == 0 {
                unknown += 1;
                continue;
            }
            rename.execute(params![record.id, record.name, record.ip])?;
            let labels = record.labels.iter().map(|label| (&*label.key, &*label.value));
            if let Err(error) = replace_labels(self, record.id, labels) {
                log::warn!(
                    target: "[Cluster] [Agent database]",
                    "A label of agent {:03} is left out: {}", record.id, super::super::answer::message(&error)
                );
            }
        }
        let mut update = self.connection.prepare_cached(
            "UPDATE agent SET last_keepalive = ?2, connection_status = 'active', disconnection_time = 0, status_code = 0,
                 version = ?3, sync_status = 'synced'
             WHERE id = ?1 AND id > 0",
        )?;
        for record in &object.syncreq_keepalive {
            unknown += usize::from(update.execute(params![record.id, self.now(), record.version])? == 0);
        }
        let mut update = self.connection.prepare_cached(
            "UPDATE agent SET connection_status = ?2, disconnection_time = ?3, status_code = ?4, version = ?5,
                 sync_status = 'synced'
             WHERE id = ?1 AND id > 0",
        )?;
        for Status { id, version, connection_status, disconnection_time, status_code } in &object.syncreq_status {
            let values = params![id, connection_status, disconnection_time, status_code, version];
            unknown += usize::from(update.execute(values)? == 0);
        }
        Ok(unknown)
    }
}
