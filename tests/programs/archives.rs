//! A master that lies: whatever it sends, a worker writes and deletes nothing but its own synchronised files, and says
//! what was wrong.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::support::{Address, Daemon, Home, Peer, ScriptedMaster, archive, entry, update};

const RULES: &str = "etc/rules/";

/// A worker with some files, connected to a scripted master that has got its manifest.
struct Victim {
    home: Home,
    _daemon: Daemon,
    _master: ScriptedMaster,
    peer: Peer,
}

impl Victim {
    fn new(prepare: impl Fn(&Home)) -> Self {
        let home = Home::worker("w1", Address::new());
        home.write("etc/rules/own.xml", "the worker's");
        home.write("etc/client.keys", "001 agent any key");
        prepare(&home);
        let master = ScriptedMaster::new(home.address);
        let daemon = Daemon::start(&home);
        let mut peer = master.accept();
        peer.wait_for("syn_i_w_m_e");
        peer.grant = false;
        Self { home, _daemon: daemon, _master: master, peer }
    }

    /// Sends an archive and waits for what the worker says of it as a whole.
    fn take(&mut self, bytes: &[u8], says: &str) -> String {
        let mark = self.home.mark();
        assert_eq!(self.peer.update("w1", bytes).0, "ok");
        self.home.wait_for_since(mark, says)
    }

    /// The archive is refused as a whole: nothing changes, and both sides are told `why`.
    fn refuses(mut self, bytes: &[u8], why: &str) {
        let before = self.home.snapshot();
        let line = self.take(bytes, "[Integrity sync] The synchronisation failed: ");
        assert!(line.contains("ERROR") && line.contains("the archive is refused") && line.contains(why), "{line}");
        let told = String::from_utf8(self.peer.wait_for("syn_i_w_m_r")).unwrap();
        assert!(told.starts_with("None {") && told.contains("\"code\": 3040"), "{told}");
        assert_eq!(self.home.snapshot(), before);
        // The next check goes its way.
        self.peer.grant = true;
        self.peer.wait_for("syn_i_w_m_e");
    }

    /// One entry is refused and a good one beside it is carried out; `counts` are overwriting, creating and removing.
    fn refuses_one(
        mut self,
        path: &str,
        why: &str,
        counts: [usize; 3],
        bad: (&[(&str, &[u8])], [&[(&str, Value)]; 3]),
    ) {
        let (bad_members, [missing, shared, extra]) = bad;
        let good: &[u8] = b"a good rule";
        let mut before = self.home.snapshot();
        let members = [bad_members, &[("etc/rules/good.xml", good)]].concat();
        let missing = [missing, &[("etc/rules/good.xml", entry(RULES, good))]].concat();
        let mark = self.home.mark();
        self.take(&archive(&members, &update(&missing, shared, extra)), "[Integrity sync] Finished in");
        let log = self.home.log().split_off(mark);
        let told = log.lines().find(|line| line.contains("ERROR") && line.contains(path) && line.contains(why));
        assert!(told.is_some(), "no line tells '{path}' and '{why}':\n{log}");
        let [updated, created, removed] = counts;
        let sum = format!("Found errors: {updated} overwriting, {created} creating and {removed} removing");
        assert!(log.contains(&sum), "'{sum}' is not in:\n{log}");
        assert_eq!(self.home.read("etc/rules/good.xml").as_deref(), Some(good));
        let mut after = self.home.snapshot();
        after.remove("home/etc/rules/good.xml");
        before.remove("home/etc/rules/good.xml");
        assert_eq!(after, before);
        self.peer.grant = true;
        self.peer.wait_for("syn_i_w_m_e");
    }
}

fn plain() -> Victim {
    Victim::new(|_| ())
}

/// What creating `path` with this key needs.
fn creates(path: &str, key: &str, why: &str) {
    let content: &[u8] = b"evil";
    let members = [(path, content)];
    plain().refuses_one(path, why, [0, 1, 0], (&members, [&[(path, entry(key, content))], &[], &[]]));
}

/// What deleting `path` with this key needs.
fn deletes(path: &str, key: &str, why: &str) {
    plain().refuses_one(path, why, [0, 0, 1], (&[], [&[], &[], &[(path, entry(key, b"x"))]]));
}

#[test]
fn a_member_that_leads_out() {
    let bytes = archive(&[("../evil", b"evil")], &update(&[("../evil", entry(RULES, b"evil"))], &[], &[]));
    plain().refuses(&bytes, "the archive has the unsafe path '../evil'");
    let bytes = archive(&[("etc/rules/../../../evil", b"evil")], &update(&[], &[], &[]));
    plain().refuses(&bytes, "the archive has the unsafe path 'etc/rules/../../../evil'");
}

