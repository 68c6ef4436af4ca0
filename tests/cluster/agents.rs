//! Agents: what workers tell the master of them, and which groups the master tells the workers of.

use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use clusterd::{
    config::NodeType,
    system::clock::{Clock, FakeClock},
};
use serde_json::{Value, json};

use crate::support::{
    Database, Node, RawPeer, SECOND, TestHome, advance_until, eventually, fake_database, median, report,
    silent_database,
};

/// A home with agents in client.keys and groups in etc/shared.
fn home(agents: std::ops::RangeInclusive<u32>) -> TestHome {
    let home = TestHome::new();
    let keys: String = agents.map(|id| format!("{id:03} agent{id} any {:064x}\n", u64::from(id) * 7919)).collect();
    home.write("etc/client.keys", keys);
    for group in ["default", "web", "db"] {
        home.write(&format!("etc/shared/{group}/agent.conf"), "<agent_config/>");
    }
    home
}

fn settings() -> Value {
    json!({"intervals": {"master": {"agent_group_start_delay": 1}}})
}

fn exists(node: &Node, agent: u32) -> bool {
    Database::of(node).agent(agent) != Value::Null
}

/// A master and one worker whose databases know the agents of client.keys.
fn cluster(clock: &Clock, hand: &FakeClock, agents: u32, worker_settings: Value) -> (Node, Node) {
    let master = Node::master(home(1..=agents), clock, settings());
    advance_until(hand, SECOND, "the master knows the agents", || exists(&master, agents));
    let worker = Node::worker(TestHome::new(), clock, worker_settings, "w1", master.port());
    (master, worker)
}

/// A node that serves its own database to the node in `home`, as the database daemon of the original would. Both see the
/// same keys and groups.
fn database_for(home: &TestHome, clock: &Clock, role: NodeType) -> Node {
    let own = TestHome::new();
    std::fs::remove_dir(own.path("etc/shared")).unwrap();
    for name in ["etc/shared", "etc/client.keys"] {
        symlink(home.path(name), own.path(name)).unwrap();
    }
    for socket in ["queue/db/wdb", "queue/sockets/wdb-http.sock"] {
        std::fs::create_dir_all(home.path(socket).parent().unwrap()).unwrap();
        symlink(own.path(socket), home.path(socket)).unwrap();
    }
    match role {
        NodeType::Master => Node::master(own, clock, json!({})),
        // Of a master that is not there.
        NodeType::Worker => Node::worker(own, clock, json!({}), "database", 1),
    }
}

#[test]
fn agents_reach_the_master_and_their_groups_the_worker_with_embedded_databases() {
    let (clock, hand) = FakeClock::new();
    let (master, worker) = cluster(&clock, &hand, 3, json!({}));
    a_life_of_agents(&hand, master, worker);
}

#[test]
fn agents_reach_the_master_and_their_groups_the_worker_with_external_databases() {
    let (clock, hand) = FakeClock::new();
    let external = |mut settings: Value| {
        settings["agent_database"] = "wazuh-db".into();
        settings
    };
    let (home, away) = (home(1..=3), TestHome::new());
    let databases = [database_for(&home, &clock, NodeType::Master), database_for(&away, &clock, NodeType::Worker)];
    let master = Node::master(home, &clock, external(settings()));
    advance_until(&hand, SECOND, "the master knows the agents", || exists(&master, 3));
    let worker = Node::worker(away, &clock, external(json!({})), "w1", master.port());
    a_life_of_agents(&hand, master, worker);
    databases.into_iter().for_each(|node| drop(node.stop()));
}

/// Case 4.15: nobody is left who could tell the master, as its manager has no `wazuh-monitord`.
#[test]
fn agents_of_a_worker_that_is_gone_do_not_stay_active() {
    let (clock, hand) = FakeClock::new();
    let (master, worker) = cluster(&clock, &hand, 2, json!({}));
    advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
    Database::of(&worker).reports(1, "w1", "Wazuh v4.14.7");
    let mut there = Database::of(&master);
    advance_until(&hand, SECOND, "the master knows of it", || there.agent(1)["connection_status"] == "active");
    worker.stop();
    let before = clock.now();
    advance_until(&hand, SECOND, "it is disconnected", || there.agent(1)["connection_status"] == "disconnected");
    let took = clock.now() - before;
    assert!((800 * SECOND..1_100 * SECOND).contains(&took), "{took:?}");
    assert!(there.agent(1)["disconnection_time"].as_i64().unwrap() > 0);
    assert_eq!(there.agent(2)["connection_status"], "never_connected");
}

