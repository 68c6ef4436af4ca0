//! A full disk on the worker.

use std::{fs, path::PathBuf};

use crate::support::{Daemon, Home, clusterd, skip, unshared};

/// A daemon whose `etc/rules` is a file system of one mebibyte that only it sees; none if this machine does not permit it.
fn start_with_small_rules(home: &Home) -> Option<Daemon> {
    let mount = r#"mount -t tmpfs -o size=1m none "$1""#;
    let command = unshared(mount, &[&home.path("etc/rules")], &clusterd(home))?;
    Some(Daemon::start_as(home, command))
}

#[test]
fn a_full_disk_on_the_worker_loses_nothing() {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    master.write("etc/rules/a.xml", "the first");
    let _master = Daemon::start(&master);
    let Some(daemon) = start_with_small_rules(&worker) else {
        return skip("a small file system can be mounted only by root, and where namespaces are permitted");
    };
    let seen = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), worker.path("etc/rules").display()));
    worker.wait_for("[Integrity sync] Finished in");
    assert_eq!(fs::read(seen.join("a.xml")).unwrap(), b"the first");

    let noise: Vec<u8> =
        (0u32..200_000).flat_map(|n| blake2b_simd::blake2b(&n.to_le_bytes()).as_bytes()[..10].to_vec()).collect();
    master.write("etc/rules/big.xml", &noise);
    master.write("etc/rules/a.xml", "the second");
    let line = worker.wait_for("[Integrity sync] The synchronisation failed: ");
    assert!(line.contains("ERROR") && line.contains("etc/rules/"), "{line}");
    assert!(line.contains("not enough room") || line.contains("No space left on device"), "{line}");
    master.wait_for("Received error from worker: ");
    assert_eq!(fs::read(seen.join("a.xml")).unwrap(), b"the first", "the old file is whole");
    let names: Vec<_> = fs::read_dir(&seen).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.xml"], "nothing half is left");

    fs::remove_file(master.path("etc/rules/big.xml")).unwrap();
    let mark = master.mark();
    master.wait_for_since(mark, "Sync not required.");
    assert_eq!(fs::read(seen.join("a.xml")).unwrap(), b"the second", "it goes on when there is room");
}
