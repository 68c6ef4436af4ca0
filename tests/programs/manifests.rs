//! A worker that lies: whatever it sends, the master's files stay as they are, and the log says what was wrong.

use serde_json::json;

use crate::support::{Answer, Daemon, Footprint, Home, Peer, archive, manifest};

/// A master with one rule, and a worker of the test that has joined.
fn cluster() -> (Home, Daemon, Peer) {
    let home = Home::master();
    home.write("etc/rules/a.xml", "the master's");
    home.write("etc/client.keys", "001 agent any key");
    let daemon = Daemon::start(&home);
    let peer = Peer::join(home.address, "w1");
    (home, daemon, peer)
}

/// The worker's archive is refused with a log line that has `why`; the next check is granted and goes well.
fn refused(bytes: &[u8], why: &str) {
    let (home, daemon, mut peer) = cluster();
    let (before, rest) = (home.snapshot(), Footprint::at_rest(&daemon, &home));
    assert_eq!(peer.check("w1", bytes).0, "ok");
    let line = home.wait_for("[Worker w1] [Integrity check] The worker's manifest is refused: ");
    assert!(line.contains("ERROR") && line.contains(why), "{line}");
    assert_eq!(home.snapshot(), before);
    let files: [(&str, &str, &[u8]); 2] =
        [("etc/client.keys", "etc/", b"001 agent any key"), ("etc/rules/a.xml", "etc/rules/", b"the master's")];
    assert_eq!(peer.check("w1", &archive(&[], &manifest(&files))).0, "ok");
    peer.wait_for("syn_m_c_ok");
    rest.is_had_again(&daemon);
    assert_eq!(home.snapshot(), before);
}

