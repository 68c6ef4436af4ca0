//! Labels of agents (`spec/agentdb.md` 4.1, 7.3).

use rusqlite::params;

use super::{Answer, Database, answer::Failure, arguments::integer, statements::select};

/// `get-labels`.
pub(super) fn get(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let sql = "SELECT id, key, value FROM labels WHERE id = ?1";
    select(database, sql, params![integer(arguments)], "Error getting agent labels from global.db.")
}

/// A row of the table.
struct Label {
    row: i64,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Makes these the labels of an agent; what is unchanged is not written again.
///
/// # Errors
/// When there is no such agent, or a key comes twice: labels in front of it are written.
pub(super) fn replace<'a>(
    database: &Database,
    id: i64,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> rusqlite::Result<()> {
    let mut labels: Vec<_> = labels.collect();
    labels.sort_unstable();
    let mut before = of_agent(database, id)?.into_iter().peekable();
    let prepare = |sql| database.connection.prepare_cached(sql);
    let remove = |label: Label| prepare("DELETE FROM labels WHERE rowid = ?1")?.execute([label.row]);
    for (key, value) in labels {
        while let Some(gone) = before.next_if(|label| *label.key < *key.as_bytes()) {
            remove(gone)?;
        }
        match before.next_if(|label| label.key == key.as_bytes()) {
            Some(label) if label.value == value.as_bytes() => (),
            Some(label) => {
                prepare("UPDATE labels SET value = ?2 WHERE rowid = ?1")?.execute(params![label.row, value])?;
            }
            None => {
                prepare("INSERT INTO labels (id, key, value) VALUES (?1, ?2, ?3)")?.execute(params![id, key, value])?;
            }
        }
    }
    before.try_for_each(|gone| remove(gone).map(drop))
}

/// The labels of an agent in the order of their keys. SQLite would plan anew for each agent if it were to sort them.
fn of_agent(database: &Database, id: i64) -> rusqlite::Result<Vec<Label>> {
    let sql = "SELECT rowid, key, value FROM labels WHERE id = ?1";
    let label = |row: &rusqlite::Row<'_>| {
        let bytes = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_bytes()?.to_vec());
        Ok(Label { row: row.get(0)?, key: bytes(1)?, value: bytes(2)? })
    };
    let mut statement = database.connection.prepare_cached(sql)?;
    let mut labels: Vec<_> = statement.query_map([id], label)?.collect::<Result<_, _>>()?;
    labels.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::NodeType, system::clock::Clock};

    #[test]
    fn labels_become_those_that_are_wanted_whatever_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(&folder.path().join("global.db"), NodeType::Worker, Clock::real()).unwrap();
        database.answer(r#"global insert-agent {"id":1,"name":"a","date_add":1}"#);
        for wanted in ["c=1 a=1", "a=1 b=2 c=1", "b=3", "b=3", "a=0 z=9", "", "ä=1 a=2 B=3"] {
            let labels = || wanted.split_whitespace().filter_map(|label| label.split_once('='));
            replace(&database, 1, labels()).unwrap();
            let mut expected: Vec<_> = labels().map(|(key, value)| (key.into(), value.into())).collect();
            expected.sort();
            let stored: Vec<(Vec<u8>, Vec<u8>)> =
                of_agent(&database, 1).unwrap().into_iter().map(|label| (label.key, label.value)).collect();
            assert_eq!(stored, expected, "{wanted}");
        }
        let before = database.connection.total_changes();
        replace(&database, 1, [("B", "3"), ("a", "2"), ("ä", "1")].into_iter()).unwrap();
        assert_eq!(database.connection.total_changes(), before, "nothing is written");
        let twice = replace(&database, 1, [("a", "2"), ("a", "3")].into_iter());
        assert!(twice.unwrap_err().to_string().contains("UNIQUE constraint failed: labels.id, labels.key"));
        assert!(replace(&database, 9, [("a", "2")].into_iter()).unwrap_err().to_string().contains("FOREIGN KEY"));
    }
}
