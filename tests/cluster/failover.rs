//! Candidates that agree on the master at an arbiter.

use std::time::Duration;

use clusterd::{
    arbiter::{Arbiter, Folder, Key},
    config::NodeType,
};
use serde_json::{Value, json};

use crate::support::{
    Database, SECOND,
    members::{Cluster, Member, RULE, TTL, is_master},
};

/// Longer than a candidate may be away until it may not follow any more.
const AWAY: Duration = Duration::from_secs(15);

impl Cluster {
    /// Lets so much time pass that the lease of a master that was killed ends.
    fn expire(&self) {
        self.hand.advance(SECOND * TTL);
    }

    fn records(&self) -> usize {
        self.memory.seat().list(Folder::Registrations, None).unwrap().entries.len()
    }

    #[track_caller]
    fn until_in_sync(&mut self, names: &Value) {
        let memory = self.memory.clone();
        let told = move || {
            let reading = memory.seat().read(&[Key::Sync]).unwrap();
            serde_json::from_slice::<Value>(&reading.entries[0].as_ref().unwrap().value).unwrap()["candidates"].clone()
        };
        self.until(&format!("in sync: {names}"), |_| told() == *names);
    }
}

fn keys(member: &Member) -> String {
    member.reads("etc/client.keys")
}

fn groups(member: &Member, id: u32) -> Value {
    Database::of(member.node()).agent(id)["group"].clone()
}

/// Why a node cannot be the master.
fn hindrance(member: &Member) -> String {
    let hindrance = member.candidate.as_ref().and_then(|candidate| candidate.hindrance());
    hindrance.map_or_else(String::new, |why| why.to_string())
}

#[test]
fn a_candidate_follows_a_master_that_was_killed_with_all_that_was_answered() {
    let mut cluster = Cluster::with_arbiter();
    cluster.until_in_sync(&json!(["a", "b"]));
    assert_eq!(cluster.register(0, "one"), "001");
    let memory = cluster.memory.clone();
    let records = move || memory.seat().list(Folder::Registrations, None).unwrap().entries.len();
    cluster.until("b has it, and the record is forgotten", |[_, b, _]| keys(b).contains("one") && records() == 0);

    // What a registers now b does not hear of but from the arbiter, and that it was removed, too.
    let home = cluster.members[1].stop();
    assert_eq!(cluster.register(0, "two"), "002");
    assert_eq!(cluster.register(0, "three"), "003");
    let remove = json!({"function": "remove", "arguments": {"id": "002", "purge": true}}).to_string();
    let registrar = cluster.members[0].node().running.role().services().registrar.clone();
    let removed = std::thread::spawn(move || registrar.ask(remove.as_bytes()).unwrap());
    cluster.until("it is removed", |_| removed.is_finished());
    assert_eq!(cluster.records(), 3);
    let former = cluster.members[0].stop();
    cluster.members[1].start(home);
    cluster.expire();
    cluster.until("c follows b", |[_, b, c]| is_master(b) && b.node().workers() == ["c"] && c.claim().term == 2);
    cluster.until("b has all", |[_, b, _]| groups(b, 3) == "web");
    let b = &cluster.members[1];
    assert!(
        keys(b).contains("001 one") && keys(b).contains("003 three") && !keys(b).contains("002 two"),
        "{}",
        keys(b)
    );
    assert_eq!(cluster.register(1, "four"), "004", "no id is left out, and none given again");

    // The former master comes back, still the master by its configuration.
    cluster.members[0].start(former);
    cluster.until("a follows b", |[a, b, _]| !is_master(a) && keys(a) == keys(b) && a.claim().term == 2);
    cluster.until_in_sync(&json!(["b", "a"]));
    cluster.until("it is equal", |[a, ..]| a.node().running.role().node().term.former().is_none());
    let a = cluster.members[0].node();
    assert!(!a.home.path("queue/diverged").join("1").exists(), "no agent of a is lost, so nobody need look");
}

