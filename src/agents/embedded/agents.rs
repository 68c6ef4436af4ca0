//! Rows of agents: made, changed, removed, found (`spec/agentdb.md` 7.1 to 7.10).

use rusqlite::params;

use super::{
    Answer, Database,
    answer::{BoundedArray, Failure, LONGEST},
    arguments::{integer, json},
    groups, labels, rows,
    statements::{OK, execute, logged, select, sized},
};

/// The last keep-alive of the manager itself: it is always there.
const FOR_EVER: i64 = 253_402_300_799;

/// The new state of `sync_status` when `?2` is asked for: what must go to the master is never made less (7.4).
const PRECEDENCE: &str = "CASE
    WHEN sync_status = 'syncreq_status' AND ?2 = 'syncreq_keepalive' THEN sync_status
    WHEN sync_status = 'syncreq' AND ?2 IN ('syncreq_keepalive', 'syncreq_status') THEN sync_status
    ELSE ?2 END";

/// What is said of an argument that is not of the shape that its command wants.
fn shape(arguments: &str) -> impl Fn() -> Failure + '_ {
    || Failure::Shape(arguments.to_owned())
}

/// The columns of a row that is to be made.
pub(super) struct NewRow<'a> {
    pub(super) id: i64,
    pub(super) name: &'a str,
    pub(super) ip: Option<&'a str>,
    pub(super) register_ip: Option<&'a str>,
    pub(super) internal_key: Option<&'a str>,
    pub(super) date_add: i64,
    /// Names, joined by commas.
    pub(super) group: Option<&'a str>,
}

impl NewRow<'_> {
    pub(super) fn insert(&self, database: &Database) -> Result<Answer, Failure> {
        let Self { id, name, ip, register_ip, internal_key, date_add, group } = self;
        if group.is_some_and(|group| !group.is_empty() && !group.split(',').all(groups::is_valid_name)) {
            return Err(Failure::Text("Cannot execute Global database query; not an error".to_owned()));
        }
        // The hash of all assignments stays what it was: a row without groups has no part in it.
        execute(
            database,
            "INSERT INTO agent (id, name, ip, register_ip, internal_key, date_add, `group`)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![id, name, ip, register_ip, internal_key, date_add, group],
        )
    }
}

pub(super) fn insert(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agent = json(arguments)?;
    let required = (agent.number_of("id"), agent.text_of("name"), agent.number_of("date_add"));
    let (Some(id), Some(name), Some(date_add)) = required else { return Err(shape(arguments)()) };
    let text = |name| agent.text_of(name);
    let (ip, register_ip, internal_key, group) = (text("ip"), text("register_ip"), text("internal_key"), text("group"));
    NewRow { id, name, ip, register_ip, internal_key, date_add, group }.insert(database)
}

pub(super) fn update_name(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agent = json(arguments)?;
    let (Some(id), Some(name)) = (agent.number_of("id"), agent.text_of("name")) else { return Err(shape(arguments)()) };
    execute(database, "UPDATE agent SET name = ?2 WHERE id = ?1", params![id, name])
}

pub(super) fn update_data(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agent = json(arguments)?;
    let Some(id) = agent.number_of("id") else { return Err(shape(arguments)()) };
    let text = |name| agent.text_of(name);
    let keepalive = if id == 0 { FOR_EVER } else { database.now() };
    let sql = format!(
        "UPDATE agent SET sync_status = {PRECEDENCE}, last_keepalive = ?3, os_name = ?4, os_version = ?5, os_major = ?6,
             os_minor = ?7, os_codename = ?8, os_platform = ?9, os_build = ?10, os_uname = ?11, os_arch = ?12,
             version = ?13, config_sum = ?14, merged_sum = ?15, manager_host = ?16, node_name = ?17,
             connection_status = ?18, group_config_status = ?19, ip = coalesce(?20, ip)
         WHERE id = ?1"
    );
    database.connection.prepare_cached(&sql)?.execute(params![
        id,
        text("sync_status").unwrap_or("synced"),
        keepalive,
        text("os_name"),
        text("os_version"),
        text("os_major"),
        text("os_minor"),
        text("os_codename"),
        text("os_platform"),
        text("os_build"),
        text("os_uname"),
        text("os_arch"),
        text("version"),
        text("config_sum"),
        text("merged_sum"),
        text("manager_host"),
        text("node_name"),
        text("connection_status"),
        text("group_config_status"),
        text("agent_ip"),
    ])?;
    let lines = text("labels").unwrap_or_default().split('\n');
    labels::replace(database, id, lines.filter_map(|line| line.split_once(':')))?;
    Ok(OK)
}

