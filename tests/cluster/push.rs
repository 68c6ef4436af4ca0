//! Changes that reach workers at once, with a clock that stands still.

use std::fs;

use clusterd::{files::ChecksumKind, system::clock::FakeClock};
use serde_json::{Value, json};

use crate::support::{LocalProgram, Node, SECOND, TestHome, advance_until, eventually, manager_program};

#[test]
fn a_worker_is_in_sync_as_soon_as_it_is_connected_and_after_each_change() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "first");
    let master = Node::master(home, &clock, json!({}));
    let workers = ["w1", "w2"].map(|name| Node::worker(TestHome::new(), &clock, json!({}), name, master.port()));
    for (turn, content) in ["first", "second", "third"].into_iter().enumerate() {
        if turn > 0 {
            master.home.write("etc/rules/a.xml", content);
            master.as_master().local_integrity.wake();
        }
        for worker in &workers {
            // Only the wait between two attempts needs the clock.
            advance_until(&hand, SECOND / 100, "the change arrives", || {
                worker.home.read("etc/rules/a.xml").as_deref() == Some(content.as_bytes())
            });
        }
    }
}

#[test]
fn what_a_person_changes_arrives_long_before_the_end_of_a_period() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "first");
    let day = json!({"intervals": {"master": {"recalculate_integrity": 86_400}, "worker": {"sync_integrity": 86_400}}});
    let master = Node::master(home, &clock, day.clone());
    let worker = Node::worker(TestHome::new(), &clock, day, "w1", master.port());
    let arrives = |what: &str| {
        advance_until(&hand, SECOND / 100, what, || worker.home.tree() == master.home.tree());
    };
    arrives("the first files");
    master.home.write("etc/rules/a.xml", "second");
    arrives("a changed file");
    master.home.write("etc/shared/web/deep/agent.conf", "new");
    arrives("a file in new directories");
    master.home.write("etc/shared/web/deep/agent.conf", "newer");
    arrives("a changed file in them");
    fs::rename(master.home.path("etc/shared/web"), master.home.path("etc/shared/moved")).unwrap();
    master.home.write("etc/shared/web/agent.conf", "another");
    advance_until(&hand, SECOND / 100, "what was moved", || {
        let has = |path: &str| worker.home.read(path).is_some();
        has("etc/shared/moved/deep/agent.conf") && has("etc/shared/web/agent.conf")
    });
    master.home.write("etc/shared/moved/deep/agent.conf", "newest");
    advance_until(&hand, SECOND / 100, "a change where it was moved to", || {
        worker.home.read("etc/shared/moved/deep/agent.conf").as_deref() == Some(b"newest")
    });
}

/// Case 6.3: whoever looks at the files, what has changed is published and pushed.
#[test]
fn a_change_that_a_local_program_sees_first_is_pushed_all_the_same() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "0");
    let day = json!({"intervals": {"master": {"recalculate_integrity": 86_400}, "worker": {"sync_integrity": 86_400}}});
    let master = Node::master(home, &clock, day.clone());
    let worker = Node::worker(TestHome::new(), &clock, day, "w1", master.port());
    for turn in 0..6 {
        let content = turn.to_string();
        master.home.write("etc/rules/a.xml", &content);
        let mut program = LocalProgram::of(&master);
        assert!(program.ask("get_hash", "").body.contains("etc/rules/a.xml"));
        advance_until(&hand, SECOND / 100, "the change arrives", || {
            worker.home.read("etc/rules/a.xml").as_deref() == Some(content.as_bytes())
        });
    }
}

/// Case 2.9: what is only waiting to be deleted keeps nobody from being in sync.
#[test]
fn an_update_is_confirmed_at_once_although_the_worker_has_a_file_that_the_master_protects() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "first");
    home.write("etc/client.keys", "001 a any key\n");
    let day = json!({"intervals": {"master": {"recalculate_integrity": 86_400}, "worker": {"sync_integrity": 86_400}}});
    let master = Node::master(home, &clock, day.clone());
    let worker = Node::worker(TestHome::new(), &clock, day, "w1", master.port());
    let integrity = || master.as_master().registry.find("w1").map(|worker| worker.integrity.status());
    let confirmed = |what| {
        // The clock may stand still from the end of the one to the start of the other.
        advance_until(&hand, SECOND / 100, what, || {
            worker.home.read("etc/rules/a.xml") == master.home.read("etc/rules/a.xml")
                && integrity()
                    .is_some_and(|status| status.behind_since.is_none() && status.check.start >= status.sync.end)
        });
    };
    confirmed("the first files, and what they were confirmed by");
    fs::remove_file(master.home.path("etc/client.keys")).unwrap();
    master.home.write("etc/rules/a.xml", "second");
    confirmed("a change, and what it was confirmed by");
    master.home.write("etc/rules/a.xml", "third");
    confirmed("another");
    assert!(worker.home.read("etc/client.keys").is_some());
}

