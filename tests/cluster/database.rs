//! The cases of the original's own tests, through the socket (`tests/fixtures/vectors/wdb_global_cases.json`; those on
//! backups need what this daemon does not have).

use std::{fs, time::Duration};

use clusterd::system::clock::FakeClock;
use serde_json::{Value, json};

use crate::support::{Database, Node, SECOND, TestHome, advance_until, eventually};

/// A node whose database nobody else uses.
struct Fixture {
    node: Node,
    database: Database,
    hand: FakeClock,
}

impl Fixture {
    fn new() -> Self {
        let home = TestHome::new();
        for program in ["wazuh-modulesd", "wazuh-authd", "wazuh-remoted"] {
            home.write(&format!("bin/{program}"), "");
        }
        let (clock, hand) = FakeClock::new();
        let node = Node::master(home, &clock, json!({}));
        let mut database = Database::of(&node);
        database.tell("global insert-agent-group default");
        Self { node, database, hand }
    }

    fn set_up(&mut self, setup: &Value) {
        for group in setup["groups"].as_array().into_iter().flatten() {
            self.database.ask(&format!("global insert-agent-group {}", group.as_str().unwrap()));
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        for agent in setup["agents"].as_array().into_iter().flatten() {
            let id = &agent["id"];
            let name = agent["name"].as_str().map_or_else(|| format!("Agent-test{id}"), str::to_owned);
            self.database.tell(&format!("global insert-agent {}", json!({"id": id, "name": name, "date_add": now})));
            if agent["groups"].is_array() {
                let status = agent["group_sync_status"].as_str().unwrap_or("synced");
                let data = json!([{"id": id, "groups": agent["groups"]}]);
                let set = json!({"mode": "append", "sync_status": status, "data": data});
                self.database.tell(&format!("global set-agent-groups {set}"));
            }
        }
    }

    fn filled_in(&mut self, text: &str) -> String {
        if !text.contains("[GLOBAL_HASH]") {
            return text.to_owned();
        }
        let answer = self.database.rows(r#"global sync-agent-groups-get {"get_global_hash":true}"#);
        text.replace("[GLOBAL_HASH]", answer[0]["hash"].as_str().unwrap_or_default())
    }

    /// Gives what differs from the original.
    fn run(&mut self, case: &Value) -> Vec<String> {
        let mut different = Vec::new();
        for stage in case["stages"].as_array().unwrap() {
            if let Some(seconds) = stage["wait_before_seconds"].as_f64() {
                // The second in which the agents were made may not be over.
                self.hand.advance(Duration::from_secs_f64(seconds + 1.0));
            }
            let input = self.filled_in(stage["input"].as_str().unwrap());
            let expected = self.filled_in(stage["output"].as_str().unwrap());
            let answer = self.database.ask(&input);
            let same = if stage["regex"] == true { matches(&expected, &answer) } else { answer == expected };
            if !same {
                let place = format!("{} > {}", case["name"], stage["stage"]);
                different.push(format!("{place}\n  asked    {input}\n  expected {expected}\n  answer   {answer}"));
            }
        }
        let rows = case["final_agent_row"].is_object().then(|| vec![case["final_agent_row"].clone()]);
        for row in rows.or_else(|| case["final_agent_rows"].as_array().cloned()).into_iter().flatten() {
            let agent = self.database.agent(row["agent_id"].as_u64().unwrap() as u32);
            for (column, value) in row.as_object().unwrap() {
                if !matches!(column.as_str(), "agent_id" | "log_warning") && agent[column] != *value {
                    different.push(format!("{}: {column} is {}, not {value}", case["name"], agent[column]));
                }
            }
        }
        different
    }
}

/// `*` stands for any text; the pattern may be only the beginning, and brackets do not count.
fn matches(pattern: &str, text: &str) -> bool {
    let bare = |text: &str| text.replace(['[', ']', '(', ')'], "");
    let (pattern, text) = (bare(pattern), bare(text));
    let mut rest = text.as_str();
    pattern.split('*').enumerate().all(|(at, part)| match rest.find(part) {
        Some(found) if at > 0 || found == 0 => {
            rest = &rest[found + part.len()..];
            true
        }
        _ => false,
    })
}

fn cases(suite: &str) -> Vec<Value> {
    let text = fs::read_to_string("tests/fixtures/vectors/wdb_global_cases.json").unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    all.into_iter().filter(|case| case["suite"] == suite).collect()
}

#[test]
fn the_cases_in_sequence_are_answered_as_by_the_original() {
    let mut fixture = Fixture::new();
    // What the manager itself has told before.
    fixture.database.tell(
        r#"global update-agent-data {"id":0,"connection_status":"active","group_config_status":"synced","sync_status":"synced"}"#,
    );
    let cases = cases("global_messages");
    assert_eq!(cases.len(), 13);
    let different: Vec<String> = cases.iter().flat_map(|case| fixture.run(case)).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    fixture.node.stop();
}

#[test]
fn the_cases_on_groups_are_answered_as_by_the_original() {
    let (mut count, mut different) = (0, Vec::new());
    for suite in ["set_agent_groups", "sync_agent_groups_get", "get_groups_integrity"] {
        for case in cases(suite) {
            let mut fixture = Fixture::new();
            fixture.set_up(&case["setup"]);
            different.extend(fixture.run(&case));
            count += 1;
        }
    }
    assert_eq!(count, 62);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn a_stopped_node_leaves_one_file_that_another_daemon_can_open() {
    let mut fixture = Fixture::new();
    fixture.database.tell(r#"global insert-agent {"id":1,"name":"a","date_add":1}"#);
    let home = fixture.node.stop();
    let mut left: Vec<_> =
        fs::read_dir(home.path("queue/db")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["global.db"]);
    // Bytes 18 and 19 tell how it is written: 1 is the rollback journal, which every program knows.
    assert_eq!(home.read("queue/db/global.db").unwrap()[18..20], [1, 1]);
}

#[test]
fn a_file_that_cannot_be_used_is_told_and_stays_and_the_node_goes_on() {
    let home = TestHome::new();
    let rubbish = b"this is no database, but somebody may need it".repeat(100);
    home.write("queue/db/global.db", &rubbish);
    let (clock, _hand) = FakeClock::new();
    let master = Node::master(home, &clock, json!({}));
    let mut database = Database::of(&master);
    assert_eq!(database.ask("global get-agent-info 1"), "err Couldn't open DB global");
    let mut peer = crate::support::RawPeer::connect(master.port());
    assert_eq!(peer.hello("w1").0, "ok");
    assert_eq!(peer.ask("echo-c", b"keepalive").0, "ok-m");
    assert_eq!(peer.ask("get_nodes", b"{}").0, "ok");
    let (answer, text) = peer.ask("get_health", b"null");
    let health: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((answer.as_str(), &health["nodes"]["w1"]["info"]["n_active_agents"]), ("ok", &Value::Null), "{text}");
    let (answer, text) = peer.ask("get_agents", b"{}");
    assert!(answer == "err" && text.contains("2005") && text.contains("damaged"), "{text}");
    assert_eq!(master.home.read("queue/db/global.db").unwrap(), rubbish);
    // Somebody moves it away: a new one is made without a restart.
    fs::remove_file(master.home.path("queue/db/global.db")).unwrap();
    eventually("the database works", || database.ask("global get-agent-info 1") == "ok []");
}

#[test]
fn a_file_that_another_process_holds_loses_nothing_that_a_worker_sends() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/client.keys", "001 agent1 any k1\n");
    let master = Node::master(home, &clock, json!({}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    let (mut here, mut there) = (Database::of(&worker), Database::of(&master));
    advance_until(&hand, SECOND, "both know the agent", || {
        [&mut here, &mut there].into_iter().all(|database| database.agent(1) != Value::Null)
    });
    let other = rusqlite::Connection::open(master.home.path("queue/db/global.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    here.reports(1, "w1", "Wazuh v4.14.7");
    // The health would wait for the database, too.
    let workers = || master.as_master().registry.workers();
    let tried = || workers().iter().any(|worker| worker.agent_info.last().span.end.is_some());
    // In small steps: an agent that is silent for long is disconnected, and then only that is sent.
    advance_until(&hand, SECOND / 20, "the master has tried to store it", tried);
    eventually("it is to be sent again", || here.agent(1)["sync_status"] == "syncreq");
    assert_eq!(there.agent(1).get("os_name"), None, "reading goes on");
    other.execute_batch("COMMIT").unwrap();
    advance_until(&hand, SECOND / 20, "it has arrived", || there.agent(1)["os_name"] == "Ubuntu");
    worker.stop();
    master.stop();
}

#[test]
fn a_file_that_is_lost_is_made_anew_with_the_agents_of_the_keys() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/client.keys", "001 agent1 any k1\n002 agent2 any k2\n");
    home.write("etc/shared/web/agent.conf", "");
    let master = Node::master(home, &clock, json!({}));
    let mut database = Database::of(&master);
    advance_until(&hand, SECOND, "the agents are known", || database.agent(2)["name"] == "agent2");
    for file in ["global.db", "global.db-wal", "global.db-shm"] {
        fs::remove_file(master.home.path("queue/db").join(file)).unwrap();
    }
    let path = master.home.path("queue/db/global.db");
    advance_until(&hand, SECOND, "there is a new file", || path.exists());
    advance_until(&hand, SECOND, "the agents are known again", || database.agent(2)["name"] == "agent2");
    assert_eq!(database.rows("global find-group web").as_array().unwrap().len(), 1);
    master.stop();
}

#[test]
fn half_a_request_and_a_long_one_hinder_nobody() {
    use std::io::{Read, Write};
    let fixture = Fixture::new();
    let connect = || std::os::unix::net::UnixStream::connect(fixture.node.home.path("queue/db/wdb")).unwrap();
    let mut slow: Vec<_> = (0..20).map(|_| connect()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(b"\x20\0\0\0global ").unwrap());
    let mut long = connect();
    long.write_all(&65_537_u32.to_le_bytes()).unwrap();
    assert_eq!(long.read(&mut [0; 1]).unwrap(), 0, "it is closed without an answer");
    let mut other = Database::of(&fixture.node);
    for _ in 0..100 {
        assert_eq!(other.ask("global find-group nosuch"), "ok []");
    }
    slow[0].write_all(b"find-group nosuch        ").unwrap();
    let mut answer = [0; 9];
    slow[0].read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x05\0\0\0ok []");
    fixture.node.stop();
}
