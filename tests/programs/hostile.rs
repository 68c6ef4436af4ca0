//! A peer that holds the key and means harm, in either role: what the other files of hostile peers do not have. The table
//! of all classes and their tests is in `docs/security-model.md`.

use std::{
    fs,
    net::TcpStream,
    os::unix::{fs::symlink, net::UnixListener},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::json;

use crate::support::{Daemon, Footprint, Home, KEY, List, Peer, RawPeer, Victim, archive, entry, update};

/// What became code, a path or a right in stock nodes when it was read (CVE-2025-24016, CVE-2026-25769, CVE-2026-28220,
/// CVE-2026-48162, CVE-2026-74043).
const OBJECTS: [&str; 5] = [
    r#"{"__unhandled_exc__": {"__class__": "exec", "__args__": ["open('/tmp/evil', 'w')"]}}"#,
    r#"{"f": {"__callable__": {"__name__": "system", "__module__": "os"}}, "f_kwargs": {"command": "true"}}"#,
    r#"{"f": {"__callable__": {"__name__": "get_users", "__module__": "wazuh.security"}}, "rbac_permissions": {"rbac_mode": "black"}}"#,
    r#"{"f": {"__callable__": {"__name__": "x", "__module__": "y"}}, "f_kwargs": {"tmp_file": "../../etc/ossec.conf"}}"#,
    r#"{"f": {"__callable__": {"__name__": "delete_list_file", "__module__": "wazuh.cdb_list"}}, "f_kwargs": {"filename": ["../../etc/client.keys"]}}"#,
];

/// Sends each of the objects where a node reads one: as a request of the API, as its result, as its error, and as the
/// reason of a failure. None of them is more than text.
fn objects(peer: &mut Peer, failure: &str) {
    for object in OBJECTS {
        peer.ask("dapi", format!("c1 {object}"));
        let refused = String::from_utf8(peer.wait_for("dapi_err")).unwrap();
        assert!(refused.starts_with("c1 "), "{refused}");
        let id = peer.ask("new_str", object.len().to_string());
        peer.ask("str_upd", format!("{id} {object}"));
        for (command, payload) in [("dapi_res", format!("c1 {id}")), ("dapi_err", format!("c1 {object}"))] {
            let (answer, text) = peer.request(command, payload);
            assert!(answer == "err" && text.contains("\"code\": 3032,"), "nobody waits for it: {answer} {text}");
        }
        for command in [failure, "cancel_task"] {
            let (answer, text) = peer.request(command, format!("None {object}"));
            assert!(answer == "err" && text.contains("an error object"), "{command}: {answer} {text}");
        }
    }
}

#[test]
fn objects_of_a_worker_are_text_to_the_master() {
    let home = Home::master();
    let _daemon = Daemon::start(&home);
    let mut peer = Peer::join(home.address, "w1");
    let before = home.snapshot();
    objects(&mut peer, "syn_i_w_m_r");
    assert_eq!(home.snapshot(), before);
}

#[test]
fn objects_of_a_master_are_text_to_the_worker() {
    let mut victim = Victim::new(|_| ());
    let before = victim.home.snapshot();
    objects(&mut victim.peer, "syn_m_c_r");
    assert_eq!(victim.home.snapshot(), before);
    victim.rests();
}

/// CVE-2026-48024: a stock worker takes such a file apart, and writes where its headers say.
#[test]
fn a_merged_file_is_one_file_whatever_its_headers_name() {
    let content: &[u8] = b"4 ../../etc/ossec.conf\nevil4 /tmp/evil\nevil";
    let mut merged = entry("etc/shared/", content);
    merged["merged"] = true.into();
    let path = "etc/shared/default/agents.merged";
    let mut victim = Victim::new(|home| home.write(path, "old"));
    let mut expected = victim.home.snapshot();
    victim.take(&archive(&[(path, content)], &update(&[], &[(path, merged)], &[])), "[Integrity sync] Finished in");
    assert_eq!(victim.home.read(path).as_deref(), Some(content));
    let mut after = victim.home.snapshot();
    assert!(after.remove(&format!("home/{path}")) != expected.remove(&format!("home/{path}")));
    assert_eq!(after, expected);
    victim.rests();
}

/// CVE-2026-74040: the last component of such a path is empty, or the file before the slash.
#[test]
fn a_path_that_ends_with_a_slash_names_nothing() {
    let why = "it has an empty component";
    for (path, key) in [("etc/ossec.conf/", "etc/"), ("etc/shared/default/agent.conf//", "etc/shared/")] {
        let evil = || entry(key, b"evil");
        Victim::new(|_| ()).refuses_one(List::Missing, path, evil(), Some(b"evil"), why);
        Victim::new(|_| ()).refuses_one(List::Extra, path, evil(), None, why);
    }
}

/// What stands at the place of a file may be no file of this node alone, or no file at all. It is never opened.
#[test]
fn what_is_no_plain_file_is_replaced_and_what_it_leads_to_stays() {
    let new: &[u8] = b"new\n";
    let names = ["linked", "pipe", "socket", "device"].map(|name| format!("etc/rules/{name}.xml"));
    let mut victim = Victim::new(|home| {
        fs::write(home.beside("target"), "precious").unwrap();
        let [linked, pipe, socket, device] = names.each_ref().map(|name| home.path(name));
        fs::hard_link(home.beside("target"), linked).unwrap();
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        UnixListener::bind(&socket).unwrap();
        symlink("/dev/zero", device).unwrap();
    });
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), new)).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), entry("etc/rules/", new))).collect();
    victim.take(&archive(&members, &update(&[], &entries, &[])), "[Integrity sync] Finished in");
    for name in &names {
        let about = victim.home.path(name).symlink_metadata().unwrap();
        assert!(about.is_file() && victim.home.read(name).as_deref() == Some(new), "{name}");
    }
    assert_eq!(fs::read(victim.home.beside("target")).unwrap(), b"precious");
    victim.rests();
}

