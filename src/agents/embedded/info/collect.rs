//! `GET /v1/agents/sync`: what the master must know, as one object; what is given out counts as sent.

use std::fmt::Write;

use rusqlite::{CachedStatement, Row, types::ValueRef};

use crate::agents::{
    Pending,
    embedded::{Database, answer::Failure, changes::Changed, rows},
};

/// The columns of a whole record in the order in which they travel.
const RECORD: [&str; 22] = [
    "id",
    "name",
    "ip",
    "os_name",
    "os_version",
    "os_major",
    "os_minor",
    "os_codename",
    "os_build",
    "os_platform",
    "os_uname",
    "os_arch",
    "version",
    "config_sum",
    "merged_sum",
    "manager_host",
    "node_name",
    "last_keepalive",
    "connection_status",
    "disconnection_time",
    "group_config_status",
    "status_code",
];

/// Those of them that are numbers: these are always told.
const NUMBERS: [&str; 4] = ["id", "last_keepalive", "disconnection_time", "status_code"];

/// The lists of the object, which are the states of `sync_status` too, and what their records tell.
const LISTS: [(&str, &[&str]); 3] = [
    ("syncreq", &RECORD),
    ("syncreq_keepalive", &["id", "version"]),
    ("syncreq_status", &["id", "version", "connection_status", "disconnection_time", "status_code"]),
];

/// Where a member stands in a row, and how it is told.
struct Member {
    column: usize,
    name: &'static str,
    is_number: bool,
}

impl Database {
    /// Takes what the master must know, until the object has `longest` bytes. Looks at rows that have changed, and at all
    /// of them the first time only.
    ///
    /// # Errors
    /// When the database cannot be read or written; nothing counts as sent then.
    pub(in crate::agents::embedded) fn take_pending(&self, longest: usize) -> Result<Pending, Failure> {
        self.whole(|database| Ok(database.collect(longest)?))
    }

    fn collect(&self, longest: usize) -> rusqlite::Result<Pending> {
        let members = LISTS.map(|(_, names)| names.iter().copied().map(member).collect::<Vec<_>>());
        let mut lists = LISTS.map(|_| String::new());
        let sql = format!("SELECT {}, sync_status FROM agent WHERE id = ?1 AND id > 0", RECORD.join(", "));
        let mut record = self.connection.prepare_cached(&sql)?;
        let mut labels = self.connection.prepare_cached("SELECT key, value FROM labels WHERE id = ?1")?;
        let (mut ids, mut sent) = (self.changed()?.into_iter(), Vec::new());
        while lists.iter().map(String::len).sum::<usize>() < longest
            && let Some(id) = ids.next()
        {
            let mut rows = record.query([id])?;
            // It may have been removed since, or need not be told.
            let Some(row) = rows.next()? else { continue };
            let status = row.get_ref(RECORD.len())?.as_str()?;
            let Some(list) = LISTS.iter().position(|(name, _)| *name == status) else { continue };
            let out = &mut lists[list];
            out.push(if out.is_empty() { '[' } else { ',' });
            push_record(out, row, &members[list])?;
            if list == 0 {
                push_labels(out, &mut labels, id)?;
            }
            out.push('}');
            sent.push(id);
        }
        super::mark_sent(self, &sent)?;
        let later: Vec<i64> = ids.collect();
        let more = !later.is_empty();
        self.info.replace(later);
        let told = LISTS.iter().zip(&lists).filter(|(_, list)| !list.is_empty());
        let told: Vec<_> = told.map(|((name, _), list)| format!("\"{name}\":{list}]")).collect();
        Ok(Pending { object: format!("{{{}}}", told.join(",")), more })
    }

    /// Agents that may have something to tell.
    fn changed(&self) -> rusqlite::Result<Vec<i64>> {
        match self.info.take() {
            Changed::Rows(ids) => Ok(ids),
            Changed::All => {
                let sql = "SELECT id FROM agent WHERE id > 0 AND sync_status <> 'synced' ORDER BY id";
                self.connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
            }
        }
    }
}

fn member(name: &'static str) -> Member {
    let column = RECORD.iter().position(|column| *column == name).unwrap_or_default();
    Member { column, name, is_number: NUMBERS.contains(&name) }
}

/// Appends a record without the brace that ends it. What says nothing is left out.
fn push_record(out: &mut String, row: &Row<'_>, members: &[Member]) -> rusqlite::Result<()> {
    let mut separator = '{';
    for Member { column, name, is_number } in members {
        let value = match row.get_ref(*column)? {
            ValueRef::Null if *is_number => ValueRef::Integer(0),
            ValueRef::Null | ValueRef::Text(b"" | b" ") => continue,
            value => value,
        };
        // Writing to memory cannot fail.
        let _ = write!(out, "{separator}\"{name}\":");
        rows::push_value(out, value);
        separator = ',';
    }
    Ok(())
}

fn push_labels(out: &mut String, labels: &mut CachedStatement<'_>, id: i64) -> rusqlite::Result<()> {
    let mut rows = labels.query([id])?;
    let mut before = r#","labels":[{"key":"#;
    let mut any = false;
    while let Some(row) = rows.next()? {
        out.push_str(std::mem::replace(&mut before, r#",{"key":"#));
        rows::push_value(out, row.get_ref(0)?);
        out.push_str(r#","value":"#);
        rows::push_value(out, row.get_ref(1)?);
        out.push('}');
        any = true;
    }
    if any {
        out.push(']');
    }
    Ok(())
}
