//! The thread of the database and those who wait for it.

use super::*;

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
        let late = embedded.within(short, |database| database.take_info(usize::MAX));
        assert!(matches!(late, Err(Error::Unavailable(text)) if text.contains("0.05 s")));
        drop(release);
        assert!(slow.join().unwrap().is_ok());
    });
    // Nobody would have got what was given out, so it is still there.
    assert!(embedded.take_info().unwrap().info.contains("syncreq"));
}

#[test]
fn what_was_begun_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, _threads, _trigger) = embedded(folder.path());
    embedded.query("global select-groups").unwrap();
    let done = embedded.within(Duration::from_millis(300), |_| std::thread::sleep(Duration::from_millis(600)));
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
fn the_order_to_stop_interrupts_long_statements() {
    for request in [
        "global sql WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "global sleep 9999",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (embedded, threads, trigger) = embedded(folder.path());
        let asking = embedded.clone();
        let waits = std::thread::spawn(move || asking.query(request));
        while embedded.within(Duration::from_millis(20), |_| ()).is_ok() {
            std::thread::yield_now();
        }
        drop(trigger);
        assert_eq!(threads.join(Instant::now() + Duration::from_secs(5)), 0, "{request}");
        assert!(waits.join().is_ok());
    }
}

/// A number that never ends, for a statement that never does.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";

/// Case 5.5: what programs and other nodes ask stands behind what the cluster needs.
#[test]
fn the_work_of_the_cluster_does_not_wait_for_long_statements_of_others() {
    let reads = format!("global sql {ENDLESS} SELECT max(i) FROM n");
    let writes = format!("global sql {ENDLESS} UPDATE agent SET name = 'x' WHERE id = (SELECT max(i) FROM n)");
    let rests = "global sleep 9999".to_owned();
    for (request, programs, only_reads) in [(reads, 3, true), (writes, 8, false), (rests, 8, false)] {
        let folder = tempfile::tempdir().unwrap();
        let (embedded, threads, trigger) = embedded(folder.path());
        embedded.query("global select-groups").unwrap();
        let others: Vec<_> = (0..programs)
            .map(|_| {
                let (asking, request) = (embedded.clone(), request.clone());
                std::thread::spawn(move || asking.command(&request))
            })
            .collect();
        // What a registration asks, a while after they have begun.
        let begun = Instant::now();
        for id in 1..=20 {
            embedded.query(&format!(r#"global insert-agent {{"id":{id},"name":"a{id}","date_add":1}}"#)).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        for id in 1..=3 {
            embedded.query(&format!("global select-agent-name {id}")).unwrap();
        }
        // Each would have waited for seconds, and the first of eight statements for all others.
        assert!(begun.elapsed() < Duration::from_secs(9), "{request}: {:?}", begun.elapsed());
        if only_reads {
            assert!(others.iter().all(|other| !other.is_finished()), "who only reads is not in the way");
        }
        drop(trigger);
        assert_eq!(threads.join(Instant::now() + Duration::from_secs(10)), 0, "{request}");
        others.into_iter().for_each(|other| drop(other.join().unwrap()));
    }
}

#[test]
fn a_statement_that_reads_sees_what_was_answered_before_and_is_of_the_file_that_is_there() {
    use crate::agents::embedded::server::Serve;
    let folder = tempfile::tempdir().unwrap();
    let (embedded, threads, trigger) = embedded(folder.path());
    let ask = |request: &str| String::from_utf8(embedded.answer(request.to_owned()).frames().concat()).unwrap();
    for id in 1..=50 {
        assert_eq!(ask(&format!(r#"global insert-agent {{"id":{id},"name":"a","date_add":1}}"#)), "ok");
        assert_eq!(ask("global sql SELECT max(id) AS n FROM agent"), format!(r#"ok [{{"n":{id}}}]"#));
        assert_eq!(ask(&format!("global sql UPDATE agent SET name = 'b{id}' WHERE id = {id}")), "ok []");
        assert_eq!(ask(&format!("global select-agent-name {id}")), format!(r#"ok [{{"name":"b{id}"}}]"#));
    }
    assert_eq!(ask("global sql PRAGMA synchronous"), r#"ok [{"synchronous":1}]"#);
    for wrong in ["BEGIN", "COMMIT", "nonsense", "ATTACH 'x' AS y", "PRAGMA query_only = 0", "DROP TABLE agent", ""] {
        assert!(ask(&format!("global sql {wrong}")).starts_with("err "), "{wrong}");
    }
    // Somebody puts another file in its place.
    for name in ["global.db", "global.db-wal", "global.db-shm"] {
        let _ = fs::remove_file(folder.path().join(name));
    }
    while ask("global sql SELECT count(*) AS n FROM agent") != r#"ok [{"n":1}]"# {
        std::thread::yield_now();
        ask("global select-groups");
    }
    drop(trigger);
    assert_eq!(threads.join(Instant::now() + Duration::from_secs(10)), 0);
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["global.db"], "stopped, it leaves one plain file");
}