#[test]
fn an_entry_that_leads_out() {
    creates("etc/rules/../../evil", RULES, "it has a component '.' or '..'");
    deletes("etc/rules/../../etc/ossec.conf", RULES, "it has a component '.' or '..'");
}

#[test]
fn an_absolute_path() {
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("evil");
    creates(path.to_str().unwrap(), RULES, "it is absolute");
    fs::write(&path, "precious").unwrap();
    deletes(path.to_str().unwrap(), RULES, "it is absolute");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn an_unknown_item_key() {
    creates("bin/evil", "bin/", "'bin/' is no synchronised directory");
    creates("evil", "", "'' is no synchronised directory");
    deletes("etc/ossec.conf", "/", "'/' is no synchronised directory");
}

#[test]
fn a_key_that_is_not_that_of_the_path() {
    creates("etc/rules/evil.xml", "etc/shared/", "it is outside 'etc/shared/'");
    creates("etc/rules/evil.xml", "etc/", "subdirectories of 'etc/' are not synchronised");
    deletes("etc/rules/own.xml", "etc/lists/", "it is outside 'etc/lists/'");
}

#[test]
fn files_that_are_never_synchronised() {
    creates("etc/ossec.conf", "etc/", "files of this name are never synchronised");
    creates("etc/internal_options.conf", "etc/", "only certain files of 'etc/' are synchronised");
    deletes("etc/local_internal_options.conf", "etc/", "only certain files of 'etc/' are synchronised");
}

#[test]
fn a_directory_that_is_a_link() {
    let prepare = |home: &Home| {
        fs::create_dir(home.beside("target")).unwrap();
        fs::write(home.beside("target/victim.xml"), "precious").unwrap();
        symlink(home.beside("target"), home.path("etc/rules/link")).unwrap();
    };
    let evil: &[u8] = b"evil";
    for name in ["etc/rules/link/evil.xml", "etc/rules/link/victim.xml", "etc/rules/link/below/evil.xml"] {
        let entries = [(name, entry(RULES, evil))];
        Victim::new(prepare).refuses_one(name, "", [0, 1, 0], (&[(name, evil)], [&entries, &[], &[]]));
        Victim::new(prepare).refuses_one(name, "", [1, 0, 0], (&[(name, evil)], [&[], &entries, &[]]));
    }
    let victim = "etc/rules/link/victim.xml";
    Victim::new(prepare).refuses_one(victim, "", [0, 0, 1], (&[], [&[], &[], &[(victim, entry(RULES, b"x"))]]));
}

#[test]
fn a_file_that_is_a_link_is_replaced_and_its_target_stays() {
    let mut victim = Victim::new(|home| {
        fs::write(home.beside("target"), "precious").unwrap();
        for name in ["one.xml", "two.xml"] {
            symlink(home.beside("target"), home.path("etc/rules").join(name)).unwrap();
        }
    });
    let new: &[u8] = b"new";
    let lists = update(&[], &[("etc/rules/one.xml", entry(RULES, new))], &[("etc/rules/two.xml", entry(RULES, b"x"))]);
    victim.take(&archive(&[("etc/rules/one.xml", new)], &lists), "[Integrity sync] Finished in");
    assert_eq!(fs::read(victim.home.beside("target")).unwrap(), b"precious");
    assert_eq!(victim.home.read("etc/rules/one.xml").as_deref(), Some(new));
    assert!(!victim.home.path("etc/rules/one.xml").is_symlink());
    assert!(victim.home.path("etc/rules/two.xml").symlink_metadata().is_err());
}

#[test]
fn an_entry_without_its_content() {
    let lists = [("etc/rules/evil.xml", entry(RULES, b"evil"))];
    let why = "the archive does not hold its content";
    plain().refuses_one("etc/rules/evil.xml", why, [0, 1, 0], (&[], [&lists, &[], &[]]));
    let lists = [("etc/rules/own.xml", entry(RULES, b"evil"))];
    plain().refuses_one("etc/rules/own.xml", why, [1, 0, 0], (&[], [&[], &lists, &[]]));
}

#[test]
fn a_content_that_is_not_what_the_metadata_says() {
    let members: [(&str, &[u8]); 1] = [("etc/rules/own.xml", b"evil")];
    let lists = [("etc/rules/own.xml", entry(RULES, b"something else"))];
    let why = "does not have the checksum that the metadata gives";
    plain().refuses_one("etc/rules/own.xml", why, [1, 0, 0], (&members, [&[], &lists, &[]]));
    let mut odd = entry(RULES, b"evil");
    odd["hash"] = json!("no checksum");
    let why = "its checksum in the metadata cannot be read";
    plain().refuses_one("etc/rules/own.xml", why, [1, 0, 0], (&members, [&[], &[("etc/rules/own.xml", odd)], &[]]));
}

#[test]
fn one_file_in_two_lists() {
    let members: [(&str, &[u8]); 1] = [("etc/rules/own.xml", b"evil")];
    let lists = [("etc/rules/own.xml", entry(RULES, b"evil"))];
    let mut victim = plain();
    let bytes = archive(&members, &update(&[], &lists, &lists));
    victim.take(&bytes, "Found errors: 0 overwriting, 0 creating and 1 removing");
    assert_eq!(victim.home.read("etc/rules/own.xml").as_deref(), Some(&b"evil"[..]), "it is not lost");
}

#[test]
fn a_truncated_archive() {
    let content = b"a rule that is long enough to be cut ".repeat(50);
    let lists = update(&[("etc/rules/own.xml", entry(RULES, &content))], &[], &[]);
    let whole = archive(&[("etc/rules/own.xml", &content)], &lists);
    plain().refuses(&whole[..whole.len() - 20], "the content of 'files_metadata.json' is incomplete");
    plain().refuses(&whole[..60], "the content of 'etc/rules/own.xml' is incomplete");
    plain().refuses(b"", "the archive has a member without a name");
}

#[test]
fn an_archive_that_is_none() {
    plain().refuses(b"PK\x03\x04 a real zip", "the archive has a member without a name");
    plain()
        .refuses(b"files_metadata.json|//@@//|not zlib", "the content of 'files_metadata.json' cannot be decompressed");
    plain().refuses(&archive(&[], &json!([1, 2])), "the file metadata of the peer cannot be read");
    plain().refuses(&archive(&[], &json!({"missing": {}, "shared": {}})), "missing field `extra`");
}

#[test]
fn more_content_than_is_allowed() {
    let victim = Victim::new(|home| {
        let limits = json!({"max_zip_size": 100_000, "min_zip_size": 50_000});
        home.settings(json!({"intervals": {"communication": limits}}));
    });
    let zeros = vec![0; 10 << 20];
    let bytes =
        archive(&[("etc/rules/own.xml", &zeros)], &update(&[], &[("etc/rules/own.xml", entry(RULES, &zeros))], &[]));
    assert!(bytes.len() < 100_000, "a bomb is small");
    victim.refuses(&bytes, "the archive holds more than 100000 bytes of content");
}

#[test]
fn transfers_that_were_not_announced() {
    let mut victim = plain();
    let before = victim.home.snapshot();
    let refused = |answer: (String, String), text: &str| {
        assert!(answer.0 == "err" && answer.1.contains(text), "{answer:?}");
    };
    let peer = &mut victim.peer;
    refused(peer.send_file("/queue/cluster/w1/x.zip", b"no sync was begun"), "Write path not allowed");
    let task = peer.ask("syn_m_c", "");
    for path in ["/etc/passwd", "/queue/cluster/../../etc/x", "/queue/cluster/w2/x", "queue/cluster/w1/../x", "x"] {
        refused(peer.send_file(path, b"evil"), "Write path not allowed");
    }
    refused(peer.request("syn_m_c_e", format!("{task} queue/cluster/w1/never.zip")), "\"code\": 3027");
    assert_eq!(peer.ask("new_file", "/queue/cluster/w1/x.zip"), "Ready to receive new file");
    refused(
        peer.request("file_end", [&b"/queue/cluster/w1/x.zip "[..], &[0; 32]].concat()),
        "File wasn't correctly received. Checksums aren't equal.",
    );
    refused(peer.request("syn_m_c_e", "wrong-task queue/cluster/w1/x.zip"), "\"code\": 3027");
    victim.home.wait_for("was refused: Write path not allowed");
    assert_eq!(victim.home.snapshot(), before);
}

#[test]
fn a_master_that_begins_and_never_ends() {
    let mut victim = Victim::new(|home| {
        home.settings(json!({"intervals": {"communication": {"timeout_receiving_file": 0.3}}}));
    });
    let before = victim.home.snapshot();
    let task = victim.peer.ask("syn_m_c", "");
    let told = String::from_utf8(victim.peer.wait_for("cancel_task")).unwrap();
    assert!(told.starts_with(&task) && told.contains("\"code\": 3039"), "{told}");
    victim.home.wait_for("[Integrity sync] Error 3039 - Timeout while waiting to receive a file");
    victim.peer.grant = true;
    victim.peer.wait_for("syn_i_w_m_e");
    assert_eq!(victim.home.snapshot(), before);
}