/// Case 6.5: a worker of ours need not wait for a verdict that does not come.
#[test]
fn a_check_that_is_given_up_is_told_to_a_worker_of_ours_only() {
    let (_home, _daemon, mut peer) = cluster();
    peer.ask("native", r#"{"nonce": "AAAAAAAAAAAAAAAAAAAAAA", "features": ["checksum=md5", "digest"]}"#);
    assert_eq!(peer.check("w1", &archive(&[], &json!([]))).0, "ok");
    let told = String::from_utf8(peer.wait_for("syn_m_c_r")).unwrap();
    assert!(told.starts_with("None ") && told.contains("The worker's manifest is refused"), "{told}");

    let (home, _daemon, mut peer) = cluster();
    assert_eq!(peer.check("w1", &archive(&[], &json!([]))).0, "ok");
    home.wait_for("The worker's manifest is refused");
    peer.ask("echo", "what was said before comes before its answer");
    assert!(!peer.was_asked("syn_m_c_r"));
}

#[test]
fn an_archive_that_brings_files() {
    let files = manifest(&[("etc/client.keys", "etc/", b"002 evil any key")]);
    // CVE-2026-49441, CVE-2026-74040: whatever the name and the metadata say.
    for name in ["etc/client.keys", "etc/ossec.conf/", "etc/shared/default/agent.conf/"] {
        let named = name.trim_end_matches('/');
        let text = format!("Error 3007 - A worker may not send files of its own to the master: '{named}'");
        refused(&archive(&[(name, b"002 evil any key")], &files), &text);
    }
}

#[test]
fn an_archive_with_unsafe_names() {
    refused(&archive(&[("../../evil", b"evil")], &json!({})), "the archive has the unsafe path '../../evil'");
}

#[test]
fn a_truncated_archive() {
    let whole = archive(&[], &manifest(&[("etc/rules/a.xml", "etc/rules/", b"x")]));
    refused(&whole[..whole.len() - 5], "the content of 'files_metadata.json' is incomplete");
}

#[test]
fn metadata_that_is_none() {
    refused(&archive(&[], &json!([])), "the file metadata of the peer cannot be read");
    refused(b"files_metadata.json|//@@//|not zlib", "cannot be decompressed");
    refused(b"", "the archive has a member without a name");
}

#[test]
fn metadata_that_grows_when_it_is_read() {
    let blanks = json!({"x": " ".repeat(65 << 20)});
    refused(&archive(&[], &blanks), "the archive holds more than 67108864 bytes of content");
}

/// What only the worker claims to have is to be deleted there; the master's own disk is not concerned.
#[test]
fn entries_of_no_synchronised_directory() {
    let (home, _daemon, mut peer) = cluster();
    let before = home.snapshot();
    let files: [(&str, &str, &[u8]); 4] = [
        ("etc/ossec.conf", "no/such/key/", b"x"),
        ("../../../../etc/passwd", "etc/rules/", b"x"),
        ("/etc/passwd", "", b"x"),
        ("etc/rules/a.xml", "no/such/key/", b"the master's"),
    ];
    assert_eq!(peer.check("w1", &archive(&[], &manifest(&files))).0, "ok");
    peer.wait_for("syn_m_c_e");
    home.wait_for("Files to create in worker: 1 | Files to update in worker: 0 | Files to delete in worker: 3");
    assert_eq!(home.snapshot(), before);
}

#[test]
fn files_without_a_check_and_paths_outside_the_place_of_the_worker() {
    let (home, _daemon, mut peer) = cluster();
    let before = home.snapshot();
    let not_allowed = |answer: Answer| {
        assert_eq!((answer.0.as_str(), answer.1.as_str()), ("err", "Write path not allowed"));
    };
    not_allowed(peer.send_file("/queue/cluster/w1/x.zip", b"no check was begun"));
    crate::support::until("a permission", || (peer.ask("syn_i_w_m_p", "") == "True").then_some(()));
    let task = peer.ask("syn_i_w_m", "");
    for path in [
        "/etc/passwd",
        "/queue/cluster/../../etc/x",
        "/queue/cluster/w1/../m/x",
        "/queue/cluster/c-internal.sock",
        "/queue/cluster/w1/",
        "etc/client.keys",
        "",
    ] {
        not_allowed(peer.send_file(path, b"evil"));
    }
    let (answer, text) = peer.request("syn_i_w_m_e", format!("{task} etc/client.keys"));
    assert!(answer == "err" && text.contains("\"code\": 3027"), "{text}");
    assert_eq!(peer.ask("new_file", "/queue/cluster/w1/x.zip"), "Ready to receive new file");
    let (answer, text) = peer.request("file_end", [&b"/queue/cluster/w1/x.zip "[..], &[0; 32]].concat());
    assert!(answer == "err" && text == "File wasn't correctly received. Checksums aren't equal.", "{text}");
    let (answer, text) = peer.request("file_upd", "/queue/cluster/w1/x.zip more");
    assert!(answer == "err" && text.contains("no file of this name is open"), "{text}");
    let line = home.wait_for("was refused: Write path not allowed");
    assert!(line.contains("WARNING") && line.contains("127.0.0.1:"), "it names the peer: {line}");
    assert_eq!(home.snapshot(), before);
    assert!(!home.traces().iter().any(|name| name.contains("zip")), "{:?}", home.traces());
}

#[test]
fn a_check_that_is_begun_and_never_ended() {
    let home = Home::master();
    home.settings(json!({"intervals": {"communication": {"timeout_receiving_file": 0.3}}}));
    let _daemon = Daemon::start(&home);
    let mut peer = Peer::join(home.address, "w1");
    let task = peer.ask("syn_i_w_m", "");
    assert_eq!(peer.request("syn_i_w_m", "").0, "err", "one at a time");
    let told = String::from_utf8(peer.wait_for("cancel_task")).unwrap();
    assert!(told.starts_with(&task) && told.contains("\"code\": 3039"), "{told}");
    home.wait_for("[Worker w1] [Integrity check] Error 3039 - Timeout while waiting to receive a file");
    assert_eq!(peer.check("w1", &archive(&[], &json!({}))).0, "ok", "the next one is granted");
    peer.wait_for("syn_m_c_ok");
}

/// Whatever the worker claims to have: what is in other buckets is neither sent nor deleted.
#[test]
fn a_check_of_some_files_is_about_no_others() {
    let (home, _daemon, mut peer) = cluster();
    // The MD5 of etc/rules/a.xml begins with 0x8b; no other path here has that bucket.
    let buckets = format!("{}08{}", "00".repeat(17), "00".repeat(14));
    let files: [(&str, &str, &[u8]); 2] =
        [("etc/rules/a.xml", "etc/rules/", b"another"), ("etc/rules/b.xml", "etc/rules/", b"surplus")];
    assert_eq!(peer.check_in(&buckets, "w1", &archive(&[], &manifest(&files))).0, "ok");
    peer.wait_for("syn_m_c_e");
    home.wait_for("Files to create in worker: 0 | Files to update in worker: 1 | Files to delete in worker: 0");
}

#[test]
fn questions_that_are_no_digests_and_checks_of_no_buckets() {
    let (_home, _daemon, mut peer) = cluster();
    crate::support::until("the master knows its files", || (peer.ask("syn_i_w_m_p", "") == "True").then_some(()));
    assert!(peer.ask("int_digest", "0".repeat(32)).starts_with("buckets "));
    for digest in ["", "same", &"0".repeat(31), &"x".repeat(32)] {
        let (answer, text) = peer.request("int_digest", digest);
        assert!(answer == "err" && text.contains("is to be a digest of 32 hexadecimal digits"), "{digest}: {text}");
    }
    for buckets in ["0", &"0".repeat(63), &"x".repeat(64)] {
        let (answer, text) = peer.request("syn_i_w_m", buckets);
        assert!(answer == "err" && text.contains("the buckets of the check"), "{buckets}: {text}");
    }
    assert_eq!(peer.check("w1", &archive(&[], &json!({}))).0, "ok");
}
