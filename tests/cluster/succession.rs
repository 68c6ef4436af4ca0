//! Another node becomes the master: by hand over, by force, and when a former one comes back.

use clusterd::{
    config::{ClusterKey, NodeType},
    local::{Role, client::LocalClient},
    wire::Command,
};
use serde_json::{Value, json};

use crate::support::{
    Database, LocalProgram,
    members::{Cluster, Member, RULE, is_master},
};

const LOST_AGENT: &str = "001 one any key\n002 two any key\n";

#[test]
fn a_master_hands_over_and_nothing_is_lost() {
    let mut cluster = Cluster::new();
    assert_eq!(["one", "two"].map(|name| cluster.register(0, name)), ["001", "002"]);
    // An agent reports to c, which has told that to a.
    let version = |member: &Member| Database::of(member.node()).agent(1)["version"].clone();
    cluster.until("c knows the agent", |[_, _, c]| !Database::of(c.node()).agent(1).is_null());
    Database::of(cluster.members[2].node()).reports(1, "c", "Wazuh v4.14.9");
    cluster.until("a knows its version", |[a, ..]| version(a) == "Wazuh v4.14.9");
    let promoted = cluster.promote(1, false);
    assert_eq!(promoted, json!({"master": "b", "term": 1, "former": "a", "lost": null}));
    cluster.until("b is the master of a and c", |[a, b, c]| {
        is_master(b) && b.node().workers().len() == 2 && [a, c].iter().all(|node| node.claim().term == 1)
    });
    let [a, b, _] = &cluster.members;
    assert_eq!((a.role(), a.agents()), (NodeType::Worker, b.agents()));
    let groups = |member: &Member, id| Database::of(member.node()).agent(id)["group"].clone();
    assert_eq!([1, 2].map(|id| groups(b, id)), ["web", "web"]);
    assert_eq!(cluster.register(1, "three"), "003", "no id is left out");
    cluster.until("b knows its version", |[_, b, _]| version(b) == "Wazuh v4.14.9");
    cluster.members[1].node().home.write(RULE, "of b");
    cluster.until("the others have what b has", |[a, b, c]| {
        [a, c]
            .iter()
            .all(|node| node.reads(RULE) == "of b" && node.reads("etc/client.keys") == b.reads("etc/client.keys"))
    });
    // And back again.
    assert_eq!(cluster.promote(0, false)["term"], 2);
    cluster.until("a is the master again", |[a, b, c]| {
        is_master(a) && a.node().workers().len() == 2 && [b, c].iter().all(|node| node.claim().term == 2)
    });
    assert_eq!(cluster.register(0, "four"), "004");
}

#[test]
fn a_node_takes_over_by_force_and_gives_no_id_again() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.register(0, "one"), "001");
    cluster.until("all have it", |members| members.iter().all(|node| node.agents() == members[0].agents()));
    // The workers do not see what a registers last.
    let home = cluster.members[0].stop();
    home.write("etc/client.keys", LOST_AGENT);
    home.write(RULE, "in the last moment");
    let refused = cluster.promote(1, false);
    assert!(refused.as_str().unwrap().contains("--promote --force"), "{refused}");
    let promoted = cluster.promote(1, true);
    assert_eq!((&promoted["term"], &promoted["former"]), (&json!(1), &json!("a")));
    assert!(promoted["lost"].as_str().unwrap().starts_with("what a has changed or registered"), "{promoted}");
    cluster.until("c follows b", |[_, b, c]| is_master(b) && b.node().workers() == ["c"] && c.claim().term == 1);
    let id: u32 = cluster.register(1, "three").parse().unwrap();
    assert!(id > 200, "{id} may have been given by a");

    // a comes back, still a master by its configuration.
    cluster.members[0].start(home);
    cluster.until("a follows b", |[a, b, _]| !is_master(a) && b.node().workers().len() == 2 && a.claim().term == 1);
    cluster.until("a has what b has", |[a, b, _]| a.reads(RULE) == b.reads(RULE) && a.agents() == b.agents());
    cluster.until("the next files are no news", |[a, ..]| a.node().running.role().node().term.former().is_none());
    // What it had alone is not lost, and a person is told.
    let kept = |path: &str| cluster.members[0].reads(&format!("queue/diverged/0/{path}"));
    assert_eq!((kept(RULE).as_str(), kept("etc/client.keys").as_str()), ("in the last moment", LOST_AGENT));
    assert!(kept("list").lines().count() == 2 && kept("list").contains(RULE), "{}", kept("list"));
    let told: Value =
        serde_json::from_str(&LocalProgram::of(cluster.members[0].node()).ask("get_term", "").body).unwrap();
    assert_eq!((&told["master"], &told["diverged"][0]["files"]), (&json!("b"), &json!(2)));
}

