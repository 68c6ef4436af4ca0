//! A master that lies in its archive as a whole: the worker takes nothing of it, and tells why in its log and to the master.

use serde_json::json;

use crate::support::{Victim, archive, entry, update};

const RULES: &str = "etc/rules/";

fn plain() -> Victim {
    Victim::new(|_| ())
}

#[test]
fn a_member_that_leads_out() {
    let bytes = archive(&[("../evil", b"evil")], &update(&[("../evil", entry(RULES, b"evil"))], &[], &[]));
    plain().refuses(&bytes, "the archive has the unsafe path '../evil'");
    let bytes = archive(&[("etc/rules/../../../evil", b"evil")], &update(&[], &[], &[]));
    plain().refuses(&bytes, "the archive has the unsafe path 'etc/rules/../../../evil'");
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
        let limits = json!({"max_zip_size": 1_000_000, "min_zip_size": 1_000_000});
        home.settings(json!({"intervals": {"communication": limits}}));
    });
    let zeros = vec![0; 10 << 20];
    let bytes =
        archive(&[("etc/rules/own.xml", &zeros)], &update(&[], &[("etc/rules/own.xml", entry(RULES, &zeros))], &[]));
    assert!(bytes.len() < 1_000_000, "a bomb is small");
    victim.refuses(&bytes, "the archive holds more than 1000000 bytes of content");
}
