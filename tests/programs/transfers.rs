//! A master that sends what belongs to no synchronisation, or nothing at all.

use serde_json::json;

use crate::support::{Permission, Victim};

#[test]
fn transfers_that_were_not_announced() {
    let mut victim = Victim::new(|_| ());
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
    victim.rests();
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
    victim.peer.permission = Permission::Granted;
    victim.peer.wait_for("syn_i_w_m_e");
    assert_eq!(victim.home.snapshot(), before);
}
