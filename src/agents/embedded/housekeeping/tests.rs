use std::{cell::Cell, fs, path::Path, rc::Rc};

use proptest::prelude::*;

use super::{duty::Rows, *};
use crate::agents::{Error, embedded::Database};
use crate::files::{KEYS, outline::Outliner};
use crate::system::{
    clock::{Clock, FakeClock},
    known::Known,
    stamp::{Stamp, fake},
};

const KEYLESS: Duration = Duration::from_secs(27);

/// A database that is used on the thread of the test.
struct Here(Database);

impl Rows for Here {
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> T + Send + 'static) -> Result<T, Error> {
        Ok(work(&self.0))
    }
}

/// A database that is away after so many pieces of work.
struct Ends(Here, Cell<usize>);

impl Rows for Ends {
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> T + Send + 'static) -> Result<T, Error> {
        self.1.set(self.1.get().checked_sub(1).ok_or_else(|| Error::Unavailable("as ordered".into()))?);
        self.0.with(work)
    }
}

impl Here {
    fn new(folder: &Path, role: NodeType) -> Self {
        Self(Database::open(&folder.join("global.db"), role, Clock::real()).unwrap())
    }

    fn ask(&mut self, request: &str) -> String {
        String::from_utf8(self.0.answer(request).frames().concat()).unwrap()
    }
}

fn keys(agents: impl IntoIterator<Item = u32>) -> String {
    agents.into_iter().map(|id| format!("{id:03} agent{id} any key{id}\n")).collect()
}