#[test]
fn a_former_master_that_cannot_write_its_term_serves_nobody_until_it_can() {
    let mut cluster = Cluster::new();
    let home = cluster.members[0].stop();
    cluster.promote(1, true);
    cluster.until("b is the master", |[_, b, _]| is_master(b) && b.node().workers() == ["c"]);
    let in_the_way = "queue/cluster-state/.term.json.tmp";
    std::fs::create_dir_all(home.path(in_the_way).join("x")).unwrap();
    cluster.members[0].start(home);
    cluster.until("a knows of b", |[a, ..]| match a.node().running.role() {
        Role::Master(a) => a.is_overruled(),
        Role::Worker(_) => false,
    });
    // A worker that knows of no term, as a stock one.
    let worker = |member: &Member| match member.node().running.role() {
        Role::Worker(worker) => worker.failure().unwrap_or_default(),
        Role::Master(_) => String::new(),
    };
    let new_master = cluster.members[1].stop();
    let forgetful = cluster.members[2].stop();
    std::fs::remove_file(forgetful.path("queue/cluster-state/term.json")).unwrap();
    cluster.members[2].start(forgetful);
    cluster.until("c is refused", |[_, _, c]| worker(c).contains("this node is a former master"));
    assert!(cluster.members[0].node().workers().is_empty());

    std::fs::remove_dir_all(cluster.members[0].node().home.path(in_the_way)).unwrap();
    cluster.members[1].start(new_master);
    cluster.until("a follows b", |[a, b, _]| !is_master(a) && b.node().workers().len() == 2 && a.claim().term == 1);
}

#[test]
fn a_former_master_with_the_next_key_finds_one_that_has_only_the_present() {
    let mut cluster = Cluster::new();
    let home = cluster.members[0].stop();
    cluster.promote(1, true);
    cluster.until("b is the master", |[_, b, _]| is_master(b) && b.node().workers() == ["c"]);
    cluster.members[0].next_key = Some(ClusterKey::new("fedcba9876543210fedcba9876543210").unwrap());
    cluster.members[0].start(home);
    cluster.until("a follows b", |[a, b, _]| !is_master(a) && b.node().workers().len() == 2 && a.claim().term == 1);
}