pub(super) fn update_keepalive(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agent = json(arguments)?;
    let required = (agent.number_of("id"), agent.text_of("connection_status"), agent.text_of("sync_status"));
    let (Some(id), Some(status), Some(sync)) = required else { return Err(shape(arguments)()) };
    let sql = format!(
        "UPDATE agent SET sync_status = {PRECEDENCE}, last_keepalive = ?3, connection_status = ?4,
             disconnection_time = 0, status_code = 0
         WHERE id = ?1"
    );
    execute(database, &sql, params![id, sync, database.now(), status])
}

pub(super) fn update_connection_status(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agent = json(arguments)?;
    let texts = (agent.text_of("connection_status"), agent.text_of("sync_status"));
    let numbers = (agent.number_of("id"), agent.number_of("status_code"));
    let ((Some(status), Some(sync)), (Some(id), Some(code))) = (texts, numbers) else {
        return Err(shape(arguments)());
    };
    let disconnected = if status == "disconnected" { database.now() } else { 0 };
    let sql = format!(
        "UPDATE agent SET sync_status = {PRECEDENCE}, connection_status = ?3, disconnection_time = ?4, status_code = ?5
         WHERE id = ?1"
    );
    execute(database, &sql, params![id, sync, status, disconnected, code])
}

pub(super) fn update_status_code(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agent = json(arguments)?;
    let required = (agent.number_of("id"), agent.number_of("status_code"), agent.text_of("sync_status"));
    let (Some(id), Some(code), Some(sync)) = required else { return Err(shape(arguments)()) };
    let sql = format!("UPDATE agent SET sync_status = {PRECEDENCE}, status_code = ?3, version = ?4 WHERE id = ?1");
    execute(database, &sql, params![id, sync, code, agent.text_of("version")])
}

pub(super) fn delete(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    database.group_hash.take();
    let deleted = execute(database, "DELETE FROM agent WHERE id = ?1", params![integer(arguments)]);
    deleted.map_err(|_| Failure::Text("Error deleting agent from agent table in global.db.".to_owned()))
}

pub(super) fn name(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let sql = "SELECT name FROM agent WHERE id = ?1";
    select(database, sql, params![integer(arguments)], "Error getting agent name from global.db.")
}

pub(super) fn group(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let sql = "SELECT `group` FROM agent WHERE id = ?1";
    select(database, sql, params![integer(arguments)], "Error getting agent group from global.db.")
}

pub(super) fn find(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let agent = json(arguments)?;
    let (Some(name), Some(ip)) = (agent.text_of("name"), agent.text_of("ip")) else { return Err(shape(arguments)()) };
    let sql = "SELECT id FROM agent WHERE name = ?1 AND (register_ip = ?2 OR register_ip LIKE ?2 || '/%')";
    let rows = rows::array(database.connection.prepare_cached(sql)?.query(params![name, ip])?, LONGEST)?;
    Ok(Answer::Ok(rows))
}

pub(super) fn info(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let sql = "SELECT * FROM agent WHERE id = ?1";
    select(database, sql, params![integer(arguments)], "Error getting agent information from global.db.")
}

