//! Registrations from the request to the last row, on both kinds of agent database and on bad days. The stock daemon's own
//! cases are run through the socket, in `tests/programs/registration.rs`.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::never;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Backend as _,
    answer::Refusal,
    embedded::Embedded,
    journal::TellState,
    registrar::{Hearers, Registrar, SLICE, Setup},
    request::Request,
    rows::PAUSE,
};
use crate::{
    agents::{
        Backend, Covered, Error, Reply, Store, TakenInfo,
        embedded::{self, server::Servers},
        wazuh_db::WazuhDb,
    },
    config::{Auth, Force, Home, NodeType},
    system::{
        clock::{Clock, FakeClock},
        disk::Disk,
        known::Known,
        shutdown::{self, Shutdown, Trigger},
        thread::Group,
    },
};

mod faults;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

/// An agent database with its thread, and a home.
struct Fixture {
    folder: TempDir,
    home: Home,
    database: embedded::Embedded,
    threads: Group,
    trigger: Option<Trigger>,
    order: Shutdown,
    clock: Clock,
    hand: FakeClock,
    auth: Auth,
    changes: Arc<AtomicUsize>,
    covered: Covered,
    /// What makes a blocked accept return, if the database is served.
    stop: Vec<Box<dyn FnOnce()>>,
}

impl Fixture {
    /// With the groups `default`, `web` and `db`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "etc/shared/default",
            "etc/shared/web",
            "etc/shared/db",
            "queue/cluster-state",
            "queue/db",
            "queue/diff",
            "queue/rids",
        ] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let home = Home::new(folder.path());
        let (trigger, order) = shutdown::channel();
        let (clock, hand) = FakeClock::new();
        let (database, owner) =
            embedded::Embedded::new(home.agent_database(), NodeType::Master, clock.clone(), order.clone());
        let threads = Group::new(8);
        owner.start(&threads).unwrap();
        let fixture = Self {
            folder,
            home,
            database,
            threads,
            trigger: Some(trigger),
            order,
            clock,
            hand,
            auth: Auth::default(),
            changes: Arc::default(),
            covered: Covered::default(),
            stop: Vec::new(),
        };
        for group in ["default", "web", "db"] {
            fixture.database.query(&format!("global insert-agent-group {group}")).unwrap();
        }
        fixture
    }

    /// The registrar of a process that starts now.
    fn registrar(&self, store: Store) -> Registrar {
        let changes = self.changes.clone();
        let changed = Box::new(move |_| _ = changes.fetch_add(1, Ordering::SeqCst));
        let (home, auth, clock) = (self.home.clone(), self.auth.clone(), self.clock.clone());
        let hearers = Hearers { covered: self.covered.clone(), outlines: None, changed };
        let (disk, order) = (Disk::new(), self.order.clone());
        Registrar::new(Setup { home, auth, store, clock, disk, order, floor: 0, candidate: None }, never(), hearers)
    }

    fn store(&self) -> Store {
        Store::new(self.database.clone())
    }

    /// The same database as the stock daemon would serve it.
    fn external(&mut self) -> Store {
        let servers = Servers::bind(&self.home).unwrap();
        self.stop.push(Box::new(servers.stopper().unwrap()));
        servers.start(self.database.clone(), &Clock::real(), &self.order, &self.threads).unwrap();
        Store::new(WazuhDb::new(&self.home, LONG, &self.order))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn keys(&self) -> String {
        self.read("etc/client.keys")
    }

    /// All that the database knows of an agent; null if that is nothing.
    fn row(&self, id: u32) -> Value {
        let Ok(Reply::Ok(rows)) = self.database.query(&format!("global get-agent-info {id}")) else {
            panic!("no answer")
        };
        serde_json::from_str::<Value>(&rows).unwrap()[0].clone()
    }

    fn wall(&self) -> u64 {
        self.clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.trigger.take());
        self.stop.drain(..).for_each(|stop| stop());
        assert_eq!(self.threads.join(Instant::now() + LONG), 0);
    }
}

/// A database that nobody serves.
struct Away;

impl Backend for Away {
    fn query(&self, _: &str) -> Result<Reply, Error> {
        Err(Error::Unavailable("as ordered".to_owned()))
    }
    fn take_info(&self) -> Result<TakenInfo, Error> {
        Err(Error::Unavailable("as ordered".to_owned()))
    }
    fn store_info(&self, _: &str) -> Result<Option<usize>, Error> {
        Err(Error::Unavailable("as ordered".to_owned()))
    }
}

/// A database that takes its time.
struct Slow(embedded::Embedded, FakeClock, Duration);