/// Three agents of the master's client.keys: what becomes of them must not depend on where the databases are.
fn a_life_of_agents(hand: &FakeClock, master: Node, worker: Node) {
    advance_until(hand, SECOND, "the worker knows the agents", || exists(&worker, 3));
    let (mut here, mut there) = (Database::of(&worker), Database::of(&master));
    for id in 1..=2 {
        here.reports(id, "w1", "Wazuh v4.14.7");
    }
    // The master does not know this one.
    here.tell(r#"global insert-agent {"id":77,"name":"stranger","date_add":1}"#);
    here.reports(77, "w1", "Wazuh v4.14.7");
    advance_until(hand, SECOND, "the master knows of both", || there.agent(2)["connection_status"] == "active");
    assert_eq!(master.health("w1")["info"]["n_active_agents"], 2);
    assert_eq!(master.health("m")["info"]["n_active_agents"], 0);
    for (column, value) in [("os_name", "Ubuntu"), ("os_uname", "Linux |a1 |6.8.0"), ("ip", "10.0.0.5")] {
        assert_eq!(there.agent(1)[column], value, "{column}");
    }
    assert_eq!(there.agent(77), Value::Null);
    assert_eq!(there.agent(3)["connection_status"], "never_connected");

    // They have connected for the first time, so the master puts them into a group, and the worker hears of it.
    advance_until(hand, SECOND, "the worker knows the group", || here.agent(2)["group"] == "default");
    assert_eq!(here.agent(3).get("group"), None);

    // A later change of the status only.
    here.tell(
        r#"global update-connection-status {"id":1,"connection_status":"disconnected","sync_status":"syncreq_status","status_code":3}"#,
    );
    advance_until(hand, SECOND, "the master knows", || there.agent(1)["connection_status"] == "disconnected");
    assert_eq!(there.agent(1)["status_code"], 3);
    assert_eq!(master.health("w1")["info"]["n_active_agents"], 1);

    // Another group, decided on the master.
    there.tell(r#"global set-agent-groups {"mode":"override","sync_status":"syncreq","data":[{"id":1,"groups":["web","db"]}]}"#);
    advance_until(hand, SECOND, "the worker knows", || here.agent(1)["group"] == "web,db");
    let status = &master.health("w1")["status"];
    for date in ["date_start", "date_end"] {
        assert!(status["last_sync_agentgroup"][date].as_str().unwrap().ends_with('Z'), "{status}");
    }
    assert!(status["last_sync_agentinfo"]["n_synced_chunks"].as_u64().unwrap() > 0);

    let hash = r#"global sync-agent-groups-get {"get_global_hash":true}"#;
    eventually("the hashes are equal", || here.ask(hash) == there.ask(hash));
    for id in 1..=3 {
        let labels = format!("global get-labels {id}");
        assert_eq!(here.rows(&labels), there.rows(&labels), "labels of {id}");
        let [ours, theirs] = [&mut here, &mut there].map(|database| shared(database.agent(id)));
        assert_eq!(ours, theirs);
    }
    assert_eq!(here.rows("global get-labels 1").as_array().unwrap().len(), 2);

    // An agent that is removed on the master is removed everywhere, and what comes late of it is not stored.
    master.home.write("etc/client.keys", format!("002 agent2 any {:064x}\n", 2 * 7919));
    advance_until(hand, SECOND, "it is gone on the master", || there.agent(1) == Value::Null);
    // It may have gone here, too.
    here.ask(&report(1, "w1", "Wazuh v4.14.8"));
    advance_until(hand, SECOND, "it is gone on the worker", || here.agent(1) == Value::Null);
    assert_eq!(there.agent(1), Value::Null);
    worker.stop();
    master.stop();
}

/// An agent without what each node has for itself: when it made the row, and when it heard of it last.
fn shared(mut agent: Value) -> Value {
    for own in ["date_add", "last_keepalive"] {
        agent.as_object_mut().unwrap().remove(own);
    }
    agent
}

/// Of case 6.9: what was marked as sent when a process was killed, and never arrived.
#[test]
fn what_a_killed_worker_had_taken_from_its_database_is_sent_again() {
    let (clock, hand) = FakeClock::new();
    let (master, worker) = cluster(&clock, &hand, 2, json!({}));
    let mut there = Database::of(&master);
    advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
    Database::of(&worker).reports(1, "w1", "Wazuh v4.14.7");
    advance_until(&hand, SECOND, "the master knows", || there.agent(1)["version"] == "Wazuh v4.14.7");
    assert!(worker.home.path("queue/cluster-state/agent-info-under-way").exists());
    let home = worker.stop();
    assert!(!home.path("queue/cluster-state/agent-info-under-way").exists(), "all has arrived");
    // As if the master had never got it, and the process had been killed.
    there.ask("global sql UPDATE agent SET version = 'none' WHERE id = 1");
    home.write("queue/cluster-state/agent-info-under-way", "");
    let worker = Node::worker(home, &clock, json!({}), "w1", master.port());
    advance_until(&hand, SECOND, "the master knows again", || there.agent(1)["version"] == "Wazuh v4.14.7");
    worker.stop();
    master.stop();
}

/// Case 3.8: `mkdir etc/shared/GROUP` on the master is all that makes a group.
#[test]
fn a_group_is_one_on_all_nodes_whatever_its_folder_holds() {
    for native in ["auto", "never"] {
        let (clock, hand) = FakeClock::new();
        let link = json!({"link": {"native": native}});
        let (master, worker) = cluster(&clock, &hand, 2, link);
        let (mut here, mut there) = (Database::of(&worker), Database::of(&master));
        advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
        let folder = |node: &Node, group: &str| node.home.path(&format!("etc/shared/{group}"));
        let has = |database: &mut Database, group: &str| database.ask(&format!("global find-group {group}")) != "ok []";
        for group in ["empty", "idle"] {
            std::fs::create_dir(folder(&master, group)).unwrap();
            advance_until(&hand, SECOND, "the master has the group", || has(&mut there, group));
        }
        let assign = |database: &mut Database, groups: Value| {
            let data = json!([{"id": 1, "groups": groups}]);
            let request = json!({"mode": "override", "sync_status": "syncreq", "data": data});
            database.tell(&format!("global set-agent-groups {request}"));
        };
        assign(&mut there, json!(["empty", "web"]));
        advance_until(&hand, SECOND, "the agent has its groups", || here.agent(1)["group"] == "empty,web");
        assert!(folder(&worker, "empty").is_dir());
        if native == "auto" {
            // One that nobody belongs to is told of, too.
            advance_until(&hand, SECOND, "the worker has the other", || has(&mut here, "idle"));
            assert!(folder(&worker, "idle").is_dir());
        }
        // The last file of a group goes, and the group stays.
        let file = "etc/shared/web/agent.conf";
        eventually("the file is there", || worker.home.read(file).is_some());
        std::fs::remove_file(master.home.path(file)).unwrap();
        advance_until(&hand, SECOND, "the file is gone", || worker.home.read(file).is_none());
        for _ in 0..30 {
            hand.advance(SECOND);
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(here.agent(1)["group"], "empty,web");
        }
        advance_until(&hand, SECOND, "the folder is there", || folder(&worker, "web").is_dir());
        // The groups go on the master, and everywhere.
        for group in ["empty", "idle", "web"] {
            std::fs::remove_dir(folder(&master, group)).unwrap();
        }
        advance_until(&hand, SECOND, "the agent has others", || here.agent(1)["group"] == "default");
        if native == "auto" {
            advance_until(&hand, SECOND, "they are gone", || {
                ["empty", "idle", "web"].iter().all(|group| !has(&mut here, group) && !folder(&worker, group).exists())
            });
        }
        worker.stop();
        master.stop();
    }
}

#[test]
fn a_group_that_was_assigned_while_a_worker_was_away_reaches_it_when_it_comes_back() {
    let (clock, hand) = FakeClock::new();
    let (master, worker) = cluster(&clock, &hand, 2, json!({}));
    let mut there = Database::of(&master);
    advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
    let sent = || master.health("w1")["status"]["last_sync_agentgroup"]["n_synced_chunks"].as_u64() > Some(0);
    advance_until(&hand, SECOND, "a first turn", sent);
    let port = master.port();
    let home = worker.stop();
    eventually("the worker has left", || master.workers().is_empty());
    there.tell(
        r#"global set-agent-groups {"mode":"append","sync_status":"syncreq","data":[{"id":2,"groups":["web"]}]}"#,
    );
    // Somebody else is connected, so the database gives the assignment out while the worker is away.
    let mut other = RawPeer::connect(port);
    assert_eq!(other.hello("other").0, "ok");
    assert_eq!(other.ask("echo-c", b"keepalive").0, "ok-m");
    advance_until(&hand, SECOND, "it was given out", || there.agent(2)["group_sync_status"] == "synced");

    let worker = Node::worker(home, &clock, json!({}), "w1", port);
    let mut here = Database::of(&worker);
    advance_until(&hand, SECOND, "the worker knows it", || here.agent(2)["group"] == "web");
    worker.stop();
    master.stop();
}

/// The database counts it as sent, and no process knows better.
#[test]
fn a_group_that_a_master_took_and_never_sent_reaches_the_worker_from_the_next_master() {
    let (clock, hand) = FakeClock::new();
    let (master, worker) = cluster(&clock, &hand, 2, json!({}));
    let mut there = Database::of(&master);
    advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
    let sent = || master.health("w1")["status"]["last_sync_agentgroup"]["n_synced_chunks"].as_u64() > Some(0);
    advance_until(&hand, SECOND, "a first turn", sent);
    let home = worker.stop();
    eventually("the worker has left", || master.workers().is_empty());
    there.tell(
        r#"global set-agent-groups {"mode":"append","sync_status":"syncreq","data":[{"id":2,"groups":["web"]}]}"#,
    );
    let mut other = RawPeer::connect(master.port());
    assert_eq!(other.hello("other").0, "ok");
    assert_eq!(other.ask("echo-c", b"keepalive").0, "ok-m");
    advance_until(&hand, SECOND, "it was given out", || there.agent(2)["group_sync_status"] == "synced");
    drop(other);

    let master = Node::master(master.stop(), &clock, settings());
    let worker = Node::worker(home, &clock, json!({}), "w1", master.port());
    let mut here = Database::of(&worker);
    advance_until(&hand, SECOND, "the worker knows it", || here.agent(2)["group"] == "web");
    assert_eq!(master.health("w1")["status"]["last_sync_full_agentgroup"]["date_end"], "n/a", "it did not ask for it");
    worker.stop();
    master.stop();
}

#[test]
fn a_worker_whose_groups_differ_asks_for_all_of_them_at_the_fifth_time() {
    let (clock, hand) = FakeClock::new();
    let (master, worker) = cluster(&clock, &hand, 2, json!({}));
    let (mut here, mut there) = (Database::of(&worker), Database::of(&master));
    advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
    there.tell(
        r#"global set-agent-groups {"mode":"append","sync_status":"syncreq","data":[{"id":2,"groups":["web"]}]}"#,
    );
    advance_until(&hand, SECOND, "the worker knows the group", || here.agent(2)["group"] == "web");
    here.tell(r#"global set-agent-groups {"mode":"override","data":[{"id":2,"name":"agent2","groups":["db"]}]}"#);
    let whole = || master.health("w1")["status"]["last_sync_full_agentgroup"]["date_end"] != "n/a";
    assert!(!whole());
    advance_until(&hand, SECOND, "the whole table has been sent", whole);
    eventually("it is stored", || here.agent(2)["group"] == "web");
    worker.stop();
    master.stop();
}

/// Case 4.14: nobody has a group but for one agent on the worker. The master's hash is `null` then, and not missing.
#[test]
fn a_group_that_only_the_worker_knows_goes_at_the_fifth_time() {
    let (clock, hand) = FakeClock::new();
    let (master, worker) = cluster(&clock, &hand, 2, json!({}));
    let (mut here, mut there) = (Database::of(&worker), Database::of(&master));
    advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
    let hash = r#"global sync-agent-groups-get {"get_global_hash":true}"#;
    assert_eq!(there.ask(hash), r#"ok [{"data":[],"hash":null}]"#);
    here.tell(r#"global set-agent-groups {"mode":"override","data":[{"id":2,"name":"agent2","groups":["db"]}]}"#);
    assert_eq!(here.agent(2)["group"], "db");
    advance_until(&hand, SECOND, "the group has gone", || here.agent(2).get("group").is_none());
    eventually("the master has heard of it", || {
        master.health("w1")["status"]["last_sync_full_agentgroup"]["date_end"] != "n/a"
    });
    assert_eq!(here.ask(hash), there.ask(hash));
    worker.stop();
    master.stop();
}

#[test]
fn what_the_master_could_not_store_is_sent_again() {
    let (clock, hand) = FakeClock::new();
    let database = Node::master(home(1..=1), &clock, settings());
    advance_until(&hand, SECOND, "the database knows the agent", || exists(&database, 1));
    let mut there = Database::of(&database);
    // A master whose database is away.
    let master = Node::master(home(1..=1), &clock, json!({"agent_database": "wazuh-db"}));
    let worker = Node::worker(TestHome::new(), &clock, json!({}), "w1", master.port());
    advance_until(&hand, SECOND, "the worker knows the agent", || exists(&worker, 1));
    let mut here = Database::of(&worker);
    here.reports(1, "w1", "Wazuh v4.14.7");
    // The health needs the database too.
    let workers = || master.as_master().registry.workers();
    let tried = || workers().iter().any(|worker| worker.agent_info.last().span.end.is_some());
    advance_until(&hand, SECOND, "it was tried", tried);
    eventually("it is to be sent again", || here.agent(1)["sync_status"] == "syncreq");
    // The database comes.
    for socket in ["queue/db/wdb", "queue/sockets/wdb-http.sock"] {
        std::fs::create_dir_all(master.home.path(socket).parent().unwrap()).unwrap();
        symlink(database.home.path(socket), master.home.path(socket)).unwrap();
    }
    advance_until(&hand, SECOND, "it has arrived", || there.agent(1)["os_name"] == "Ubuntu");
    worker.stop();
    master.stop();
    database.stop();
}

#[test]
fn a_database_that_does_not_answer_delays_nobody() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    let (asked, go) = (Arc::new(AtomicBool::new(false)), Arc::new((Mutex::new(false), Condvar::new())));
    let (told, waits) = (asked.clone(), go.clone());
    fake_database(&home.path("queue/db/wdb"), move |_| {
        told.store(true, Ordering::Release);
        let (lock, changed) = &*waits;
        drop(changed.wait_while(lock.lock().unwrap(), |go| !*go));
        "ok []".to_owned()
    });
    let master = Node::master(
        home,
        &clock,
        json!({"agent_database": "wazuh-db", "intervals": {"master": {"agent_group_start_delay": 1}}}),
    );
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("w1").0, "ok");
    assert_eq!(peer.ask("syn_a_w_m_p", b"").1, "True");
    // It is asked for groups, for agents to store, and for the numbers of the health, and is silent.
    let id = peer.send_string(r#"{"chunks": ["[{\"id\":1}]"]}"#);
    assert_eq!(peer.ask("syn_a_w_m", id.as_bytes()), ("ok".to_owned(), id));
    peer.send("get_health", b"null");
    advance_until(&hand, SECOND / 4, "the database is asked", || asked.load(Ordering::Acquire));
    assert_eq!(peer.ask("syn_a_w_m_p", b"").1, "False", "what came before is being stored");
    let answers = (0..20).map(|_| {
        let begun = Instant::now();
        assert_eq!(peer.ask("echo-c", b"keepalive").0, "ok-m");
        assert_eq!(peer.ask("get_nodes", b"{}").0, "ok");
        begun.elapsed()
    });
    let usual = median(answers.collect());
    assert!(usual < Duration::from_millis(100), "{usual:?}");
    *go.0.lock().unwrap() = true;
    go.1.notify_all();
    drop(peer);
    master.stop();
}

#[test]
fn a_worker_whose_database_does_not_answer_goes_on_saying_that_it_lives() {
    let (clock, hand) = FakeClock::new();
    let (home, asked) = (TestHome::new(), Arc::new(AtomicBool::new(false)));
    for socket in ["queue/db/wdb", "queue/sockets/wdb-http.sock"] {
        silent_database(&home.path(socket), asked.clone());
    }
    let master = Node::master(TestHome::new(), &clock, settings());
    let worker = Node::worker(home, &clock, json!({"agent_database": "wazuh-db"}), "w1", master.port());
    let registry = &master.as_master().registry;
    advance_until(&hand, SECOND, "it is connected and asks its database", || {
        !registry.workers().is_empty() && asked.load(Ordering::Acquire)
    });
    let heard = || registry.workers().first().map(|worker| worker.last_keep_alive().0);
    let times = (0..9).map(|_| {
        let (before, begun, mut left) = (heard(), Instant::now(), 60);
        hand.advance(60 * SECOND);
        let mut moved = Instant::now();
        // The thread may have begun to wait only after that; two minutes in all are still no silence. The hand is slow:
        // what is asked must be answered before it has moved by the time limit of a request.
        eventually("a keep-alive has come", || {
            let come = heard() > before;
            if !come && left > 0 && moved.elapsed() > Duration::from_millis(50) {
                hand.advance(SECOND);
                (left, moved) = (left - 1, Instant::now());
            }
            come
        });
        begun.elapsed()
    });
    let usual = median(times.collect());
    assert!(usual < Duration::from_millis(100), "{usual:?}");
    worker.stop();
    master.stop();
}

#[test]
fn the_old_form_is_spoken_by_old_versions() {
    let (clock, hand) = FakeClock::new();
    let old = |extra: Value| {
        let mut settings = json!({"version": "4.12.0", "intervals": {"master": {"agent_group_start_delay": 1}}});
        settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        settings
    };
    let master = Node::master(home(1..=2), &clock, old(json!({})));
    advance_until(&hand, SECOND, "the master knows the agents", || exists(&master, 2));
    let worker = Node::worker(TestHome::new(), &clock, old(json!({})), "w1", master.port());
    advance_until(&hand, SECOND, "the worker knows the agents", || exists(&worker, 2));
    let (mut here, mut there) = (Database::of(&worker), Database::of(&master));
    here.reports(2, "w1", "Wazuh v4.12.0");
    advance_until(&hand, SECOND, "the master knows of it", || there.agent(2)["os_name"] == "Ubuntu");
    assert_eq!(there.rows("global get-labels 2"), here.rows("global get-labels 2"));
    worker.stop();
    master.stop();
}

#[test]
fn a_database_that_refuses_everything_is_told_and_the_cluster_goes_on() {
    let (clock, hand) = FakeClock::new();
    let home = TestHome::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    fake_database(&home.path("queue/db/wdb"), move |request| {
        heard.lock().unwrap().push(request.to_owned());
        "err Cannot execute Global database query; no such thing".to_owned()
    });
    let master = Node::master(
        home,
        &clock,
        json!({"agent_database": "wazuh-db", "intervals": {"master": {"agent_group_start_delay": 1}}}),
    );
    let mut peer = RawPeer::connect(master.port());
    assert_eq!(peer.hello("w1").0, "ok");
    let (answer, text) = peer.ask("get_health", b"null");
    assert!(answer == "ok" && text.contains(r#""n_active_agents": null"#), "{text}");
    let id = peer.send_string(r#"{"chunks": ["[{\"id\":1}]", "[{\"id\":2}]"]}"#);
    assert_eq!(peer.ask("syn_a_w_m", id.as_bytes()).0, "ok");
    let (_, command, report) = peer.receive().unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((command.as_str(), &report["updated_chunks"]), ("syn_m_a_e", &json!(0)));
    assert_eq!(report["error_messages"].as_array().unwrap().len(), 2, "one for each chunk");
    let turns = || asked.lock().unwrap().iter().filter(|request| request.contains("sync-agent-groups-get")).count();
    advance_until(&hand, SECOND, "the groups are asked for again and again", || turns() > 2);
    assert_eq!(peer.ask("echo-c", b"keepalive").0, "ok-m");
    master.stop();
}