pub(super) fn all(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    const FAILED: &str = "Error getting agents from global.db.";
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let missing = |what: &str| Failure::Text(format!("Invalid arguments {what} not found"));
    match words.next() {
        Some("last_id") => {
            let last = integer(words.next().ok_or_else(|| missing("'last_id'"))?);
            sized(database, "SELECT id FROM agent WHERE id > ?1 ORDER BY id", params![last], FAILED)
        }
        Some("context") => {
            let sql = "SELECT id, version, name, ip FROM agent ORDER BY id";
            let collect = || -> rusqlite::Result<Answer> {
                let mut statement = database.connection.prepare_cached(sql)?;
                let (mut rows, mut texts) = (statement.query([])?, Vec::new());
                while let Some(row) = rows.next()? {
                    let mut text = String::new();
                    rows::push_row(&mut text, row)?;
                    texts.push(text);
                }
                Ok(Answer::Rows(texts))
            };
            collect().map_err(|error| logged(error, FAILED))
        }
        _ => Err(missing("'last_id' or 'context'")),
    }
}

pub(super) fn by_connection_status(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    const FAILED: &str = "Error getting agents by connection status from global.db.";
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let missing = |what: &str| Failure::Text(format!("Invalid arguments '{what}' not found"));
    let last = integer(words.next().ok_or_else(|| missing("last_id"))?);
    let status = words.next().ok_or_else(|| missing("connection_status"))?;
    let Some(node) = words.next() else {
        let sql = "SELECT id FROM agent WHERE id > ?1 AND connection_status = ?2 ORDER BY id";
        return sized(database, sql, params![last, status], FAILED);
    };
    let limit = integer(words.next().ok_or_else(|| missing("limit"))?);
    let sql = "SELECT id FROM agent WHERE id > ?1 AND connection_status = ?2 AND node_name = ?3 ORDER BY id LIMIT ?4";
    sized(database, sql, params![last, status, node, limit], FAILED)
}

pub(super) fn disconnect(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let missing = |what: &str| Failure::Text(format!("Invalid arguments {what} not found"));
    let last = integer(words.next().ok_or_else(|| missing("last id"))?);
    let keepalive = integer(words.next().ok_or_else(|| missing("keepalive"))?);
    let sync = words.next().ok_or_else(|| missing("sync_status"))?;
    let mut array = BoundedArray::new(2);
    let complete = disconnect_silent(database, last, keepalive, sync, |id| array.push(&format!(r#"{{"id":{id}}}"#)))
        .map_err(|error| logged(error, "Error getting agents to be disconnected from global.db."))?;
    Ok(if complete { Answer::Ok(array.finish()) } else { Answer::Due(array.finish()) })
}

/// Disconnects agents, in the order of their ids from after `last` on, whose last keep-alive is before `keepalive` in Unix
/// seconds, as long as `take` takes their ids; whether it took all of them.
pub(super) fn disconnect_silent(
    database: &Database,
    last: i64,
    keepalive: i64,
    sync: &str,
    mut take: impl FnMut(i64) -> bool,
) -> rusqlite::Result<bool> {
    let mut silent = database.connection.prepare_cached(
        "SELECT id FROM agent WHERE id > ?1 AND connection_status IN ('active', 'pending') AND last_keepalive < ?2
         ORDER BY id",
    )?;
    let (mut ids, mut complete) = (Vec::new(), true);
    let mut rows = silent.query(params![last, keepalive])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        complete = take(id);
        if !complete {
            break;
        }
        ids.push(id);
    }
    drop(rows);
    let mut update = database.connection.prepare_cached(
        "UPDATE agent SET connection_status = 'disconnected', disconnection_time = ?2, status_code = 4, sync_status = ?3
         WHERE id = ?1",
    )?;
    for id in ids {
        update.execute(params![id, database.now(), sync])?;
    }
    Ok(complete)
}

pub(super) fn reset_connection(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    execute(
        database,
        "UPDATE agent SET connection_status = 'disconnected', status_code = 5, sync_status = ?1, disconnection_time = ?2
         WHERE id <> 0 AND connection_status NOT IN ('disconnected', 'never_connected')",
        params![arguments.trim(), database.now()],
    )
}