/// A worker that holds the key asks for the role in ways that this daemon never would.
#[test]
fn a_hand_over_that_is_not_as_it_should_be_changes_nothing() {
    let mut cluster = Cluster::new();
    let master = cluster.connection_of(2);
    let mut ask = |command, payload: &str| {
        let (master, payload) = (master.clone(), payload.to_owned());
        let asked = std::thread::spawn(move || master.request(command, payload));
        cluster.until("an answer", |_| asked.is_finished());
        asked.join().unwrap().map(|answer| String::from_utf8(answer).unwrap()).map_err(|error| error.to_string())
    };
    for (claim, why) in [
        ("", "the claim: EOF"),
        ("[1, 2]", "the claim: "),
        ("{\"term\": 1}", "missing field `master`"),
        ("{\"term\": -1, \"master\": \"c\"}", "the claim: invalid value"),
        ("{\"term\": 7, \"master\": \"c\"}", "the next term is 1, of c; it claims that of 7, of c"),
        ("{\"term\": 0, \"master\": \"c\"}", "the next term is 1, of c; it claims that of 0, of c"),
        ("{\"term\": 18446744073709551615, \"master\": \"c\"}", "the next term is 1, of c"),
        ("{\"term\": 1, \"master\": \"b\"}", "it claims that of 1, of b"),
        ("{\"term\": 1, \"master\": \"c\"}", "the hand-over was not begun, or has taken too long"),
    ] {
        let refused = ask(Command::HandOver, claim).unwrap_err();
        assert!(refused.contains(why), "{claim}: {refused}");
    }
    assert_eq!(ask(Command::Prepare, "anything").as_deref(), Ok("Prepared"));
    assert!(ask(Command::Ids, "1").is_err(), "a worker gives no mark");
    assert_eq!(cluster.register(0, "one"), "001", "c is silent, and a goes on");
    assert!(is_master(&cluster.members[0]));
    assert_eq!(cluster.members[0].claim().term, 0);

    // What a program of this machine says.
    let local = cluster.members[1].node().home.path("queue/cluster/c-internal.sock");
    for order in ["", "{}", "[]", "{\"force\": 1}", "{\"force\": true, \"to\": \"c\"}", "\u{0}"] {
        let client = LocalClient::new(local.clone());
        let refused = client.ask(Command::Promote, order.as_bytes()).unwrap_err().to_string();
        assert!(!refused.is_empty(), "{order}");
    }
    assert!(!is_master(&cluster.members[1]) && is_master(&cluster.members[0]));
}

#[test]
fn workers_take_nothing_of_a_former_master() {
    let mut cluster = Cluster::new();
    let home = cluster.members[0].stop();
    cluster.promote(1, true);
    cluster.until("c follows b", |[_, b, c]| is_master(b) && b.node().workers() == ["c"] && c.claim().term == 1);
    // Without b there is nobody from whom a could learn it.
    let new_master = cluster.members[1].stop();
    home.write(RULE, "of a former master");
    cluster.members[0].start(home);
    cluster.until("c is asked to follow a", |[_, _, c]| match c.node().running.role() {
        clusterd::local::Role::Worker(c) => {
            c.failure().is_some_and(|why| why.contains("c has seen b as the master of term 1, and this one has term 0"))
        }
        clusterd::local::Role::Master(_) => false,
    });
    assert_ne!(cluster.members[2].reads(RULE), "of a former master");
    assert!(cluster.members[0].node().workers().is_empty());
    // A person decides that a is to be the master after all.
    let promoted = cluster.promote(0, true);
    assert_eq!((&promoted["term"], &promoted["former"]), (&json!(2), &json!("b")));
    cluster.until("c follows a", |[a, _, c]| a.node().workers() == ["c"] && c.claim().term == 2);
    cluster.until("c has what a has", |[_, _, c]| c.reads(RULE) == "of a former master");
    cluster.members[1].start(new_master);
    cluster.until("b follows a", |[_, b, _]| !is_master(b) && b.claim().term == 2);
}

#[test]
fn a_node_type_that_a_person_writes_begins_a_term_too() {
    let mut cluster = Cluster::new();
    let former = cluster.members[0].stop();
    let home = cluster.members[1].stop();
    cluster.members[1].wished = NodeType::Master;
    cluster.members[1].start(home);
    cluster.until("c follows b", |[_, b, c]| b.node().workers() == ["c"] && c.claim().term == 1);
    cluster.members[0].wished = NodeType::Worker;
    cluster.members[0].start(former);
    cluster.until("a follows b", |[a, ..]| a.claim().term == 1);
}

#[test]
fn who_is_not_listed_or_not_equal_does_not_become_the_master() {
    let mut cluster = Cluster::new();
    let mut program = LocalProgram::of(cluster.members[0].node());
    let got = program.ask("promote", r#"{"force": false}"#);
    assert!(got.body.contains("this node is the master already, of term 0"), "{got:?}");
    // A directory where a file of the master is to be.
    cluster.members[1].node().home.write("etc/lists/taken/file.lock", "in the way");
    cluster.members[0].node().home.write("etc/lists/taken", "a list");
    let refused = cluster.promote(1, false);
    assert!(refused.as_str().unwrap().contains("is not equal to the master after 30 s: "), "{refused}");
    assert_eq!(cluster.register(0, "next"), "001");
}