impl Backend for Slow {
    fn query(&self, request: &str) -> Result<Reply, Error> {
        self.1.advance(self.2);
        self.0.query(request)
    }
    fn take_info(&self) -> Result<TakenInfo, Error> {
        self.0.take_info()
    }
    fn store_info(&self, report: &str) -> Result<Option<usize>, Error> {
        self.0.store_info(report)
    }
}

fn away() -> Store {
    Store::new(Away)
}

/// Asks for several things at the same instant.
fn ask_all(registrar: &mut Registrar, requests: &[&str]) -> Vec<String> {
    let requests: Vec<Request> = requests.iter().map(|text| Request::parse(text).unwrap()).collect();
    let (answers, _) = registrar.answers(&requests.iter().collect::<Vec<_>>());
    answers.into_iter().map(|answer| String::from_utf8(answer).unwrap()).collect()
}

fn ask(registrar: &mut Registrar, request: &str) -> String {
    ask_all(registrar, &[request]).remove(0)
}

fn add(name: &str, more: &str) -> String {
    format!(r#"{{"function":"add","arguments":{{"name":"{name}","ip":"any"{more}}}}}"#)
}

fn remove(id: &str) -> String {
    format!(r#"{{"function":"remove","arguments":{{"id":"{id}"}}}}"#)
}

const FREE: &str = r#","force":{"enabled":true,"key_mismatch":false,"disconnected_time":{"enabled":false,"value":0},"after_registration_time":0}"#;

fn refused(refusal: Refusal) -> String {
    String::from_utf8(refusal.answer()).unwrap()
}

#[test]
fn what_is_answered_stands_in_every_place() {
    for external in [false, true] {
        let mut fixture = Fixture::new();
        let store = if external { fixture.external() } else { fixture.store() };
        let mut registrar = fixture.registrar(store);
        let answers = ask_all(
            &mut registrar,
            &[
                &add("web1", r#","groups":"web,db","key":"k1""#),
                r#"{"function":"add","arguments":{"name":"net","ip":"10.1.0.0/255.255.0.0","key":"k2"}}"#,
                r#"{"function":"get","arguments":{"id":"2"}}"#,
            ],
        );
        assert_eq!(
            answers,
            [
                r#"{"error":0,"data":{"id":"001","name":"web1","ip":"any","key":"k1"}}"#,
                r#"{"error":0,"data":{"id":"002","name":"net","ip":"10.1.0.0/16","key":"k2"}}"#,
                r#"{"error":0,"data":{"id":"002","name":"net","ip":"10.1.0.0","key":"k2"}}"#,
            ]
        );
        assert_eq!(fixture.keys(), "001 web1 any k1\n002 net 10.1.0.0/16 k2\n");
        let stamps = fixture.read("queue/agents-timestamp");
        assert!(stamps.starts_with("001 web1 any 2") && stamps.contains("\n002 net 10.1.0.0/16 2"), "{stamps}");
        assert_eq!(fixture.changes.load(Ordering::SeqCst), 1, "one change for all who waited");
        let (web, net) = (fixture.row(1), fixture.row(2));
        for (column, value) in [("name", "web1"), ("register_ip", "any"), ("internal_key", "k1"), ("group", "web,db")] {
            assert_eq!(web[column], value, "{column}");
        }
        assert_eq!((&web["group_sync_status"], web["date_add"].as_u64()), (&"syncreq".into(), Some(fixture.wall())));
        assert_eq!((&net["register_ip"], net.get("group")), (&"10.1.0.0".into(), None));

        // What an agent leaves in folders goes with it, its line stays with a mark.
        fs::create_dir(fixture.path("queue/diff/web1")).unwrap();
        fs::write(fixture.path("queue/rids/001"), "").unwrap();
        let request = Request::parse(&remove("1")).unwrap();
        let (answers, removed) = registrar.answers(&[&request]);
        assert_eq!(answers, [super::answer::removed()]);
        assert_eq!(removed.len(), 1);
        assert_eq!(fixture.keys(), "002 net 10.1.0.0/16 k2\n001 !web1 any k1\n");
        assert!(!fixture.read("queue/agents-timestamp").contains("web1"));
        assert_eq!(fixture.row(1), Value::Null);
        assert_eq!(ask(&mut registrar, &remove("001")), refused(Refusal::UnknownId));

        // The journal is there until the database has certainly written it.
        assert!(fixture.read("queue/cluster-state/agents-pending").lines().count() >= 2);
        assert!(!fixture.read("queue/cluster-state/agents-pending").contains("k1"), "keys are not in it");
        fixture.hand.advance(Duration::from_secs(130));
        registrar.idle();
        assert!(!fixture.path("queue/cluster-state/agents-pending").exists());
    }
}

#[test]
fn one_that_is_killed_between_the_files_and_the_rows_leaves_nothing_undone() {
    for external in [false, true] {
        let mut fixture = Fixture::new();
        let store = if external { fixture.external() } else { fixture.store() };
        let mut first = fixture.registrar(store.clone());
        ask_all(&mut first, &[&add("old1", r#","groups":"web""#), &add("old2", ""), &add("old3", r#","groups":"db""#)]);
        fs::create_dir(fixture.path("queue/diff/old2")).unwrap();
        fixture.hand.advance(Duration::from_secs(200));
        first.idle();
        drop(first);

        // It writes the files, and ends before the database knows.
        let mut killed = fixture.registrar(away());
        let answers = ask_all(
            &mut killed,
            &[
                &add("new", r#","groups":"web,db""#),
                &remove("002"),
                &remove("003"),
                &add("new3", r#","groups":"web","id":"003""#),
            ],
        );
        assert!(answers.iter().all(|answer| answer.starts_with(r#"{"error":0"#)), "{answers:?}");
        let keys = fixture.keys();
        drop(killed);
        assert_eq!((fixture.row(4), &fixture.row(2)["name"]), (Value::Null, &"old2".into()));

        let mut next = fixture.registrar(store.clone());
        next.recover();
        assert_eq!(fixture.keys(), keys);
        assert_eq!((&fixture.row(4)["name"], &fixture.row(4)["group"]), (&"new".into(), &"web,db".into()));
        assert_eq!(fixture.row(2), Value::Null);
        assert_eq!((&fixture.row(3)["name"], &fixture.row(3)["group"]), (&"new3".into(), &"web".into()));
        assert_eq!(fixture.row(1)["group"], "web");
        assert!(!fixture.path("queue/diff/old2").exists());

        // Killed again: what is done twice changes nothing that was done since.
        drop(next);
        let set = r#"global set-agent-groups {"mode":"override","data":[{"id":4,"groups":["default"]}]}"#;
        fixture.database.query(set).unwrap();
        fixture.registrar(store).recover();
        assert_eq!(fixture.row(4)["group"], "default");
    }
}

#[test]
fn groups_come_to_a_row_that_was_made_from_the_keys_alone() {
    let fixture = Fixture::new();
    let mut killed = fixture.registrar(away());
    ask(&mut killed, &add("new", r#","groups":"web,db","key":"k""#));
    drop(killed);
    // Housekeeping is first at the next start.
    fixture.database.query(r#"global insert-agent {"id":1,"name":"new","internal_key":"k","date_add":1}"#).unwrap();
    fixture.registrar(fixture.store()).recover();
    assert_eq!(fixture.row(1)["group"], "web,db");
}

#[test]
fn one_that_is_killed_before_client_keys_has_done_nothing() {
    let fixture = Fixture::new();
    ask_all(&mut fixture.registrar(fixture.store()), &[&add("aa", ""), &add("bb", "")]);
    fs::create_dir(fixture.path("queue/diff/aa")).unwrap();
    fs::write(
        fixture.path("queue/cluster-state/agents-pending"),
        "- 001 aa\n+ 003 0123 1700000000 web\n+ 002 4567 1700000000 db\n",
    )
    .unwrap();
    fixture.registrar(fixture.store()).recover();
    assert_eq!(fixture.row(1)["name"], "aa");
    assert_eq!((fixture.row(3), fixture.row(2).get("group")), (Value::Null, None));
    assert!(fixture.path("queue/diff/aa").exists());
}

#[test]
fn nobody_waits_for_what_an_earlier_run_has_left() {
    let mut fixture = Fixture::new();
    let (clock, hand) = FakeClock::new();
    fixture.clock = clock;
    let mut before = fixture.registrar(away());
    for name in ["aa", "bb", "cc", "dd"] {
        assert!(ask(&mut before, &add(name, r#","groups":"web""#)).starts_with(r#"{"error":0"#));
    }
    drop(before);
    let known = || (1..=5).filter(|id| !fixture.row(*id).is_null()).collect::<Vec<_>>();
    let slow = Slow(fixture.database.clone(), hand, SLICE);
    let mut registrar = fixture.registrar(Store::new(slow));
    registrar.recover();
    assert_eq!(known(), [1], "the rest follows in its turn");
    assert!(ask(&mut registrar, &add("ee", r#","groups":"db""#)).contains(r#""id":"005""#));
    assert_eq!(known(), [1, 5], "who is answered has waited for nobody else");
    for expected in [&[1, 2, 5][..], &[1, 2, 3, 5], &[1, 2, 3, 4, 5]] {
        registrar.idle();
        assert_eq!(known(), expected);
    }
    registrar.idle();
    assert!(registrar.journal.is_told() && fixture.row(4)["group"] == "web");
}

#[test]
fn a_database_that_is_away_or_refuses_is_told_later() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("etc/shared/fresh")).unwrap();
    let mut registrar = fixture.registrar(fixture.store());
    // The folder is there and the database does not know the group yet.
    assert!(ask(&mut registrar, &add("new", r#","groups":"fresh""#)).starts_with(r#"{"error":0"#));
    assert_eq!(fixture.row(1)["name"], "new");
    assert!(fixture.database.query("global select-group-belong 1").unwrap() == Reply::Ok("[]".to_owned()));
    fixture.database.query("global insert-agent-group fresh").unwrap();
    registrar.idle();
    assert!(matches!(registrar.journal.entries[0].state, TellState::Due(_)), "not at once");
    fixture.hand.advance(PAUSE);
    registrar.idle();
    assert_eq!(fixture.row(1)["group"], "fresh");

    // One that stays wrong is given up.
    fs::create_dir(fixture.path("etc/shared/other")).unwrap();
    ask(&mut registrar, &add("odd", r#","groups":"other""#));
    for _ in 0..30 {
        fixture.hand.advance(PAUSE);
        registrar.idle();
    }
    assert!(registrar.journal.entries.iter().all(|pending| !pending.is_due(fixture.clock.now())));
    fixture.hand.advance(Duration::from_secs(130));
    registrar.idle();
    assert!(registrar.journal.entries.is_empty() && !fixture.path("queue/cluster-state/agents-pending").exists());

    // Without a database nobody is replaced, and everybody else is registered.
    let mut alone = fixture.registrar(away());
    assert_eq!(ask(&mut alone, &add("new", FREE)), refused(Refusal::DuplicateName));
    assert!(ask(&mut alone, &add("more", "")).contains(r#""id":"003""#));
    assert_eq!(fixture.row(3), Value::Null);
}

#[test]
fn housekeeping_is_spared_a_change_whose_rows_are_made() {
    let fixture = Fixture::new();
    let path = fixture.path("etc/client.keys");
    let now = || {
        Some(Known::read(&fs::File::open(&path).unwrap(), |file| std::io::copy(file, &mut std::io::sink())).unwrap().0)
    };
    let is_covered = || fixture.covered.is_at(&path).unwrap();
    fs::write(fixture.path("etc/client.keys"), "001 there any k\n").unwrap();
    let mut registrar = fixture.registrar(fixture.store());
    ask(&mut registrar, &add("early", ""));
    assert!(!is_covered(), "nobody has looked at the rest of the file");
    fixture.covered.set(now());
    ask_all(&mut registrar, &[&add("new", ""), &remove("001")]);
    assert!(is_covered());

    // A line without an end: to others this is no agent, and now it becomes one.
    let keys = fixture.keys();
    fs::write(fixture.path("etc/client.keys"), keys.trim_end()).unwrap();
    fixture.covered.set(now());
    ask(&mut registrar, &add("more", ""));
    assert!(!is_covered());
    fixture.covered.set(now());
    ask(&mut registrar, &add("most", ""));
    assert!(is_covered());

    // The row is not made yet.
    let mut alone = fixture.registrar(away());
    ask(&mut alone, &add("alone", ""));
    assert!(!is_covered());
}

#[test]
fn a_database_that_hangs_costs_one_wait() {
    const LIMIT: Duration = Duration::from_millis(300);
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.path("queue/db")).unwrap();
    // It accepts by itself, and nobody reads.
    let _silent = std::os::unix::net::UnixListener::bind(fixture.home.agent_database_socket()).unwrap();
    let mut registrar = fixture.registrar(Store::new(WazuhDb::new(&fixture.home, LIMIT, &fixture.order)));
    let begun = Instant::now();
    for number in 0..50 {
        let answer = ask(&mut registrar, &add(&format!("agent{number}"), r#","groups":"web""#));
        assert!(answer.starts_with(r#"{"error":0"#), "{answer}");
    }
    assert!(begun.elapsed() < 20 * LIMIT, "{:?}", begun.elapsed());
    assert_eq!(fixture.keys().lines().count(), 50);
    drop(registrar);
    // When it is back, all come to it.
    fixture.registrar(fixture.store()).recover();
    assert_eq!((&fixture.row(1)["group"], &fixture.row(50)["group"]), (&"web".into(), &"web".into()));
}

#[test]
fn the_configuration_decides_where_the_request_does_not() {
    let mut fixture = Fixture::new();
    let force = Force { disconnected_time: None, after_registration_time: 0, ..Force::default() };
    fixture.auth = Auth { purge: true, force };
    let mut registrar = fixture.registrar(fixture.store());
    ask(&mut registrar, &add("web", r#","key":"k1""#));
    let hash = super::key::hash("001", "web", "k1");
    let proof = format!(r#","key_hash":"{hash}""#);
    assert_eq!(ask(&mut registrar, &add("web", &proof)), refused(Refusal::DuplicateName));
    assert!(ask(&mut registrar, &add("web", r#","key":"k2""#)).contains(r#""id":"002""#));
    assert_eq!(fixture.keys(), "002 web any k2\n", "the configuration purges");
    // The same id again: the row is that of the new agent.
    assert!(ask(&mut registrar, &add("other", r#","key":"k3","id":"2""#)).contains(r#""id":"2""#));
    assert_eq!(fixture.keys(), "2 other any k3\n");
    assert_eq!((&fixture.row(2)["name"], &fixture.row(2)["internal_key"]), (&"other".into(), &"k3".into()));
    // At once: an agent that comes and goes, and one that takes the place of another that was not there before.
    let both = ask_all(&mut registrar, &[&add("brief", ""), &remove("003"), &add("twin", FREE), &add("twin", FREE)]);
    assert_eq!(both[3], refused(Refusal::DuplicateName), "the database does not know the first yet");
    assert_eq!((fixture.row(3), &fixture.row(4)["name"]), (Value::Null, &"twin".into()));
    assert!(!fixture.read("queue/agents-timestamp").contains("brief"));
    let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
    if super::request::is_name(&own) {
        assert_eq!(ask(&mut registrar, &add(&own, "")), refused(Refusal::DuplicateName));
    }
}

#[test]
fn of_many_at_once_each_gets_its_own_id_and_of_equal_names_one_wins() {
    let fixture = Fixture::new();
    fs::write(fixture.path("etc/client.keys"), "001 there any k\n").unwrap();
    let (embedded, work) = Embedded::master(Auth::default(), fixture.order.clone());
    let (home, store, clock, order) = (fixture.home.clone(), fixture.store(), Clock::real(), fixture.order.clone());
    let hearers = Hearers { covered: Covered::default(), outlines: None, changed: Box::new(|_| {}) };
    let registrar = Registrar::new(
        Setup { home, auth: Auth::default(), store, clock, disk: Disk::new(), order, floor: 0, candidate: None },
        work,
        hearers,
    );
    fixture.threads.spawn("registrar", move || registrar.run()).unwrap();
    let errors = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (embedded, errors) = (&embedded, &errors);
            scope.spawn(move || {
                for number in 0..10 {
                    let own = embedded.begin(add(&format!("own-{client}-{number}"), "").as_bytes())().unwrap();
                    assert!(own.starts_with(br#"{"error":0"#), "{}", String::from_utf8_lossy(&own));
                    let shared = embedded.begin(add(&format!("shared-{number}"), "").as_bytes())().unwrap();
                    errors.fetch_add(usize::from(shared == Refusal::DuplicateName.answer()), Ordering::SeqCst);
                }
            });
        }
        // Meanwhile a person writes, too, and nothing of that is lost. Ten times in a row would be too often (`ATTEMPTS`).
        for number in 0..9 {
            let path = fixture.path("etc/client.keys");
            // Far from each other: the registrar goes on from the highest.
            let line = format!("{} hand-{number} any k\n", 900_000 + 1_000 * number);
            let appended = fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| {
                use std::io::Write;
                file.write_all(line.as_bytes())
            });
            appended.unwrap();
            std::thread::yield_now();
        }
    });
    assert_eq!(errors.load(Ordering::SeqCst), 150, "of sixteen with the same name one wins");
    let keys = fixture.keys();
    let part = |at: usize| {
        let mut parts: Vec<&str> = keys.lines().map(|line| line.split(' ').nth(at).unwrap()).collect();
        parts.sort_unstable();
        let all = parts.len();
        parts.dedup();
        (all, parts.len())
    };
    // What is appended to a file in the instant in which that is replaced goes with it.
    let hands = keys.lines().filter(|line| line.contains(" hand-")).count();
    assert!(hands > 0);
    assert_eq!((part(0), part(1)), ((171 + hands, 171 + hands), (171 + hands, 171 + hands)));
}