/// Begins all that can be begun and left: files, strings, divided messages, a task.
fn begin_and_leave(peer: &mut Peer, task: &str, name: &str) {
    peer.request(task, "");
    for n in 0..20 {
        let (answer, text) = peer.request("new_file", format!("/queue/cluster/{name}/{n}.zip"));
        assert_eq!(answer == "err", n >= 2, "{text}");
    }
    for n in 0..24 {
        let id = peer.ask("new_str", "67108864");
        assert_eq!(peer.request("str_upd", [id.as_bytes(), b" ", &vec![n; 4 << 20]].concat()).0, "ok");
    }
    let piece = peer.frame(7, "dapi", &vec![b'x'; 40 << 20]);
    peer.send_bytes(&piece[..piece.len() / 2]);
}

#[test]
fn what_a_worker_begins_and_leaves_goes_with_its_connection() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    let mut other = Peer::join(home.address, "other");
    let (before, rest) = (home.snapshot(), Footprint::at_rest(&daemon, &home));
    for _ in 0..3 {
        let mut peer = Peer::join(home.address, "w1");
        begin_and_leave(&mut peer, "syn_i_w_m", "w1");
        drop(peer);
        rest.is_had_again(&daemon);
    }
    assert_eq!(other.ask("echo", "still served"), "still served");
    assert_eq!(home.snapshot(), before);
    assert!(!home.traces().iter().any(|name| name.contains("zip")), "{:?}", home.traces());
}

#[test]
fn what_a_master_begins_and_leaves_goes_with_its_connection() {
    let mut victim = Victim::new(|_| ());
    let before = victim.home.snapshot();
    for _ in 0..3 {
        begin_and_leave(&mut victim.peer, "syn_m_c", "w1");
        victim.is_left();
        victim.rests();
    }
    assert_eq!(victim.home.snapshot(), before);
    assert!(!victim.home.traces().iter().any(|name| name.contains("zip")), "{:?}", victim.home.traces());
}

/// As `key_holders_cannot_take_the_memory` in the other role: it asks without end, and reads no answer.
#[test]
fn a_master_cannot_take_the_memory() {
    let mut victim = Victim::new(|home| home.settings(json!({"link": {"frame_timeout": 1}})));
    let over = AtomicBool::new(false);
    let bytes = victim.peer.frame(2, "echo", &vec![b'x'; 8 << 20]);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(3));
            over.store(true, Ordering::Relaxed);
        });
        while victim.peer.send_slowly(&bytes, &over) {}
    });
    victim.is_left();
    victim.rests();
}

/// The same of a worker in a session, where a frame is opened at once: it asks without end and reads no answer, or begins a
/// message and does not end it.
#[test]
fn a_worker_in_a_session_cannot_take_the_memory() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    // What the first worker in a session has the master open stays open.
    let mut first = RawPeer::new(TcpStream::connect(home.address.socket()).unwrap(), KEY);
    assert_eq!(first.join("first").0, "ok");
    home.wait_for("[Agent-groups send] Starting.");
    let rest = Footprint::at_rest(&daemon, &home);
    drop(first);
    for (command, ends) in [("echo", true), ("dapi", false)] {
        let mut peer = RawPeer::new(TcpStream::connect(home.address.socket()).unwrap(), KEY);
        assert_eq!(peer.join("w1").0, "ok");
        peer.fill(command, ends);
        assert_eq!(Peer::join(home.address, "other").ask("echo", "still served"), "still served");
        drop(peer);
        rest.is_had_again(&daemon);
    }
}
