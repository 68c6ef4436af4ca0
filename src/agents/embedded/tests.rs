//! Long answers, the states of an agent, and the bad days of a file. The original's own cases are run through the socket,
//! in `tests/cluster/database.rs`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Database, Embedded};
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

#[test]
fn long_lists_come_in_parts_that_fit_a_frame_and_nothing_is_lost_between_them() {
    let mut fixture = fixture();
    fixture.fill(6000);
    let all: Vec<i64> = (1..=6000).collect();
    let next = |last: i64| format!("global get-all-agents last_id {last}");
    assert_eq!(fixture.parts(&next(0), next), all);
    let next = |last: i64| format!(r#"global sync-agent-groups-get {{"condition":"all","last_id":{last}}}"#);
    assert_eq!(fixture.parts(&next(0), next), all);
    let ask = || "global sync-agent-info-get {}".to_owned();
    assert_eq!(fixture.parts(&ask(), |_| ask()), all);
    assert_eq!(fixture.ask(&ask()), "ok []", "what was given out counts as sent");
    // Answers to plain SQL are cut at exactly the longest frame.
    assert_eq!(fixture.ask("global sql SELECT * FROM agent").len(), 65_536);
    fixture.ask("global sql UPDATE agent SET group_sync_status = 'syncreq' WHERE id > 0");
    let ask = || r#"global sync-agent-groups-get {"condition":"sync_status","set_synced":true}"#.to_owned();
    assert_eq!(fixture.parts(&ask(), |_| ask()), all);
    assert_eq!(fixture.ask(&ask()), r#"ok [{"data":[]}]"#);
    // One that fits nowhere does not hold up the others.
    fixture.ask("global sql UPDATE agent SET name = replace(hex(zeroblob(40000)), '0', 'x'), group_sync_status = 'syncreq', sync_status = 'syncreq' WHERE id = 8");
    fixture
        .ask("global sql UPDATE agent SET group_sync_status = 'syncreq', sync_status = 'syncreq' WHERE id IN (6, 9)");
    assert_eq!(fixture.parts(&ask(), |_| ask()), [6, 9]);
    let texts = || "global sync-agent-info-get {}".to_owned();
    assert_eq!(fixture.parts(&texts(), |_| texts()), [6, 9]);
    fixture.ask("global sql UPDATE agent SET name = 'a' WHERE id = 8");
    assert_eq!(fixture.parts(&ask(), |_| ask()), [8]);
    // One more is found without looking at the others.
    fixture.tell(r#"global set-agent-groups {"mode":"override","sync_status":"syncreq","data":[{"id":7,"name":"a","groups":["default"]}]}"#);
    assert_eq!(fixture.parts(&ask(), |_| ask()), [7]);
}

#[test]
fn what_must_go_to_the_master_is_never_made_less() {
    let states = ["synced", "syncreq_keepalive", "syncreq_status", "syncreq"];
    let mut fixture = fixture();
    fixture.tell(r#"global insert-agent {"id":1,"name":"a","date_add":1}"#);
    for (strength, before) in states.iter().enumerate() {
        for (wanted, asked) in states.iter().enumerate() {
            fixture.ask(&format!("global sql UPDATE agent SET sync_status = '{before}' WHERE id = 1"));
            fixture.tell(&format!(
                r#"global update-keepalive {{"id":1,"connection_status":"active","sync_status":"{asked}"}}"#
            ));
            let after = fixture.rows("global sql SELECT sync_status FROM agent WHERE id = 1");
            let expected = if wanted == 0 { "synced" } else { states[wanted.max(strength)] };
            assert_eq!(after[0]["sync_status"], expected, "{before} and {asked}");
        }
    }
    let answer = fixture.ask(r#"global update-keepalive {"id":1,"connection_status":"gone","sync_status":"synced"}"#);
    assert!(
        answer.starts_with("err Cannot execute Global database query; CHECK constraint failed: connection_status IN"),
        "{answer}"
    );
}

#[test]
fn agent_information_comes_in_parts_that_name_every_change() {
    let mut fixture = fixture();
    fixture.fill(25);
    let take = |fixture: &Fixture, longest| {
        let pending = fixture.database.take_pending(longest).unwrap();
        fixture.database.mark_told().unwrap();
        let object: Value = serde_json::from_str(&pending.object).unwrap();
        let count = |list: &str| object[list].as_array().map_or(0, Vec::len);
        (count("syncreq"), count("syncreq_keepalive"), pending.more, object)
    };
    let (first, _, more, object) = take(&fixture, 2000);
    assert!((3..25).contains(&first) && more, "{first}");
    assert_eq!(object["syncreq"][0]["labels"][0]["value"], "value1");
    assert_eq!(object["syncreq"][0]["status_code"], 0);
    assert_eq!(object["syncreq"][0].get("os_name"), None, "what says nothing is left out");
    // An agent that changes meanwhile is not forgotten, and one that is removed is not told of.
    fixture.tell(r#"global update-keepalive {"id":3,"connection_status":"active","sync_status":"syncreq_keepalive"}"#);
    fixture.tell("global delete-agent 25");
    let (rest, alive, more, object) = take(&fixture, 1_000_000);
    assert_eq!((rest, alive, more), (24 - first, 1, false));
    assert_eq!(object["syncreq_keepalive"], serde_json::json!([{"id": 3, "version": "v"}]));
    assert_eq!(fixture.database.take_pending(1_000_000).unwrap().object, "{}");
}

#[test]
fn what_other_programs_send_stays_in_this_file_and_leaves_nothing_open() {
    let mut fixture = fixture();
    let elsewhere = fixture.folder.path().join("elsewhere.db");
    for statement in [
        format!("ATTACH '{}' AS other", elsewhere.display()),
        format!("VACUUM INTO '{}'", elsewhere.display()),
        "PRAGMA journal_mode = DELETE".to_owned(),
        "PRAGMA query_only = 1".to_owned(),
        "PRAGMA max_page_count = 1".to_owned(),
        "SELECT load_extension('x')".to_owned(),
        "CREATE TRIGGER t BEFORE UPDATE ON agent BEGIN SELECT raise(ABORT, 'no'); END".to_owned(),
        "CREATE TEMP TABLE agent (id)".to_owned(),
        "DROP TABLE labels".to_owned(),
        "ALTER TABLE agent ADD COLUMN x".to_owned(),
        "SELECT length(replace(hex(zeroblob(2000000)), '0', 'xxxxxxxx'))".to_owned(),
        "BEGIN".to_owned(),
        "SAVEPOINT s".to_owned(),
        "COMMIT".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let answer = fixture.ask(&format!("global sql {statement}"));
        assert!(answer.starts_with("err "), "{statement}: {answer}");
        fixture.tell(r#"global update-agent-name {"id":0,"name":"manager"}"#);
    }
    assert!(!elsewhere.exists());
    assert_eq!(fixture.ask("global sql PRAGMA synchronous"), r#"ok [{"synchronous":1}]"#);
    assert_eq!(fixture.ask("global sql UPDATE agent SET name = 'm' WHERE id = 0; DROP TABLE agent"), "ok []");
    assert_eq!(fixture.ask("global select-agent-name 0"), r#"ok [{"name":"m"}]"#);
}

#[test]
fn a_statement_without_end_is_interrupted() {
    let fixture = fixture();
    let begun = Instant::now();
    fixture.database.limit.set(Duration::from_millis(50));
    let endless = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT max(id) FROM n";
    let ended = fixture.database.connection.query_row(endless, [], |row| row.get::<_, i64>(0));
    assert!(ended.is_err());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("global.db");
    let refused = |folder: &Path| open(folder).err().unwrap();
    let nowhere = refused(&folder.path().join("missing"));
    assert!(nowhere.contains("missing/global.db cannot be opened for writing"), "{nowhere}");
    fs::write(&path, "rubbish ".repeat(1000)).unwrap();
    let damaged = refused(folder.path());
    assert!(damaged.contains("global.db cannot be used: file is not a database. It is damaged"), "{damaged}");
    assert_eq!(fs::read(&path).unwrap().len(), 8000, "it stays as it is");
    fs::remove_file(&path).unwrap();
    let mut database = open(folder.path()).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    database.answer("global sql UPDATE metadata SET value = '6' WHERE key = 'db_version'");
    database.close();
    let old = refused(folder.path());
    assert!(old.contains("has the schema version 6, this daemon knows 7 only"), "{old}");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(refused(folder.path()).contains("cannot be opened"));
}

#[test]
fn a_locked_file_and_a_full_one_are_told_and_heal() {
    let mut fixture = fixture();
    let other = rusqlite::Connection::open(fixture.folder.path().join("global.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let insert = |id: u32| format!(r#"global insert-agent {{"id":{id},"name":"{}","date_add":1}}"#, "a".repeat(1000));
    assert_eq!(fixture.ask(&insert(1)), "err Cannot execute Global database query; database is locked");
    assert_eq!(fixture.ask("global get-agent-info 1"), "ok []", "reading goes on");
    other.execute_batch("COMMIT").unwrap();
    fixture.tell(&insert(1));

    // As many pages as there are.
    let _ = fixture
        .database
        .connection
        .authorizer(None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>);
    let pages: i64 = fixture.database.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |fixture: &Fixture, pages: i64| {
        let connection = &fixture.database.connection;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(&fixture, pages);
    let mut answers = (2..100).map(|id| fixture.ask(&insert(id)));
    let full = answers.find(|answer| answer != "ok").unwrap();
    assert_eq!(full, "err Cannot execute Global database query; database or disk is full");
    let keepalive = format!(r#"{{"syncreq_keepalive":[{{"id":1,"version":"{}"}}]}}"#, "v".repeat(100_000));
    let unavailable = Error::from(fixture.database.store(&keepalive).unwrap_err());
    assert_eq!(unavailable, Error::Unavailable("database or disk is full".into()), "it may be sent again");
    let bad = r#"{"syncreq_status":[{"id":1}]}"#;
    assert!(matches!(Error::from(fixture.database.store(bad).unwrap_err()), Error::Refused(_)));
    assert_eq!(fixture.rows("global get-agent-info 1")[0]["id"], 1);
    limit(&fixture, 1_000_000);
    fixture.tell(&insert(100));

    // What is given out while the file cannot be written stays to be sent.
    fixture.ask("global sql UPDATE agent SET sync_status = 'syncreq', group_sync_status = 'syncreq' WHERE id > 0");
    // This is not a statement of another program: the authorizer was taken off above.
    let trigger = "CREATE TEMP TRIGGER broken BEFORE UPDATE ON agent WHEN old.id = 100
        BEGIN SELECT raise(ABORT, 'as ordered'); END";
    fixture.database.connection.execute_batch(trigger).unwrap();
    assert!(fixture.database.take_pending(usize::MAX).is_ok());
    assert!(fixture.database.mark_told().is_err());
    let groups = r#"global sync-agent-groups-get {"condition":"sync_status","set_synced":true}"#;
    assert!(fixture.ask(groups).starts_with("err "));
    assert!(fixture.ask("global sync-agent-info-get {}").starts_with("err "));
    let pending =
        "global sql SELECT count(*) AS n FROM agent WHERE sync_status = 'syncreq' AND group_sync_status = 'syncreq'";
    let all = fixture.rows("global sql SELECT count(*) AS n FROM agent WHERE id > 0");
    assert_eq!(fixture.rows(pending), all);
    fixture.database.connection.execute_batch("DROP TRIGGER broken").unwrap();
    let taken = fixture.database.take_pending(usize::MAX).unwrap().object;
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!(taken["syncreq"].as_array().unwrap().len() as u64, all[0]["n"].as_u64().unwrap());
}

/// The embedded database with its thread.
fn embedded(folder: &Path) -> (Embedded, Group, Trigger) {
    let (trigger, order) = shutdown::channel();
    let (embedded, owner) = Embedded::new(folder.join("global.db"), NodeType::Worker, Clock::real(), order);
    let threads = Group::new(1);
    owner.start(&threads).unwrap();
    (embedded, threads, trigger)
}

#[test]
fn a_request_that_panics_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, threads, trigger) = embedded(folder.path());
    let insert = r#"global insert-agent {"id":1,"name":"a","date_add":1}"#;
    embedded.query(insert).unwrap();
    let failed = embedded.with(|database| {
        database.connection.execute_batch("BEGIN; DELETE FROM agent").unwrap();
        panic!("as ordered")
    });
    let failed: Result<(), Error> = failed;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    // What it began is not there, and the others go on.
    assert_eq!(
        embedded.query(insert),
        Err(Error::Refused("Cannot execute Global database query; UNIQUE constraint failed: agent.id".into()))
    );
    drop(trigger);
    assert_eq!(threads.join(Instant::now() + Duration::from_secs(10)), 0);
    assert_eq!(embedded.query(insert), Err(Error::Unavailable("this node stops".into())));
}

#[test]
fn a_message_that_would_take_many_times_its_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, _threads, _trigger) = embedded(folder.path());
    let store = Store::new(embedded);
    // Texts of the old form, and one of them that is longer than any database gives.
    let many = format!("[\"\"{}]", ",\"\"".repeat(100_000));
    assert!(store.store_info(&many).unwrap_err().contains("more than 100000 elements"));
    let long = format!("[\"[0{}]\"]", ",0".repeat(40_000));
    let refused = store.store_info(&long).unwrap();
    assert!(refused.errors[0].contains("65536 are the most"), "{refused:?}");
    // Records that do not exist take no memory: these would have been a gigabyte.
    let records = format!("{{\"syncreq\":[{{\"id\":9}}{}]}}", ",{\"id\":9}".repeat(200_000));
    let stored = store.store_info(&records).unwrap();
    assert_eq!((stored.chunks, stored.unknown), (1, Some(200_001)));
}

#[test]
fn work_whose_caller_has_given_up_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, _threads, _trigger) = embedded(folder.path());
    embedded.query(r#"global insert-agent {"id":1,"name":"a","date_add":1}"#).unwrap();
    embedded.query("global sql UPDATE agent SET sync_status = 'syncreq' WHERE id = 1").unwrap();
    let (begun, begins) = crossbeam_channel::bounded(1);
    let (release, gate) = crossbeam_channel::bounded::<()>(0);
    std::thread::scope(|scope| {
        let busy = embedded.clone();
        let slow = scope.spawn(move || {
            busy.with(move |_| {
                begun.send(()).unwrap();
                gate.recv()
            })
        });
        begins.recv().unwrap();
        let short = Duration::from_millis(50);
        let late = embedded.within(short, |database| database.take_pending(usize::MAX));
        assert!(matches!(late, Err(Error::Unavailable(text)) if text.contains("0.05 s")));
        drop(release);
        assert!(slow.join().unwrap().is_ok());
    });
    // Nobody would have got what was given out, so it is still there.
    assert!(embedded.take_pending().unwrap().object.contains("syncreq"));
}

#[test]
fn what_was_begun_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, _threads, _trigger) = embedded(folder.path());
    let done = embedded.within(Duration::from_millis(20), |_| std::thread::sleep(Duration::from_millis(60)));
    assert_eq!(done, Ok(()));
}

#[test]
fn what_did_not_arrive_is_pending_again_in_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, _threads, _trigger) = embedded(folder.path());
    let store = Store::new(embedded.clone());
    for id in 1..=3 {
        embedded.query(&format!(r#"global insert-agent {{"id":{id},"name":"a{id}","date_add":1}}"#)).unwrap();
    }
    let pending = |form| store.take_info(form).unwrap();
    let change = |id: u32, sync: &str| {
        let status = format!(r#""connection_status":"active","sync_status":"{sync}""#);
        embedded.query(&format!(r#"global update-keepalive {{"id":{id},{status}}}"#)).unwrap();
    };
    let states = || embedded.query("global sql SELECT sync_status AS s FROM agent WHERE id > 0 ORDER BY id").unwrap();
    let all = ["syncreq", "syncreq_status", "syncreq_keepalive"];
    all.iter().zip(1..).for_each(|(sync, id)| change(id, sync));
    let before = states();
    let info: AgentInfo = pending(Form::Object).unwrap();
    assert_eq!((info.count, info.more), (3, false));
    assert_eq!(pending(Form::Object), None);
    // This one needs less than before; the other would need more.
    change(1, "syncreq_keepalive");
    store.put_back(&info).unwrap();
    assert_eq!(states(), before);
    assert_eq!(pending(Form::Object).unwrap().count, 3);
    change(2, "syncreq");
    let info = pending(Form::Texts).unwrap();
    assert_eq!(info.count, 1);
    assert_eq!(pending(Form::Texts), None);
    store.put_back(&info).unwrap();
    assert_eq!(pending(Form::Texts).unwrap(), info);
}

#[test]
fn answers_have_the_frames_of_the_protocol() {
    assert_eq!(Answer::Ok(String::new()).frames(), [b"ok".to_vec()]);
    assert_eq!(Answer::Due("[]".into()).frames(), [b"due []".to_vec()]);
    let rows = Answer::Rows(vec![r#"{"id":0}"#.into()]).frames();
    assert_eq!(rows, [b"due {\"id\":0}".to_vec(), b"ok []".to_vec()]);
}
