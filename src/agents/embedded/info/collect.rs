//! `GET /v1/agents/sync`: what the master must know, as one object; what is given out counts as sent.

use std::fmt::Write;

use rusqlite::{CachedStatement, Row};

use crate::agents::{
    Pending,
    embedded::{Database, answer::Failure, changes::Changed, rows},
};

/// The columns of a whole record in the order in which they travel.
const RECORD: &str = "SELECT id, name, ip, os_name, os_version, os_major, os_minor, os_codename, os_build, os_platform,
    os_uname, os_arch, version, config_sum, merged_sum, manager_host, node_name, last_keepalive, connection_status,
    disconnection_time, group_config_status, status_code FROM agent WHERE id = ?1";
const KEEPALIVE: &str = "SELECT id, version FROM agent WHERE id = ?1";
const STATUS: &str = "SELECT id, version, connection_status, disconnection_time, status_code FROM agent WHERE id = ?1";

/// Numbers are always told.
const NUMBERS: [&str; 4] = ["id", "last_keepalive", "disconnection_time", "status_code"];

/// The lists of the object and what belongs into them.
const LISTS: [(&str, &str); 3] = [("syncreq", RECORD), ("syncreq_keepalive", KEEPALIVE), ("syncreq_status", STATUS)];

impl Database {
    /// Takes at most `limit` records of what the master must know. Looks at rows that have changed, and at all of them
    /// the first time only.
    ///
    /// # Errors
    /// When the database cannot be read or written; nothing counts as sent then.
    pub fn take_pending(&self, limit: usize) -> Result<Pending, String> {
        self.whole(|database| Ok(database.collect(limit)?)).map_err(|failure: Failure| failure.to_string())
    }

    fn collect(&self, limit: usize) -> rusqlite::Result<Pending> {
        let Wanted { now: wanted, later } = self.wanted(limit)?;
        let mut object = "{".to_owned();
        let mut labels = self.connection.prepare_cached("SELECT key, value FROM labels WHERE id = ?1 ORDER BY key")?;
        let mut sent = self.connection.prepare_cached("UPDATE agent SET sync_status = 'synced' WHERE id = ?1")?;
        for (list, (name, record)) in LISTS.iter().enumerate() {
            let mut statement = self.connection.prepare_cached(record)?;
            let mut first = true;
            for &(id, _) in wanted.iter().filter(|(_, of)| *of == list) {
                if std::mem::take(&mut first) {
                    let comma = if object.len() > 1 { "," } else { "" };
                    let _ = write!(object, "{comma}\"{name}\":[");
                } else {
                    object.push(',');
                }
                statement.query_row([id], |row| push_record(&mut object, row))?;
                if list == 0 {
                    push_labels(&mut object, &mut labels, id)?;
                }
                object.push('}');
                sent.execute([id])?;
            }
            if !first {
                object.push(']');
            }
        }
        object.push('}');
        let more = !later.is_empty();
        self.info.replace(later);
        Ok(Pending { object, more })
    }

    fn wanted(&self, limit: usize) -> rusqlite::Result<Wanted> {
        let mut wanted = Wanted::default();
        match self.info.take() {
            Changed::All => {
                let sql = "SELECT id, sync_status FROM agent WHERE id > 0 AND sync_status <> 'synced' ORDER BY id";
                let mut statement = self.connection.prepare_cached(sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    wanted.add(row.get(0)?, row.get_ref(1)?.as_str()?, limit);
                }
            }
            Changed::Rows(ids) => {
                let mut statement =
                    self.connection.prepare_cached("SELECT sync_status FROM agent WHERE id = ?1 AND id > 0")?;
                for id in ids {
                    // It may have been removed since.
                    let mut rows = statement.query([id])?;
                    if let Some(row) = rows.next()? {
                        wanted.add(id, row.get_ref(0)?.as_str()?, limit);
                    }
                }
            }
        }
        Ok(wanted)
    }
}

/// Agents that the master is to be told of.
#[derive(Default)]
struct Wanted {
    /// With the list that each belongs to.
    now: Vec<(i64, usize)>,
    /// There is no room for them now.
    later: Vec<i64>,
}

impl Wanted {
    fn add(&mut self, id: i64, status: &str, limit: usize) {
        match LISTS.iter().position(|(name, _)| *name == status) {
            Some(list) if self.now.len() < limit => self.now.push((id, list)),
            Some(_) => self.later.push(id),
            None => (),
        }
    }
}

/// Appends the members of a record without the brace that ends it. What says nothing is left out.
fn push_record(out: &mut String, row: &Row<'_>) -> rusqlite::Result<()> {
    let statement = row.as_ref();
    out.push('{');
    for column in 0..statement.column_count() {
        let name = statement.column_name(column)?;
        let value = row.get_ref(column)?;
        let number = NUMBERS.contains(&name);
        if !number && matches!(value.as_str_or_null()?, None | Some("" | " ")) {
            continue;
        }
        if column > 0 {
            out.push(',');
        }
        let _ = write!(out, "\"{name}\":");
        match value.as_i64_or_null() {
            Ok(value) if number => {
                let _ = write!(out, "{}", value.unwrap_or_default());
            }
            _ => rows::push_value(out, value),
        }
    }
    Ok(())
}

fn push_labels(out: &mut String, labels: &mut CachedStatement<'_>, id: i64) -> rusqlite::Result<()> {
    let mut rows = labels.query([id])?;
    let mut first = true;
    while let Some(row) = rows.next()? {
        out.push_str(if std::mem::take(&mut first) { r#","labels":[{"key":"# } else { r#",{"key":"# });
        rows::push_value(out, row.get_ref(0)?);
        out.push_str(r#","value":"#);
        rows::push_value(out, row.get_ref(1)?);
        out.push('}');
    }
    if !first {
        out.push(']');
    }
    Ok(())
}
