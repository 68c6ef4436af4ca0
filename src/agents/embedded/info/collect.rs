//! `GET /v1/agents/sync`: what the master must know, as one object; what is given out counts as sent.

use std::fmt::Write;

use rusqlite::{CachedStatement, Row, types::ValueRef};

use super::{NUMBERS, RECORD};
use crate::agents::{
    TakenInfo,
    embedded::{Database, answer::Failure, changes::Changed, rows},
};

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
    /// Gives what the master must know, until the object has `longest` bytes. Looks at rows that have changed, and at all
    /// of them the first time only. [`Database::mark_told`] is to follow before anything else.
    ///
    /// # Errors
    /// When the database cannot be read; nothing counts as sent then.
    pub(in crate::agents::embedded) fn take_info(&self, longest: usize) -> Result<TakenInfo, Failure> {
        let read = || {
            let reading = self.connection.unchecked_transaction()?;
            let collected = self.collect(longest)?;
            reading.commit()?;
            Ok(collected)
        };
        let (taken, told) = read().inspect_err(|_: &rusqlite::Error| self.info.reset())?;
        self.told.replace(told);
        Ok(taken)
    }

    /// Makes what was given out count as sent: once whoever asked has it, because writing takes as long as reading. If it
    /// fails, that is sent twice.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(in crate::agents::embedded) fn mark_told(&self) -> Result<(), Failure> {
        let told = self.told.take();
        if told.is_empty() {
            return Ok(());
        }
        self.whole(|database| Ok(super::mark_sent(database, &told)?))?;
        // That has changed them again, and they have nothing more to tell.
        self.info.strike(&told);
        Ok(())
    }

    /// What the master must know, and the agents that this is about.
    fn collect(&self, longest: usize) -> rusqlite::Result<(TakenInfo, Vec<i64>)> {
        let members = LISTS.map(|(_, names)| names.iter().copied().map(member).collect::<Vec<_>>());
        let mut lists = LISTS.map(|_| String::new());
        let sql = format!("SELECT {}, sync_status FROM agent WHERE id = ?1 AND id > 0", RECORD.join(", "));
        let mut record = self.connection.prepare_cached(&sql)?;
        let mut labels = self.connection.prepare_cached("SELECT key, value FROM labels WHERE id = ?1")?;
        let (mut ids, mut told) = (self.changed()?.into_iter(), Vec::new());
        while lists.iter().map(String::len).sum::<usize>() < longest
            && let Some(id) = ids.next()
        {
            let mut rows = record.query([id])?;
            // It may have been removed since, or need not be told.
            let Some(row) = rows.next()? else { continue };
            let status = row.get_ref(RECORD.len())?.as_str()?;
            let Some(list) = LISTS.iter().position(|(name, _)| *name == status) else { continue };
            let out = &mut lists[list];
            if out.is_empty() {
                // The first list is long; the others are appended to it.
                out.push_str(if list == 0 { "{" } else { "" });
                // Writing to memory cannot fail.
                let _ = write!(out, "\"{status}\":[");
            } else {
                out.push(',');
            }
            push_record(out, row, &members[list])?;
            if list == 0 {
                push_labels(out, &mut labels, id)?;
            }
            out.push('}');
            told.push(id);
        }
        let later: Vec<i64> = ids.collect();
        let more = !later.is_empty();
        self.info.replace(later);
        Ok((TakenInfo { info: join(lists), more }, told))
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

/// The object of these lists, of which the first has its brace.
fn join([mut object, others @ ..]: [String; 3]) -> String {
    object.push(if object.is_empty() { '{' } else { ']' });
    for list in others.iter().filter(|list| !list.is_empty()) {
        object.push_str(if object.len() > 1 { "," } else { "" });
        object.push_str(list);
        object.push(']');
    }
    object.push('}');
    object
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
