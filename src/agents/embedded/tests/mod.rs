//! What the database answers, what it gives out, and its bad days. The stock daemon's own cases are run through the
//! socket, in `tests/cluster/database.rs`.

mod answers;
mod bad_days;
mod thread;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Database, Embedded, Owner};
use crate::{
    agents::{AgentInfo, Backend, Error, Form, Store},
    config::NodeType,
    system::{
        clock::Clock,
        shutdown::{self, Trigger},
        thread::Group,
    },
};

struct Fixture {
    folder: TempDir,
    database: Database,
}

fn open(folder: &Path) -> Result<Database, String> {
    Database::open(&folder.join("global.db"), NodeType::Worker, Clock::real())
}

/// A new database with the group `default`.
fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path()).unwrap();
    let mut fixture = Fixture { folder, database };
    fixture.tell("global insert-agent-group default");
    fixture
}

impl Fixture {
    fn ask(&mut self, request: &str) -> String {
        String::from_utf8(self.database.answer(request).frames().concat()).unwrap()
    }

    #[track_caller]
    fn tell(&mut self, request: &str) {
        assert_eq!(self.ask(request), "ok", "{request}");
    }

    #[track_caller]
    fn rows(&mut self, request: &str) -> Value {
        let answer = self.ask(request);
        serde_json::from_str(answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{request}: {answer}"))).unwrap()
    }

    /// Agents 1 to `count`, pending, each with a label and in the group `default`.
    fn fill(&mut self, count: u32) {
        let numbers = format!("WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {count})");
        for sql in [
            "INSERT INTO agent (id, name, date_add, sync_status, version) {} SELECT id, 'agent' || id, 1, 'syncreq', 'v' FROM n",
            "INSERT INTO labels (id, key, value) {} SELECT id, 'key', 'value' || id FROM n",
            "INSERT INTO belongs (id_agent, id_group, priority) {} SELECT id, 1, 0 FROM n",
        ] {
            assert_eq!(self.ask(&format!("global sql {}", sql.replace("{}", &numbers))), "ok []");
        }
        self.tell("global recalculate-agent-group-hashes");
    }

    /// Asks until an answer is complete; `next` makes the request that follows a part. Gives the ids.
    fn parts(&mut self, first: &str, next: impl Fn(i64) -> String) -> Vec<i64> {
        let (mut ids, mut request) = (Vec::new(), first.to_owned());
        loop {
            let answer = self.ask(&request);
            assert!(answer.len() <= 65_536, "{}", answer.len());
            let (status, rows) = answer.split_once(' ').unwrap();
            let rows: Value = serde_json::from_str(rows).unwrap();
            let rows = if rows[0]["data"].is_array() { rows[0]["data"].clone() } else { rows };
            ids.extend(rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
            match status {
                "due" => request = next(*ids.last().unwrap()),
                _ => return ids,
            }
        }
    }
}

/// The embedded database with its thread.
fn embedded(folder: &Path) -> (Embedded, Group, Trigger) {
    let (trigger, order) = shutdown::channel();
    let (embedded, owner) = Embedded::new(folder.join("global.db"), NodeType::Worker, Clock::real(), order);
    let threads = Group::new(Owner::THREADS);
    owner.start(&threads).unwrap();
    (embedded, threads, trigger)
}