#[test]
fn rows_follow_the_keys_and_many_do_not_vanish_at_the_first_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Worker), Keys::new(path.clone(), false, Covered::default(), KEYLESS));
    // Without the file nothing is to be done.
    duty.turn(&database).unwrap();
    fs::write(&path, keys(1..=2500)).unwrap();
    duty.turn(&database).unwrap();
    assert_eq!(
        database.ask("global sql SELECT count(*) AS n FROM agent WHERE internal_key = 'key' || id"),
        r#"ok [{"n":2500}]"#
    );
    fs::write(&path, keys(2..=2501)).unwrap();
    duty.turn(&database).unwrap();
    assert_eq!(database.ask("global select-agent-name 1"), "ok []");
    assert_eq!(database.ask("global select-agent-name 2501"), r#"ok [{"name":"agent2501"}]"#);
    // Nothing but the manager and one agent would be left.
    fs::write(&path, keys([7])).unwrap();
    for _ in 0..SECOND_LOOKS {
        duty.turn(&database).unwrap();
        assert_eq!(database.ask("global select-agent-name 2"), r#"ok [{"name":"agent2"}]"#);
    }
    duty.turn(&database).unwrap();
    assert_eq!(database.ask("global get-all-agents last_id -1"), r#"ok [{"id":0},{"id":7}]"#);
    fs::remove_file(&path).unwrap();
    duty.turn(&database).unwrap();
    assert_eq!(database.ask("global get-all-agents last_id 0"), r#"ok [{"id":7}]"#);
}

const SECOND_LOOKS: u32 = 10;

#[test]
fn an_agent_that_the_master_named_before_its_key_came_gets_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Worker), Keys::new(path.clone(), false, Covered::default(), KEYLESS));
    database.ask("global insert-agent-group default");
    let set = r#"global set-agent-groups {"mode":"override","data":[{"id":1,"name":"agent1","groups":["default"]}]}"#;
    assert_eq!(database.ask(set), "ok");
    fs::write(&path, keys([1])).unwrap();
    duty.turn(&database).unwrap();
    let info = database.ask("global get-agent-info 1");
    assert!(info.contains(r#""internal_key":"key1""#) && info.contains(r#""group":"default""#), "{info}");
}

/// Case 3.6: the same line counts as for the registrar, also where the row was that of another.
/// Keys of others may come between an assignment and the key of its agent; that key may also never come.
#[test]
fn a_row_that_waits_for_its_key_keeps_its_groups_and_does_not_wait_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let (clock, hand) = FakeClock::new();
    let open = || Database::open(&folder.path().join("global.db"), NodeType::Worker, clock.clone()).unwrap();
    let keep = || Keys::new(path.clone(), false, Covered::default(), KEYLESS);
    let (mut database, mut duty) = (Here(open()), keep());
    let turn = |database: &Here, duty: &mut Keys| {
        duty.await_keys(database.0.ahead.take(), clock.now());
        duty.turn(database).unwrap();
    };
    fs::write(&path, keys([1])).unwrap();
    turn(&database, &mut duty);
    database.ask("global insert-agent-group web");
    let element = |id: u32| format!(r#"{{"id":{id},"name":"agent{id}","groups":["web"]}}"#);
    let data = [element(3), element(4)].join(",");
    assert_eq!(database.ask(&format!(r#"global set-agent-groups {{"mode":"override","data":[{data}]}}"#)), "ok");
    fs::write(&path, keys([1, 2])).unwrap();
    turn(&database, &mut duty);
    // A worker that is killed now knows it from the file alone.
    let ended = std::mem::replace(&mut database.0, open());
    drop(ended);
    duty = keep();
    turn(&database, &mut duty);
    fs::write(&path, keys([1, 2, 3])).unwrap();
    turn(&database, &mut duty);
    let agents = "global sql SELECT id, internal_key AS k, `group` AS g FROM agent WHERE id > 2";
    assert_eq!(database.ask(agents), r#"ok [{"id":3,"k":"key3","g":"web"},{"id":4,"g":"web"}]"#);
    for left in [r#",{"id":4,"g":"web"}"#, ""] {
        turn(&database, &mut duty);
        assert_eq!(database.ask(agents), format!(r#"ok [{{"id":3,"k":"key3","g":"web"}}{left}]"#));
        hand.advance(KEYLESS);
    }
    // Nothing else changes here.
    assert_eq!(
        database.ask(&format!(r#"global set-agent-groups {{"mode":"override","data":[{}]}}"#, element(5))),
        "ok"
    );
    turn(&database, &mut duty);
    hand.advance(KEYLESS);
    turn(&database, &mut duty);
    assert_eq!(database.ask(agents), r#"ok [{"id":3,"k":"key3","g":"web"}]"#);
}

#[test]
fn of_two_lines_with_one_number_the_first_makes_the_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Worker), Keys::new(path.clone(), false, Covered::default(), KEYLESS));
    for (text, name) in [
        ("001 first any k1\n1 second any k2\n", "first"),
        ("001 second any k2\n002 other any k\n001 first any k1\n", "second"),
        ("001 !second any k2\n001 first any k1\n", "first"),
    ] {
        fs::write(&path, text).unwrap();
        duty.turn(&database).unwrap();
        assert_eq!(database.ask("global select-agent-name 1"), format!(r#"ok [{{"name":"{name}"}}]"#));
    }
}

/// Case 6.10: a number that was given again while the worker was away.
#[test]
fn another_name_or_key_is_another_agent_and_its_row_begins_anew() {
    let old = "001 old any key1\n";
    for (new, assigned_before) in [
        ("001 new any key2\n", false),
        ("001 new any key2\n", true),
        ("001 old any key2\n", false),
        ("001 new any key1\n", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.keys");
        let (mut database, mut duty) =
            (Here::new(folder.path(), NodeType::Worker), Keys::new(path.clone(), false, Covered::default(), KEYLESS));
        for group in ["default", "secret", "web"] {
            database.ask(&format!("global insert-agent-group {group}"));
        }
        let assign = |database: &mut Here, name: &str, group: &str| {
            let data = format!(r#"{{"mode":"override","data":[{{"id":1,"name":"{name}","groups":["{group}"]}}]}}"#);
            assert_eq!(database.ask(&format!("global set-agent-groups {data}")), "ok");
        };
        fs::write(&path, old).unwrap();
        duty.turn(&database).unwrap();
        assign(&mut database, "old", "secret");
        let status = r#""connection_status":"active","sync_status":"syncreq","group_config_status":"synced""#;
        let data = format!(r#"{{"id":1,{status},"os_name":"Ubuntu","version":"v1","labels":"env:prod"}}"#);
        assert_eq!(database.ask(&format!("global update-agent-data {data}")), "ok");
        if assigned_before {
            // The assignment comes before the key; an earlier one of the old agent does not count.
            assign(&mut database, "new", "web");
        }
        fs::write(&path, new).unwrap();
        duty.turn(&database).unwrap();
        let sql = "SELECT name || ' ' || internal_key AS a, `group` AS g, os_name, version, connection_status AS c, \
                   sync_status AS s, (SELECT count(*) FROM labels WHERE id = 1) AS l FROM agent WHERE id = 1";
        let [_, name, _, key] = new.trim_end().split(' ').collect::<Vec<_>>()[..] else { panic!("{new}") };
        let group = if assigned_before { r#""g":"web","# } else { "" };
        let expected = format!(r#"ok [{{"a":"{name} {key}",{group}"c":"never_connected","s":"synced","l":0}}]"#);
        assert_eq!(database.ask(&format!("global sql {sql}")), expected, "{new}");
        let belongs = if assigned_before { r#"ok ["web"]"# } else { "ok []" };
        assert_eq!(database.ask("global select-group-belong 1"), belongs, "{new}");
    }
}

#[test]
fn on_a_master_a_key_waits_for_the_registrar() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Master), Keys::new(path.clone(), true, Covered::default(), KEYLESS));
    fs::write(&path, keys([1])).unwrap();
    duty.turn(&database).unwrap();
    assert_eq!(database.ask("global select-agent-name 1"), "ok []");
    duty.turn(&database).unwrap();
    assert_eq!(database.ask("global select-agent-name 1"), r#"ok [{"name":"agent1"}]"#);
}

#[test]
fn removed_agents_comments_and_half_lines_are_no_agents_and_of_one_number_the_first_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let covered = Covered::default();
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Worker), Keys::new(path.clone(), false, covered.clone(), KEYLESS));
    let text = "004 d any k4\n001 web any k1\n# 9 x any k\n 8 x any k\n002 !old any k2\n003 db 10.0.0.0/8 k3 k4\n\
                x y z k\n4 d any k5\n4 a any\n0 m any k\n005 half any k";
    fs::write(&path, text).unwrap();
    duty.turn(&database).unwrap();
    let mut rows = || {
        let sql = "SELECT id || ' ' || name || ' ' || register_ip || ' ' || internal_key AS a FROM agent WHERE id > 0";
        database.ask(&format!("global sql {sql}"))
    };
    let expected = r#"ok [{"a":"1 web any k1"},{"a":"3 db 10.0.0.0/8 k3 k4"},{"a":"4 d any k4"}]"#;
    assert_eq!(rows(), expected);
    assert!(covered.is_at(&path).unwrap());
}

#[test]
fn what_the_registrar_has_written_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let covered = Covered::default();
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Master), Keys::new(path.clone(), true, covered.clone(), KEYLESS));
    let mut turns = |database: &Here| (0..2).for_each(|_| duty.turn(database).unwrap());
    fs::write(&path, keys(1..=2)).unwrap();
    turns(&database);
    // It would make a row for the third, and another for the fourth.
    let before = covered.get().unwrap();
    let write = |agents| {
        let text = keys(agents);
        fs::write(&path, &text).unwrap();
        Known::written(Stamp::of(&path).unwrap(), [text.as_bytes()].into_iter())
    };
    covered.follow(before, write(1..=3));
    turns(&database);
    assert_eq!(database.ask("global select-agent-name 3"), "ok []");
    // Somebody else's change is another matter, and so is one of a file that has no rows yet.
    covered.follow(before, write(1..=4));
    turns(&database);
    assert_eq!(
        [3, 4].map(|id| database.ask(&format!("global select-agent-name {id}"))),
        [3, 4].map(|id| format!(r#"ok [{{"name":"agent{id}"}}]"#))
    );
    assert!(covered.is_at(&path).unwrap());
}

/// Case 6.6: somebody edits the file within the tick in which the registrar has written it.
#[test]
fn an_edit_in_the_tick_of_the_registrars_own_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.keys");
    let covered = Covered::default();
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Worker), Keys::new(path.clone(), false, covered.clone(), KEYLESS));
    fake::on(Rc::new(fake::Coarse::new(60)), || {
        fs::write(&path, "001 web any k1\n").unwrap();
        duty.turn(&database).unwrap();
        let written = covered.get().unwrap();
        fs::write(&path, "001 web any k2\n").unwrap();
        assert_eq!(Stamp::of(&path).unwrap(), *written.stamp(), "nothing shows it");
        duty.turn(&database).unwrap();
    });
    assert!(database.ask("global get-agent-info 1").contains(r#""internal_key":"k2""#));
}

#[test]
fn groups_follow_the_folders_and_never_all_of_them_vanish() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    let (mut database, mut duty) = (Here::new(folder.path(), NodeType::Master), Folders::new(shared.clone(), None));
    let mut turn = |database: &mut Here| {
        duty.turn(database).unwrap();
        database.ask("global select-groups")
    };
    // The first time there is no group at all.
    fs::create_dir_all(shared.join("default")).unwrap();
    assert_eq!(turn(&mut database), r#"ok [{"name":"default"}]"#);
    for name in ["web", "db", "not a group"] {
        fs::create_dir_all(shared.join(name)).unwrap();
    }
    fs::write(shared.join("file"), "").unwrap();
    assert_eq!(turn(&mut database), r#"ok [{"name":"default"},{"name":"db"},{"name":"web"}]"#);
    fs::remove_dir(shared.join("db")).unwrap();
    for _ in 0..10 {
        assert!(turn(&mut database).contains("db"), "it may come back");
    }
    assert_eq!(turn(&mut database), r#"ok [{"name":"default"},{"name":"web"}]"#);
    fs::rename(&shared, folder.path().join("away")).unwrap();
    for _ in 0..30 {
        assert!(turn(&mut database).contains("web"));
    }
}

/// Case 6.2: a folder that is made within the tick of another is a group all the same, and folders that stay cost nothing.
#[test]
fn a_folder_that_leaves_no_trace_in_the_stamp_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    let (mut database, mut duty) = (Here::new(folder.path(), NodeType::Master), Folders::new(shared.clone(), None));
    let coarse = Rc::new(fake::Coarse::of_folders(60));
    fake::on(coarse, || {
        fs::create_dir_all(shared.join("a0")).unwrap();
        let before = Stamp::of(&shared).unwrap();
        duty.turn(&database).unwrap();
        fs::create_dir_all(shared.join("b0")).unwrap();
        assert_eq!(Stamp::of(&shared).unwrap(), before, "nothing shows it");
        duty.turn(&database).unwrap();
    });
    assert!(database.ask("global select-groups").contains("b0"));
    let mut turn = |database: &Here, seconds| {
        fake::on(Rc::new(fake::Later(seconds)), || duty.turn(database).unwrap());
    };
    turn(&database, 20);
    database.ask("global delete-group b0");
    turn(&database, 21);
    assert!(!database.ask("global select-groups").contains("b0"), "nobody looked");
}

/// Cases 4.6 and 6.2: whoever asks for a group whose folder was just made finds it, without a turn of housekeeping.
#[test]
fn a_group_is_one_from_the_instant_at_which_its_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    let (mut database, mut duty) = (Here::new(folder.path(), NodeType::Master), Folders::new(shared.clone(), None));
    database.0.shared = Some(shared.clone());
    let insert = |id: u32, group| format!(r#"global insert-agent {{"id":{id},"name":"a{id}","date_add":1{group}}}"#);
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("file"), "").unwrap();
    duty.turn(&database).unwrap();
    for (id, group) in [(1, ""), (2, r#","group":"late""#)] {
        database.ask(&insert(id, group));
    }
    let set = |group: &str| {
        format!(r#"global set-agent-groups {{"mode":"append","data":[{{"id":1,"groups":["{group}"]}}]}}"#)
    };
    for none in ["web", "file", "..", "no group"] {
        assert!(database.ask(&set(none)).starts_with("err "), "{none}");
    }
    assert_eq!(database.ask("global find-group web"), "ok []");

    for group in ["web", "late", "seen"] {
        fs::create_dir(shared.join(group)).unwrap();
    }
    assert_eq!(database.ask(&set("web")), "ok");
    assert_eq!(database.ask("global select-group-belong 1"), r#"ok ["web"]"#);
    assert!(database.ask("global find-group seen").starts_with(r#"ok [{"id":"#));
    let status = r#""connection_status":"active","sync_status":"synced""#;
    database.ask(&format!(r#"global update-keepalive {{"id":2,{status}}}"#));
    first::turn(&database).unwrap();
    assert_eq!(database.ask("global select-group-belong 2"), r#"ok ["late"]"#);
    // Housekeeping finds them there.
    let groups = database.ask("global select-groups");
    duty.turn(&database).unwrap();
    assert_eq!(database.ask("global select-groups"), groups);
}

#[test]
fn an_agent_that_connects_gets_the_groups_of_its_registration() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Here::new(folder.path(), NodeType::Master);
    for group in ["default", "web", "db"] {
        database.ask(&format!("global insert-agent-group {group}"));
    }
    let insert =
        |id: u32, group: &str| format!(r#"global insert-agent {{"id":{id},"name":"a{id}","date_add":1{group}}}"#);
    for (id, group) in [(1, r#","group":"db,web""#), (2, ""), (3, r#","group":"nosuch""#), (4, "")] {
        database.ask(&insert(id, group));
    }
    first::turn(&database).unwrap();
    for id in 1..=3 {
        let status = r#""connection_status":"active","sync_status":"synced""#;
        database.ask(&format!(r#"global update-keepalive {{"id":{id},{status}}}"#));
    }
    first::turn(&database).unwrap();
    let mut groups = |id| database.ask(&format!("global select-group-belong {id}"));
    assert_eq!(
        [1, 2, 3, 4].map(&mut groups),
        [r#"ok ["db","web"]"#, r#"ok ["default"]"#, r#"ok ["default"]"#, "ok []"]
    );
    let changes = database.ask(r#"global sync-agent-groups-get {"condition":"sync_status"}"#);
    assert!(changes.contains(r#"{"id":1,"name":"a1","groups":["db","web"]}"#), "{changes}");
}

/// Of case 6.9: an error in the middle of a batch.
#[test]
fn an_agent_that_cannot_be_assigned_keeps_no_other_waiting_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Here::new(folder.path(), NodeType::Master);
    database.ask("global insert-agent-group default");
    let connect = |database: &mut Here, id: u32| {
        database.ask(&format!(r#"global insert-agent {{"id":{id},"name":"a{id}","date_add":1}}"#));
        let status = r#""connection_status":"active","sync_status":"synced""#;
        database.ask(&format!(r#"global update-keepalive {{"id":{id},{status}}}"#));
    };
    let groups = |database: &mut Here| {
        [1, 2, 3].map(|id| database.ask(&format!("global select-group-belong {id}")) == r#"ok ["default"]"#)
    };
    // The first look is at all rows.
    first::turn(&database).unwrap();
    for (refuses, then) in [
        // One statement fails, and the transaction goes on.
        (
            "BEFORE INSERT ON belongs WHEN new.id_agent = 2 BEGIN SELECT raise(ABORT, 'as ordered'); END",
            [true, false, true],
        ),
        // The whole transaction is gone, as with a full disk.
        ("BEFORE INSERT ON belongs WHEN new.id_agent = 2 BEGIN SELECT raise(ROLLBACK, 'as ordered'); END", [false; 3]),
    ] {
        [1, 2, 3].iter().for_each(|id| connect(&mut database, *id));
        database
            .0
            .as_own(|connection| connection.execute_batch(&format!("CREATE TEMP TRIGGER broken {refuses}")).unwrap());
        let _ = first::turn(&database);
        assert_eq!(groups(&mut database), then);
        database.0.as_own(|connection| connection.execute_batch("DROP TRIGGER broken").unwrap());
        first::turn(&database).unwrap();
        assert_eq!(groups(&mut database), [true; 3], "nobody is forgotten");
        [1, 2, 3].iter().for_each(|id| drop(database.ask(&format!("global delete-agent {id}"))));
    }
}

/// Case 3.8: a group of the master is one on a worker, whatever its folder holds there.
#[test]
fn on_a_worker_a_group_with_agents_has_a_folder_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir_all(shared.join("default")).unwrap();
    let kept = GroupFolders::new(shared.clone(), None);
    let (mut database, mut duty) =
        (Here::new(folder.path(), NodeType::Worker), Folders::new(shared.clone(), Some(kept)));
    duty.turn(&database).unwrap();
    // The master tells of a group whose folder is empty there.
    let assign = |database: &mut Here, groups: &str| {
        let data = format!(r#"{{"mode":"override","data":[{{"id":1,"name":"a","groups":[{groups}]}}]}}"#);
        database.ask(&format!("global set-agent-groups {data}"))
    };
    GroupFolders::new(shared.clone(), None).make(["web"]);
    assert_eq!(assign(&mut database, r#""default","web""#), "ok");
    assert_eq!(database.ask("global select-group-belong 1"), r#"ok ["default","web"]"#);
    duty.turn(&database).unwrap();
    for _ in 0..3 {
        // An update has deleted the last file of the group, and its folder.
        fs::remove_dir(shared.join("web")).unwrap();
        for _ in 0..12 {
            duty.turn(&database).unwrap();
        }
        assert!(shared.join("web").is_dir());
        assert_eq!(database.ask("global select-group-belong 1"), r#"ok ["default","web"]"#);
    }
    // The master has removed it.
    assert_eq!(assign(&mut database, r#""default""#), "ok");
    fs::remove_dir(shared.join("web")).unwrap();
    for _ in 0..12 {
        duty.turn(&database).unwrap();
    }
    assert_eq!(database.ask("global select-groups"), r#"ok [{"name":"default"}]"#);
    assert!(!shared.join("web").exists());
    assert!(assign(&mut database, r#""..""#).starts_with("err "), "a name that leads out is none");
}

/// Case 4.15: no program and no node is there to tell that these agents are gone.
#[test]
fn agents_that_are_silent_for_too_long_are_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = FakeClock::new();
    let mut database = Here(Database::open(&folder.path().join("global.db"), NodeType::Master, clock.clone()).unwrap());
    let scope = scope("Cluster", "Agent database");
    for id in 1..=2_500 {
        database.ask(&format!(r#"global insert-agent {{"id":{id},"name":"a{id}","date_add":1}}"#));
    }
    let says = |database: &mut Here, id: u32, status: &str| {
        let told = format!(r#"{{"id":{id},"connection_status":"{status}","sync_status":"synced"}}"#);
        assert_eq!(database.ask(&format!("global update-keepalive {told}")), "ok");
    };
    (1..=2_498).for_each(|id| says(&mut database, id, "active"));
    says(&mut database, 2_499, "pending");
    let count = |database: &mut Here| {
        database.ask("global sql SELECT count(*) AS n FROM agent WHERE connection_status = 'disconnected'")
    };
    let limit = Duration::from_secs(900);
    let mut duty = Silent::new(limit, clock.now());
    let mut turn = |database: &Here| duty.turn(database, clock.now(), &scope).unwrap();
    for _ in 0..15 {
        turn(&database);
        hand.advance(Duration::from_secs(60));
        says(&mut database, 7, "active");
    }
    turn(&database);
    assert_eq!(count(&mut database), r#"ok [{"n":0}]"#, "they have been silent for the time, and not for longer");
    hand.advance(Duration::from_secs(60));
    turn(&database);
    assert_eq!(count(&mut database), r#"ok [{"n":2498}]"#);
    let row = |database: &mut Here, id| {
        database.ask(&format!(
            "global sql SELECT connection_status AS c, disconnection_time > 0 AS d, status_code AS s FROM agent
             WHERE id = {id}"
        ))
    };
    for (id, expected) in [
        (0, r#"ok [{"c":"active","d":0,"s":0}]"#),
        (1, r#"ok [{"c":"disconnected","d":1,"s":4}]"#),
        (7, r#"ok [{"c":"active","d":0,"s":0}]"#),
        (2_499, r#"ok [{"c":"disconnected","d":1,"s":4}]"#),
        (2_500, r#"ok [{"c":"never_connected","d":0,"s":0}]"#),
    ] {
        assert_eq!(row(&mut database, id), expected, "{id}");
    }
}

#[test]
fn a_group_that_could_not_be_removed_when_its_folder_was_gone_is_removed_later() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir_all(shared.join("default")).unwrap();
    // A look at the folders is one piece of work, the removal another.
    let mut database = Ends(Here::new(folder.path(), NodeType::Master), Cell::new(11));
    database.0.ask("global insert-agent-group web");
    let mut duty = Folders::new(shared, None);
    for _ in 0..10 {
        duty.turn(&database).unwrap();
    }
    assert!(duty.turn(&database).is_err());
    assert!(database.0.ask("global select-groups").contains("web"));
    database.1.set(2);
    duty.turn(&database).unwrap();
    assert_eq!(database.0.ask("global select-groups"), r#"ok [{"name":"default"}]"#);
}

#[test]
fn after_a_panic_all_is_done_anew() {
    let (clock, _hand) = FakeClock::new();
    let turns = Turns::uncounted(scope("a", "b"), &clock);
    let mut duties = Duties { instance: Some(1), folders: None, keys: None, assigns: false, silent: None };
    duties.run(&turns, |_| Err("as ordered".into()));
    assert_eq!(duties.instance, Some(1));
    duties.run(&turns, |_| panic!("as ordered"));
    assert_eq!(duties.instance, None);
}

/// What the scan of a node does.
fn scan(path: &Path, outlines: &Outlines) {
    let mut outliner = Outliner::new(outlines.last(KEYS));
    outliner.update(&fs::read(path).unwrap());
    outlines.keep(&KEYS.into(), Arc::new(outliner.finish()), Stamp::of(path).unwrap());
}

/// Agents by number, with what tells the key of one from that of another.
fn long_keys(agents: &[(u32, u32)]) -> String {
    agents.iter().map(|(id, n)| format!("{id:03} agent{id} any {n:0>8}{id:0>40}\n")).collect()
}

fn all_rows(database: &mut Here) -> String {
    database.ask("global sql SELECT group_concat(id || name || internal_key) AS a FROM agent WHERE id > 0")
}

/// A node whose scan knows the file, and how much of the database it looks at.
struct Indexed {
    folder: tempfile::TempDir,
    database: Ends,
    outlines: Arc<Outlines>,
    duty: Keys,
}

impl Indexed {
    /// A worker.
    fn new() -> Self {
        Self::of(NodeType::Worker, &Covered::default())
    }

    fn of(role: NodeType, covered: &Covered) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outlines = Arc::new(Outlines::new(1));
        let (path, waits) = (folder.path().join("client.keys"), role == NodeType::Master);
        let duty = Keys::new(path, waits, covered.clone(), KEYLESS).with_outlines(Some(outlines.clone()));
        let database = Ends(Here::new(folder.path(), role), Cell::new(usize::MAX));
        Self { folder, database, outlines, duty }
    }

    /// How often another turn asks the database.
    fn again(&mut self) -> usize {
        let before = self.database.1.get();
        self.duty.turn(&self.database).unwrap();
        before - self.database.1.get()
    }

    /// Gives how often the database was asked.
    fn becomes(&mut self, text: &str) -> usize {
        let path = self.folder.path().join("client.keys");
        fs::write(self.folder.path().join("new"), text).unwrap();
        fs::rename(self.folder.path().join("new"), &path).unwrap();
        scan(&path, &self.outlines);
        self.again()
    }

    fn rows(&mut self) -> String {
        all_rows(&mut self.database.0)
    }
}

#[test]
fn on_a_worker_no_more_is_compared_than_what_has_changed() {
    let mut worker = Indexed::new();
    let mut agents: Vec<(u32, u32)> = (1..=6_000).map(|id| (id, 0)).collect();
    assert!(worker.becomes(&long_keys(&agents)) >= 7, "all of them");
    for change in 0..6 {
        match change {
            0 => agents.push((6_001, 0)),
            1 => _ = agents.remove(3_000),
            2 => agents[10].1 = 1,
            3 => agents[5_990].1 = 1,
            4 => agents.insert(3_000, (3_001, 0)),
            // Of one number the first counts.
            _ => agents.push((17, 5)),
        }
        let asked = worker.becomes(&long_keys(&agents));
        assert!(change == 5 || asked <= 4, "{change}: {asked}");
        let mut fresh = Indexed::new();
        fresh.becomes(&long_keys(&agents));
        assert_eq!(worker.rows(), fresh.rows(), "{change}");
    }
    assert_eq!(worker.becomes(&long_keys(&agents)), 0, "another file with this content");
    // What the scan has not looked at yet is left to the next turn, and then all is compared.
    fs::write(worker.folder.path().join("client.keys"), long_keys(&agents[1..])).unwrap();
    let before = worker.database.1.get();
    worker.duty.turn(&worker.database).unwrap();
    assert_eq!(worker.database.1.get(), before);
    worker.duty.turn(&worker.database).unwrap();
    assert!(before - worker.database.1.get() >= 7);
    assert!(worker.rows().contains("2agent2000") && !worker.rows().contains("\"1agent1000"));
}

#[test]
fn on_a_master_that_waits_for_the_registrar_too() {
    let covered = Covered::default();
    let mut master = Indexed::of(NodeType::Master, &covered);
    let has = |master: &mut Indexed, id: u32| {
        master.database.0.ask(&format!("global select-agent-name {id}")) == format!(r#"ok [{{"name":"agent{id}"}}]"#)
    };
    let mut agents: Vec<(u32, u32)> = (1..=6_000).map(|id| (id, 0)).collect();
    assert_eq!(master.becomes(&long_keys(&agents)), 0, "the registrar is first");
    assert!(master.again() >= 7, "all of them");
    agents.push((6_001, 0));
    assert_eq!(master.becomes(&long_keys(&agents)), 0);
    assert!(!has(&mut master, 6_001));
    assert!((1..=4).contains(&master.again()) && has(&mut master, 6_001));
    assert_eq!(master.again(), 0);
    // The registrar has made the rows of so many that looking at the difference is not worth it.
    let more: Vec<(u32, u32)> = (1..=20_000).map(|id| (id, 1)).collect();
    master.becomes(&long_keys(&more));
    let path = master.folder.path().join("client.keys");
    covered.set(Some(Known::written(Stamp::of(&path).unwrap(), [long_keys(&more).as_bytes()].into_iter())));
    assert_eq!(master.again(), 0);
    assert!(!has(&mut master, 20_000));
    // From there on it goes by differences again.
    agents = more;
    agents.push((20_001, 0));
    master.becomes(&long_keys(&agents));
    assert!((1..=4).contains(&master.again()) && has(&mut master, 20_001));
}

#[test]
fn many_that_vanish_at_once_wait_also_where_only_some_are_compared() {
    let mut worker = Indexed::new();
    worker.becomes(&long_keys(&(1..=4_000).map(|id| (id, 0)).collect::<Vec<_>>()));
    let before = worker.rows();
    worker.becomes(&long_keys(&(1..=10).map(|id| (id, 0)).collect::<Vec<_>>()));
    assert_eq!(worker.rows(), before);
    (0..10).for_each(|_| worker.duty.turn(&worker.database).unwrap());
    assert!(worker.rows().len() < 1_000);
    // A few neighbours are not many.
    worker.becomes(&long_keys(&(1..=4_000).map(|id| (id, 0)).collect::<Vec<_>>()));
    worker.becomes(&long_keys(&(1..=2_000).chain(2_101..=4_000).map(|id| (id, 0)).collect::<Vec<_>>()));
    assert!(!worker.rows().contains(",2050agent"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever changes, the rows are those of who compares all.
    #[test]
    fn rows_are_those_of_the_file_however_it_changes(
        edits in prop::collection::vec((0usize..20_000, 0usize..400, "[0-9a-z !#\n]{0,60}"), 1..6),
    ) {
        let mut worker = Indexed::new();
        let mut text = long_keys(&(1..=300).map(|id| (id, 0)).collect::<Vec<_>>());
        worker.becomes(&text);
        for (at, less, more) in edits {
            let at = at.min(text.len());
            text.replace_range(at..(at + less).min(text.len()), &more);
            worker.becomes(&text);
            let mut fresh = Indexed::new();
            fresh.becomes(&text);
            prop_assert_eq!(worker.rows(), fresh.rows());
        }
    }
}