#[test]
fn nothing_is_pushed_where_it_was_not_agreed_on() {
    let (clock, _hand) = FakeClock::new();
    let home = TestHome::new();
    home.write("etc/rules/a.xml", "first");
    let master = Node::master(home, &clock, json!({}));
    let settings = json!({"link": {"features": ["checksum=md5"]}});
    let worker = Node::worker(TestHome::new(), &clock, settings, "w1", master.port());
    eventually("the worker connects", || master.workers() == ["w1"]);
    let master = master.as_master();
    eventually("both know what they speak", || {
        master.registry.find("w1").is_some_and(|worker| worker.features().checksum_md5)
    });
    assert!(!master.registry.find("w1").unwrap().features().push);
    // An answer of the worker to a later message shows that it has taken all that came before.
    master.registry.find("w1").unwrap().push(1);
    master.registry.find("w1").unwrap().connection.request(clusterd::wire::Command::EchoMaster, "x").unwrap();
    assert_eq!(worker.home.read("etc/rules/a.xml"), None);
}

#[test]
fn the_ruleset_is_loaded_anew_after_the_next_check() {
    let (clock, hand) = FakeClock::new();
    let master = Node::master(TestHome::new(), &clock, json!({}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    let (told, seen) = std::sync::mpsc::channel();
    manager_program(&worker.home.path("queue/sockets/analysis"), move |request| {
        told.send(request.to_owned()).unwrap();
        Some(r#"{"error": 0, "message": "ok"}"#.into())
    });
    eventually("the reload is noted", || {
        LocalProgram::of(&worker).ask("sendrreload", "").body == r#"{"success": true}"#
    });
    let mut request = None;
    advance_until(&hand, SECOND, "the ruleset is loaded", || {
        request = request.take().or_else(|| seen.try_recv().ok());
        request.is_some()
    });
    let request: Value = serde_json::from_str(&request.unwrap()).unwrap();
    assert_eq!(request, json!({"version": 1, "origin": {"module": "cluster"}, "command": "reload-ruleset"}));
    drop(master);
    eventually("the loss is noticed", || LocalProgram::of(&worker).ask("sendrreload", "").body.contains("3023"));
}

/// Case 6.11: nobody waits for a period that began after the file went missing.
#[test]
fn a_deletion_is_on_its_way_when_its_time_is_over_whatever_changes_meanwhile() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    for name in ["a", "b"] {
        home.write(&format!("etc/rules/{name}.xml"), "first");
    }
    let master = Node::master(home, &clock, json!({}));
    let settings = json!({"intervals": {"worker": {"sync_integrity": 86_400}}});
    let worker = Node::worker(TestHome::new(), &clock, settings, "w1", master.port());
    // So slowly that what the threads do takes no time by this clock.
    let soon = |what: &str, condition: &dyn Fn() -> bool| advance_until(&hand, SECOND / 1_000, what, condition);
    advance_until(&hand, SECOND / 100, "the first files", || worker.home.tree() == master.home.tree());
    fs::remove_file(master.home.path("etc/rules/a.xml")).unwrap();
    let integrity = &master.as_master().local_integrity;
    let is_missing =
        || integrity.manifest(ChecksumKind::Md5).is_some_and(|files| files.protected().covers("etc/rules/a.xml"));
    advance_until(&hand, SECOND / 100, "it is seen to be missing", is_missing);
    let begin = clock.now();
    hand.advance(SECOND * 6);
    master.home.write("etc/rules/b.xml", "second");
    advance_until(&hand, SECOND / 100, "the edit", || {
        worker.home.read("etc/rules/b.xml").as_deref() == Some(b"second")
    });
    assert!(worker.home.read("etc/rules/a.xml").is_some(), "it may come back");
    hand.advance((SECOND * 8).saturating_sub(clock.now() - begin));
    soon("the deletion", &|| worker.home.read("etc/rules/a.xml").is_none());
    let took = clock.now() - begin;
    assert!(took < SECOND * 10, "{took:?}");
}