#[test]
fn a_master_that_is_cut_off_answers_nothing_and_what_it_has_alone_is_set_aside() {
    let mut cluster = Cluster::with_arbiter();
    cluster.until_in_sync(&json!(["a", "b"]));
    cluster.members[0].seat.as_ref().unwrap().cut(true);
    // Not recorded, not answered: the deadline passes meanwhile.
    let registrar = cluster.members[0].node().running.role().services().registrar.clone();
    let add = json!({"function": "add", "arguments": {"name": "one", "ip": "any"}}).to_string();
    let asked = std::thread::spawn(move || registrar.ask(add.as_bytes()));
    cluster.members[0].node().home.write(RULE, "of a");
    cluster.hand.advance(SECOND * TTL * 4 / 5);
    cluster.until("a is fenced", |[a, ..]| !is_master(a));
    let answer = asked.join().unwrap();
    let refused = |answer: &[u8]| !String::from_utf8_lossy(answer).contains(r#""error":0"#);
    assert!(answer.as_ref().map_or(true, |answer| refused(answer)), "{answer:?}");
    assert!(!is_master(&cluster.members[1]), "the lease lives on");
    cluster.members[0].node().home.write(RULE, "of a, later");
    cluster.hand.advance(SECOND * TTL / 5);
    cluster.until("c follows b", |[_, b, c]| {
        is_master(b) && b.node().workers().contains(&"c".to_owned()) && c.claim().term == 2
    });
    cluster.members[1].node().home.write(RULE, "of b");
    cluster.until("a has what b has", |[a, ..]| a.reads(RULE) == "of b");
    assert_eq!(cluster.members[0].reads(&format!("queue/diverged/1/{RULE}")), "of a, later");
    cluster.members[0].seat.as_ref().unwrap().cut(false);
    cluster.until_in_sync(&json!(["b", "a"]));
    assert_eq!(cluster.register(1, "two"), "001");
}

#[test]
fn who_was_not_in_sync_follows_by_force_only() {
    let mut cluster = Cluster::with_arbiter();
    cluster.until_in_sync(&json!(["a", "b"]));
    let home = cluster.members[1].stop();
    cluster.hand.advance(AWAY);
    cluster.until_in_sync(&json!(["a"]));
    assert_eq!(cluster.register(0, "one"), "001");
    let former = cluster.members[0].stop();
    cluster.members[1].start(home);
    cluster.expire();
    cluster
        .until("b knows why it may not", |[_, b, _]| hindrance(b).contains("not in sync with the last master (a may"));
    let refused = cluster.promote(1, false);
    assert!(refused.as_str().unwrap().contains("--promote --force"), "{refused}");
    let promoted = cluster.promote(1, true);
    assert_eq!((&promoted["term"], &promoted["former"]), (&json!(2), &json!("a")));
    cluster.until("c follows b", |[_, b, c]| is_master(b) && c.claim().term == 2);
    cluster.members[0].start(former);
    cluster.until("a follows b", |[a, ..]| a.claim().term == 2);
}

#[test]
fn a_master_hands_over_to_a_candidate_and_by_an_order_that_was_given_elsewhere() {
    let mut cluster = Cluster::with_arbiter();
    cluster.until_in_sync(&json!(["a", "b"]));
    assert_eq!(cluster.register(0, "one"), "001");
    let mut promoted = cluster.promote(1, false);
    // The clock of the test may be faster than the threads.
    while promoted.as_str().is_some_and(|refused| refused.contains("is not equal to the master after")) {
        promoted = cluster.promote(1, false);
    }
    assert_eq!(promoted, json!({"master": "b", "term": 2, "former": "a", "lost": null}));
    cluster.until("all follow b", |[a, b, c]| {
        is_master(b) && b.node().workers().len() == 2 && [a, c].iter().all(|node| node.claim().term == 2)
    });
    assert_eq!(cluster.register(1, "two"), "002");
    cluster.until_in_sync(&json!(["b", "a"]));
    let forced = cluster.promote(0, true);
    assert!(forced.as_str().unwrap().contains("b is the master, and hands over"), "{forced}");
    let forced = cluster.promote(2, true);
    assert!(forced.as_str().unwrap().contains("this node is no candidate: it would be a second master"), "{forced}");
    // A person says so on any candidate.
    let (seat, order) = (cluster.memory.seat(), json!({"to": "a", "by": "b", "not_before": 0}).to_string());
    cluster.until("all follow a", |[a, b, c]| {
        // For the same reason: again, when it was of no avail.
        if !is_master(a) && seat.read(&[Key::Switch]).unwrap().entries[0].is_none() {
            let lease = seat.grant(SECOND * 60).unwrap();
            seat.announce(&Key::Switch, order.as_bytes(), lease).unwrap();
        }
        is_master(a) && a.node().workers().len() == 2 && [b, c].iter().all(|node| node.claim().term == 3)
    });
    assert_eq!(cluster.register(0, "three"), "003");
    assert!(!std::path::Path::new(&cluster.members[1].node().home.path("queue/diverged")).exists());
}

#[test]
fn an_arbiter_that_has_forgotten_everything_is_not_believed() {
    let mut cluster = Cluster::with_arbiter();
    cluster.until_in_sync(&json!(["a", "b"]));
    assert_eq!(cluster.register(0, "one"), "001");
    cluster.until("b has it", |[_, b, _]| keys(b).contains("one"));
    for key in [Key::Sync, Key::Ids, Key::Master] {
        cluster.memory.delete(&key);
    }
    cluster.hand.advance(SECOND * TTL / 5);
    cluster.until("nobody is the master, and all know why", |members| {
        members[..2].iter().all(|node| !is_master(node) && hindrance(node).contains("it has lost its data"))
    });
    let promoted = cluster.promote(0, true);
    assert_eq!(promoted["term"], 2);
    cluster.until("all follow a", |[a, b, c]| {
        is_master(a) && a.node().workers().len() == 2 && [b, c].iter().all(|node| node.claim().term == 2)
    });
    let id: u32 = cluster.register(0, "two").parse().unwrap();
    assert!(id > 1);
    assert_eq!(cluster.members[0].role(), NodeType::Master);
}

#[test]
fn candidates_have_the_private_files_of_the_master_and_others_have_not() {
    let mut cluster = Cluster::with_arbiter();
    let files = [("etc/authd.pass", "secret"), ("api/configuration/security/rbac.db", "\u{0}users")];
    for (path, content) in files {
        cluster.members[0].node().home.write(path, content);
    }
    cluster.until("b has them", |[_, b, _]| files.iter().all(|(path, content)| b.reads(path) == *content));
    cluster.members[0].node().home.write("etc/authd.pass", "another one");
    cluster.until("b has the change", |[_, b, _]| b.reads("etc/authd.pass") == "another one");
    let master = cluster.connection_of(2);
    let [_, _, c] = &cluster.members;
    assert!(files.iter().all(|(path, _)| c.node().home.read(path).is_none()));
    let refused = master.request(clusterd::wire::Command::PrivateFiles, String::new()).unwrap_err().to_string();
    assert!(refused.contains("c gets no private files: it is none of failover.candidates"), "{refused}");

    // The new master has them, and gives its own to the former one.
    let former = cluster.members[0].stop();
    cluster.expire();
    cluster.until("b is the master", |[_, b, _]| is_master(b));
    cluster.members[1].node().home.write("etc/authd.pass", "of b");
    cluster.members[0].start(former);
    cluster.until("a has it", |[a, ..]| a.reads("etc/authd.pass") == "of b");
}

#[test]
fn the_first_agents_are_not_taken_for_lost_and_lost_ones_are_not_lost_everywhere() {
    let mut cluster = Cluster::with_arbiter();
    cluster.until_in_sync(&json!(["a", "b"]));
    let home = cluster.members[1].stop();
    assert_eq!(cluster.register(0, "one"), "001");
    cluster.members[0].stop();
    cluster.members[1].start(home);
    cluster.expire();
    cluster.until("b has the first agent", |[_, b, _]| is_master(b) && keys(b).contains("001 one"));
    // Its records are forgotten: it is the only one who may follow.
    cluster.hand.advance(AWAY);
    cluster.until_in_sync(&json!(["b"]));
    let seat = cluster.memory.seat();
    cluster.until("no record", |_| seat.list(Folder::Registrations, None).unwrap().entries.is_empty());
    cluster.until("c has it, too", |[.., c]| keys(c).contains("001 one"));
    let home = cluster.members[1].stop();
    home.write("etc/client.keys", "");
    cluster.members[1].start(home);
    cluster.expire();
    cluster.until("b empties nobody", |[_, b, c]| {
        hindrance(b).contains("has no agent, and ids up to 1 were given") && keys(c).contains("001 one")
    });
}

#[test]
fn a_candidate_that_cannot_write_its_term_lets_the_others_try() {
    let mut cluster = Cluster::with_arbiter();
    cluster.until_in_sync(&json!(["a", "b"]));
    let former = cluster.members[0].stop();
    // As a full disk would: what is staged cannot be put in its place.
    let term = cluster.members[1].node().home.path("queue/cluster-state/term.json");
    std::fs::remove_file(&term).unwrap();
    std::fs::create_dir_all(term.join("in the way")).unwrap();
    cluster.expire();
    cluster.until("b has tried", |[_, b, _]| b.candidate.as_ref().is_some_and(|b| b.gave_back()));
    assert!(!is_master(&cluster.members[1]));
    cluster.members[0].start(former);
    cluster.until("a is the master again", |[a, _, c]| {
        is_master(a) && a.node().workers().contains(&"c".to_owned()) && c.claim().term > 1
    });
}
