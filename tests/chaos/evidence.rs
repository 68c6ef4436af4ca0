//! What a node has on its disk: files, keys, rows of its database, and what it has left behind.

use std::{collections::BTreeMap, fs, path::Path};

use rusqlite::{Connection, OpenFlags};

use crate::content;

/// Directories with synchronised files.
const ITEMS: [&str; 5] = ["etc/rules", "etc/decoders", "etc/lists", "etc/shared", "var/multigroups"];

/// Path and generation of every synchronised file.
pub fn files(home: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    ITEMS.iter().for_each(|item| walk(home, item, &mut found));
    found
}

fn walk(home: &Path, directory: &str, found: &mut BTreeMap<String, u64>) {
    for entry in fs::read_dir(home.join(directory)).into_iter().flatten().flatten() {
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(home, &path, found);
        } else if let Ok(content) = fs::read(entry.path()) {
            // The recorder says what is not whole.
            found.insert(path, content::generation(&content).unwrap_or(u64::MAX));
        }
    }
}

/// Name, key, groups and version by id.
pub type Rows = BTreeMap<u32, (String, Option<String>, Option<String>, Option<String>)>;

/// What the database of a node has of the agents.
pub fn rows(home: &Path) -> rusqlite::Result<Rows> {
    let database = Connection::open_with_flags(home.join("queue/db/global.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement =
        database.prepare("SELECT id, name, internal_key, `group`, version FROM agent WHERE id > 0 ORDER BY id")?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    statement.query_map([], row)?.collect()
}

/// Name and key of each agent in client.keys.
pub fn keys(home: &Path) -> BTreeMap<u32, (String, String)> {
    let keys = fs::read_to_string(home.join("etc/client.keys")).unwrap_or_default();
    let agent = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [id, name, _, key] if !name.starts_with('!') => Some((id.parse().ok()?, (name.to_owned(), key.to_owned()))),
        _ => None,
    };
    keys.lines().filter_map(agent).collect()
}

/// What is in the work directories and beside the synchronised files and does not belong there.
pub fn leftover(home: &Path) -> Option<String> {
    let mut names = Vec::new();
    for directory in ["queue", "etc", "var"] {
        list(home, directory, &mut names);
    }
    names.into_iter().find(|name| {
        let received = name.starts_with("queue/cluster/") && !name.ends_with("/c-internal.sock");
        received || name.ends_with(".tmp") || name.contains("/.")
    })
}

fn list(home: &Path, directory: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(home.join(directory)).into_iter().flatten().flatten() {
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { list(home, &path, names) } else { names.push(path) }
    }
}
