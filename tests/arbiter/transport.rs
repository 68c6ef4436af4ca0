//! TLS: who etcd is, and who this node is.

use std::{path::PathBuf, process::Command, time::Duration};

use clusterd::arbiter::{
    Key,
    etcd::{Options, tls::Files},
};

use crate::{
    members::Members,
    node::{master, patient, seat, until},
};

/// Runs `openssl`; false if it is not installed.
fn openssl(members: &Members, line: &str) -> bool {
    let directory = members.path("");
    match Command::new("openssl").args(line.split(' ')).current_dir(directory).output() {
        Ok(output) => {
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            println!("skipped: openssl: {error}");
            false
        }
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// An authority; its files have this name.
fn authority(members: &Members, name: &str) -> bool {
    openssl(members, &format!("req -x509 {KEY} -days 2 -subj /O={name} -keyout {name}.key -out {name}.crt"))
}

/// A certificate for this alternative name, signed by an authority. Members use theirs as clients of each other, too, and
/// so does the gateway of one.
fn certificate(members: &Members, name: &str, alternative: &str, by: &str) {
    let extensions = format!("subjectAltName={alternative}\nextendedKeyUsage=serverAuth,clientAuth\n");
    std::fs::write(members.path(&format!("{name}.ext")), extensions).unwrap();
    openssl(members, &format!("req -new {KEY} -subj /O={name} -keyout {name}.key -out {name}.csr"));
    let sign = format!("x509 -req -in {name}.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial -days 2");
    openssl(members, &format!("{sign} -extfile {name}.ext -out {name}.crt"));
}

#[test]
fn etcd_and_this_node_prove_themselves_by_certificates() {
    let Some(members) = Members::prepare(1) else { return };
    let members = members.over_tls();
    if !authority(&members, "ca") {
        return;
    }
    authority(&members, "other");
    certificate(&members, "etcd", &format!("IP:{}", members.address()), "ca");
    certificate(&members, "node", "DNS:node", "ca");
    certificate(&members, "stranger", "DNS:node", "other");
    let path = |name: &str| members.path(name);
    let [ca, certificate, key] = ["ca.crt", "etcd.crt", "etcd.key"].map(|name| path(name).display().to_string());
    let more = ["--client-cert-auth", "--trusted-ca-file", &ca, "--cert-file", &certificate, "--key-file", &key];
    let members = members.begin(&more);

    let path = |name: &str| members.path(name);
    let with = |ca: &str, own: Option<&str>| -> Options {
        let own: Option<(PathBuf, PathBuf)> =
            own.map(|name| (path(&format!("{name}.crt")), path(&format!("{name}.key"))));
        let mut options = patient(&members.urls());
        options.tls = Some(Files { ca: path(ca), own });
        options
    };
    let node = seat(&with("ca.crt", Some("node")));
    until("etcd", || node.etcd.read(&[Key::Master]).is_ok());
    let mut changes = node.etcd.changes(1).unwrap();
    assert_eq!(changes.wait(Duration::from_millis(50)), Ok(false));
    let lease = node.etcd.grant(Duration::from_secs(600)).unwrap();
    node.etcd.claim(lease, &master("a")).unwrap();
    assert_eq!(changes.wait(Duration::from_secs(60)), Ok(true));

    let failure = |options: &Options| seat(options).etcd.read(&[Key::Master]).unwrap_err().to_string();
    let text = failure(&with("other.crt", Some("node")));
    assert!(text.contains("set failover.ca to the authority that has signed its certificate"), "{text}");
    for own in [None, Some("stranger")] {
        // The connection may be gone before its last words are read.
        until("what etcd says to a stranger", || {
            let text = failure(&with("ca.crt", own));
            let told = text.contains("set failover.cert and failover.key to a certificate that etcd accepts");
            assert!(told || text.contains(" failed: "), "{text}");
            told
        });
    }
    let mut wrong = with("ca.crt", Some("node"));
    wrong.endpoints[0].host = "localhost".into();
    let url = wrong.endpoints[0].to_string();
    // It listens at its own address only.
    assert!(failure(&wrong).starts_with(&format!("{url} refuses connections")));
    let plain = patient(&[members.url(0).replace("https", "http")]);
    let text = failure(&plain);
    assert!(text.contains("write https:// if it serves with TLS there"), "{text}");
}

#[test]
fn a_member_without_tls_is_told() {
    let Some(members) = Members::start(1, &[]) else { return };
    if !authority(&members, "ca") {
        return;
    }
    let mut options = patient(&[members.url(0).replace("http", "https")]);
    options.tls = Some(Files { ca: members.path("ca.crt"), own: None });
    let text = seat(&options).etcd.read(&[Key::Master]).unwrap_err().to_string();
    assert!(text.contains("else http://"), "{text}");
}
