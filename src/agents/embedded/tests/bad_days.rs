//! Statements that no program should send, and files that cannot be used.

use super::*;
use crate::agents::embedded::space::NO_LIMIT;

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
        let refusal = fixture.database.try_answer(&format!("global sql {statement}")).err().map(Error::from);
        assert!(
            matches!(refusal, Some(Error::Refused(_))),
            "the statement is blamed, not the file: {statement}: {refusal:?}"
        );
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
    let unavailable = Error::from(fixture.database.store_info(&keepalive).unwrap_err());
    assert_eq!(unavailable, Error::Unavailable("database or disk is full".into()), "it may be sent again");
    let bad = r#"{"syncreq_status":[{"id":1}]}"#;
    assert!(matches!(Error::from(fixture.database.store_info(bad).unwrap_err()), Error::Refused(_)));
    assert_eq!(fixture.rows("global get-agent-info 1")[0]["id"], 1);
    limit(&fixture, 1_000_000);
    fixture.tell(&insert(100));

    // What is given out while the file cannot be written stays to be sent.
    fixture.ask("global sql UPDATE agent SET sync_status = 'syncreq', group_sync_status = 'syncreq' WHERE id > 0");
    // This is not a statement of another program: the authorizer was taken off above.
    let trigger = "CREATE TEMP TRIGGER broken BEFORE UPDATE ON agent WHEN old.id = 100
        BEGIN SELECT raise(ABORT, 'as ordered'); END";
    fixture.database.connection.execute_batch(trigger).unwrap();
    assert!(fixture.database.take_info(usize::MAX).is_ok());
    assert!(fixture.database.mark_told().is_err());
    let groups = r#"global sync-agent-groups-get {"condition":"sync_status","set_synced":true}"#;
    assert!(fixture.ask(groups).starts_with("err "));
    assert!(fixture.ask("global sync-agent-info-get {}").starts_with("err "));
    let pending =
        "global sql SELECT count(*) AS n FROM agent WHERE sync_status = 'syncreq' AND group_sync_status = 'syncreq'";
    let all = fixture.rows("global sql SELECT count(*) AS n FROM agent WHERE id > 0");
    assert_eq!(fixture.rows(pending), all);
    fixture.database.connection.execute_batch("DROP TRIGGER broken").unwrap();
    let taken = fixture.database.take_info(usize::MAX).unwrap().info;
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!(taken["syncreq"].as_array().unwrap().len() as u64, all[0]["n"].as_u64().unwrap());
}

#[test]
fn the_log_is_written_into_the_file_when_it_has_become_long() {
    let mut fixture = fixture();
    fixture.database.tidy();
    let size = |fixture: &Fixture| fixture.folder.path().join("global.db").metadata().unwrap().len();
    let before = size(&fixture);
    fixture.fill(500);
    assert_eq!(size(&fixture), before, "a commit does not wait for it");
    fixture.database.tidy();
    assert!(size(&fixture) > before + 50_000);
}

fn log_of(fixture: &Fixture) -> u64 {
    fixture.folder.path().join("global.db-wal").metadata().unwrap().len()
}

/// Case 5.4: what a statement of another program adds to the disk has a bound, and is given back.
#[test]
fn a_statement_that_adds_rows_without_end_fails_before_the_disk_is_full() {
    const MIB: u64 = 1024 * 1024;
    let mut fixture = fixture();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    for value in ["i", "hex(zeroblob(1000))", "zeroblob(2000000)"] {
        let answer =
            fixture.ask(&format!("global sql INSERT INTO labels (id, key, value) {rows} SELECT 0, i, {value} FROM n"));
        let full = "err Cannot execute Global database query; database or disk is full: a statement may add ";
        // On a slow machine its time may be over before.
        assert!(answer.starts_with(full) || answer.ends_with("interrupted"), "{answer}");
        assert!(log_of(&fixture) < 80 * MIB, "{}", log_of(&fixture));
        assert_eq!(fixture.ask("global sql SELECT count(*) AS n FROM labels"), r#"ok [{"n":0}]"#);
        fixture.database.shortened = None;
        fixture.database.tidy();
        assert!(log_of(&fixture) <= 4 * MIB);
    }
    assert!(fixture.folder.path().join("global.db").metadata().unwrap().len() < MIB);
    // What does not grow is nobody's business, and the cluster's own work has no such bound.
    fixture.fill(100);
    assert_eq!(fixture.database.connection.pragma_query_value(None, "max_page_count", |row| row.get(0)), Ok(NO_LIMIT));
}

/// Case 5.4: ten thousand agents, one command after the other.
#[test]
fn a_long_log_does_not_stay_beside_a_short_file() {
    let mut fixture = fixture();
    for id in 1..=10_000 {
        fixture.tell(&format!(
            r#"global insert-agent {{"id":{id},"name":"agent{id}","internal_key":"{id:064}","date_add":1}}"#
        ));
    }
    assert!(log_of(&fixture) > 10_000_000);
    fixture.database.tidy();
    assert_eq!(log_of(&fixture), 0);
    // Whoever reads is in the way, and nobody waits for him.
    let other = rusqlite::Connection::open(fixture.folder.path().join("global.db")).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM agent").unwrap();
    fixture.ask("global sql UPDATE agent SET version = hex(zeroblob(300))");
    let begun = Instant::now();
    fixture.database.shortened = None;
    fixture.database.tidy();
    assert!(log_of(&fixture) > 1_000_000 && begun.elapsed() < Duration::from_secs(2));
    other.execute_batch("COMMIT").unwrap();
    fixture.database.shortened = None;
    fixture.database.tidy();
    assert_eq!(log_of(&fixture), 0);
}
