//! The cases of the original's own tests (`tests/fixtures/vectors/wdb_global_cases.json`), and the bad days of a file.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use super::Database;
use crate::{
    config::NodeType,
    system::clock::{Clock, FakeClock},
};

struct Fixture {
    #[expect(dead_code, reason = "it goes with the test")]
    folder: TempDir,
    database: Database,
    hand: FakeClock,
}

fn open(folder: &Path, role: NodeType, clock: Clock) -> Result<Database, String> {
    Database::open(&folder.join("global.db"), role, clock)
}

/// A new database with the group `default`.
fn fixture(role: NodeType) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = FakeClock::new();
    let database = open(folder.path(), role, clock).unwrap();
    let mut fixture = Fixture { folder, database, hand };
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

    fn agent(&mut self, id: i64) -> Value {
        let answer = self.ask(&format!("global get-agent-info {id}"));
        serde_json::from_str::<Value>(answer.strip_prefix("ok ").unwrap()).unwrap()[0].clone()
    }

    fn set_up(&mut self, case: &Value) {
        for group in case["setup"]["groups"].as_array().into_iter().flatten() {
            self.ask(&format!("global insert-agent-group {}", group.as_str().unwrap()));
        }
        for agent in case["setup"]["agents"].as_array().into_iter().flatten() {
            let id = agent["id"].as_i64().unwrap();
            let name = agent["name"].as_str().map_or_else(|| format!("Agent-test{id}"), str::to_owned);
            let now = self.database.now();
            self.tell(&format!(r#"global insert-agent {{"id":{id},"name":"{name}","date_add":{now}}}"#));
            if agent["groups"].is_array() {
                let status = agent["group_sync_status"].as_str().unwrap_or("synced");
                let groups = &agent["groups"];
                self.tell(&format!(
                    r#"global set-agent-groups {{"mode":"append","sync_status":"{status}","data":[{{"id":{id},"groups":{groups}}}]}}"#
                ));
            }
        }
    }

    fn global_hash(&mut self) -> String {
        let answer = self.ask(r#"global sync-agent-groups-get {"get_global_hash":true}"#);
        let json: Value = serde_json::from_str(&answer[3..]).unwrap();
        json[0]["hash"].as_str().unwrap_or_default().to_owned()
    }

    fn run(&mut self, case: &Value) -> Vec<String> {
        let mut failed = Vec::new();
        for stage in case["stages"].as_array().unwrap() {
            if let Some(seconds) = stage["wait_before_seconds"].as_f64() {
                self.hand.advance(Duration::from_secs_f64(seconds));
            }
            let input = stage["input"].as_str().unwrap();
            let input = if input.contains("[GLOBAL_HASH]") {
                input.replace("[GLOBAL_HASH]", &self.global_hash())
            } else {
                input.to_owned()
            };
            let output = stage["output"].as_str().unwrap();
            let output = if output.contains("[GLOBAL_HASH]") {
                output.replace("[GLOBAL_HASH]", &self.global_hash())
            } else {
                output.to_owned()
            };
            let answer = self.ask(&input);
            let good = if stage["regex"] == true { matches(&output, &answer) } else { answer == output };
            if !good {
                failed.push(format!(
                    "{} > {}\n  asked    {input}\n  expected {output}\n  got      {answer}",
                    case["name"], stage["stage"]
                ));
            }
        }
        let rows = case["final_agent_row"].is_object().then(|| vec![case["final_agent_row"].clone()]);
        let rows = rows.or_else(|| case["final_agent_rows"].as_array().cloned());
        for expected in rows.into_iter().flatten() {
            let agent = self.agent(expected["agent_id"].as_i64().unwrap());
            for (column, value) in expected.as_object().unwrap() {
                if !matches!(column.as_str(), "agent_id" | "log_warning") && agent[column] != *value {
                    failed.push(format!("{}: {column} is {}, not {value}", case["name"], agent[column]));
                }
            }
        }
        failed
    }
}

/// `*` stands for any text; the pattern may be only the beginning, and brackets do not count.
fn matches(pattern: &str, text: &str) -> bool {
    let bare = |text: &str| text.replace(['[', ']', '(', ')'], "");
    let (pattern, text) = (bare(pattern), bare(text));
    let mut rest = text.as_str();
    for (at, part) in pattern.split('*').enumerate() {
        match rest.find(part) {
            Some(found) if at > 0 || found == 0 => rest = &rest[found + part.len()..],
            _ => return false,
        }
    }
    true
}

fn cases(suite: &str) -> Vec<Value> {
    let text = fs::read_to_string("tests/fixtures/vectors/wdb_global_cases.json").unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    all.into_iter().filter(|case| case["suite"] == suite).collect()
}

#[test]
fn the_cases_in_sequence_are_answered_as_by_the_original() {
    let mut fixture = fixture(NodeType::Master);
    // What the manager itself has told before.
    fixture.tell(
        r#"global update-agent-data {"id":0,"connection_status":"active","group_config_status":"synced","sync_status":"synced"}"#,
    );
    let cases = cases("global_messages");
    assert_eq!(cases.len(), 13);
    let failed: Vec<String> = cases.iter().flat_map(|case| fixture.run(case)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_cases_on_groups_are_answered_as_by_the_original() {
    let mut count = 0;
    let mut failed = Vec::new();
    for suite in ["set_agent_groups", "sync_agent_groups_get", "get_groups_integrity"] {
        for case in cases(suite) {
            let mut fixture = fixture(NodeType::Master);
            fixture.set_up(&case);
            failed.extend(fixture.run(&case));
            count += 1;
        }
    }
    assert_eq!(count, 62);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
