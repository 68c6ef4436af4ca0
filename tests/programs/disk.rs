//! Disks of a worker that take nothing more, or not this file: what can be applied is, and the master is told the rest.

use std::{fs, path::Path, process::Command};

use crate::support::{Daemon, Home, clusterd, control, seen, skip, unshared, until};

const CANNOT_MOUNT: &str = "file systems can be mounted only by root, and where namespaces are permitted";

/// The worker w1, which sees file systems that this script mounts; none if this machine does not permit that.
fn start_with(worker: &Home, mounts: &str, arguments: &[&Path]) -> Option<Daemon> {
    let command = unshared(mounts, arguments, &clusterd(worker))?;
    Some(Daemon::start_as(worker, command))
}

/// Runs a script where the daemon's mounts are.
fn among_its_mounts(daemon: &Daemon, script: &str, path: &Path) {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["-t", &daemon.pid().to_string(), "-m", "sh", "-c", script, "sh"]).arg(path);
    assert!(nsenter.status().unwrap().success());
}

/// Waits until `cluster_control -i` gives the reason `text` why w1 is not in sync.
fn wait_for_reason(master: &Home, text: &str) {
    let mut said = String::new();
    until("the reason", || {
        let output = control(master, &["-i"]);
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code() == Some(3) && said.contains(&format!("Not in sync: w1: {text}"))).then_some(())
    });
}

fn wait_for_sync(master: &Home) {
    until("a worker in sync", || (control(master, &["-i", "-fn", "w1"]).status.code() == Some(0)).then_some(()));
}

fn pair() -> (Home, Home) {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    for home in [&master, &worker] {
        home.write("etc/client.keys", "001 a any first\n");
        home.write("etc/rules/local_rules.xml", "the first");
        fs::create_dir(home.path("etc/lists")).unwrap();
    }
    (master, worker)
}

/// Bytes that do not shrink.
fn noise(count: u32, seed: u32) -> Vec<u8> {
    let block = |n: u32| *blake2b_simd::blake2b(&[seed.to_le_bytes(), n.to_le_bytes()].concat()).as_array();
    (0..count / 64).flat_map(block).collect()
}

/// A directory for which there is no room stays as it is; all else is applied.
#[test]
fn a_full_disk_on_the_worker_loses_nothing() {
    let (master, worker) = pair();
    let first = Daemon::start(&master);
    let mount = r#"mount -t tmpfs -o size=1m none "$1""#;
    let Some(daemon) = start_with(&worker, mount, &[&worker.path("etc/rules")]) else { return skip(CANNOT_MOUNT) };
    let rules = seen(&daemon, &worker.path("etc/rules"));
    wait_for_sync(&master);

    // A master that runs may look between two of them, and they are to come with one archive.
    drop(first);
    master.write("etc/rules/big.xml", noise(2_000_000, 0));
    master.write("etc/rules/local_rules.xml", "the second");
    master.write("etc/client.keys", "001 a any second\n");
    let _master = Daemon::start(&master);
    worker.wait_for_file("etc/client.keys", "001 a any second\n");
    let line = worker.wait_for("'etc/rules/big.xml' could not be created: there is no room for the new files of ");
    assert!(line.contains("ERROR: [Worker w1] [Integrity sync]"), "{line}");
    wait_for_reason(&master, "2 files could not be written there, the first etc/rules/");
    assert_eq!(fs::read(rules.join("local_rules.xml")).unwrap(), b"the first", "the old file is whole");
    let names: Vec<_> = fs::read_dir(&rules).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["local_rules.xml"], "nothing half is left");

    fs::remove_file(master.path("etc/rules/big.xml")).unwrap();
    wait_for_sync(&master);
    assert_eq!(fs::read(rules.join("local_rules.xml")).unwrap(), b"the second", "it goes on when there is room");
}

/// Case 3.1: `etc/rules` is read-only, as a ConfigMap is.
#[test]
fn a_directory_that_is_read_only_holds_up_nothing_else() {
    let (master, worker) = pair();
    let _master = Daemon::start(&master);
    let mount = r#"mount --bind "$1" "$1"; mount -o remount,bind,ro "$1""#;
    let rules = worker.path("etc/rules");
    let Some(daemon) = start_with(&worker, mount, &[&rules]) else { return skip(CANNOT_MOUNT) };
    wait_for_sync(&master);

    master.write("etc/rules/local_rules.xml", "the second");
    master.write("etc/lists/audit", "a:b\n");
    master.write("etc/client.keys", "001 a any second\n");
    worker.wait_for_file("etc/client.keys", "001 a any second\n");
    worker.wait_for_file("etc/lists/audit", "a:b\n");
    worker.wait_for("'etc/rules/local_rules.xml' could not be updated: Read-only file system.");
    wait_for_reason(
        &master,
        "1 file could not be written there, the first etc/rules/local_rules.xml: Read-only file system",
    );
    assert_eq!(worker.read("etc/rules/local_rules.xml").unwrap(), b"the first");
    // What failed does not hide behind what went well afterwards.
    master.write("etc/client.keys", "001 a any third\n");
    worker.wait_for_file("etc/client.keys", "001 a any third\n");
    wait_for_reason(&master, "1 file could not be written there, the first etc/rules/local_rules.xml: ");

    among_its_mounts(&daemon, r#"mount -o remount,bind,rw "$1""#, &rules);
    worker.wait_for_file("etc/rules/local_rules.xml", "the second");
    wait_for_sync(&master);
}

/// The kernel tells nobody who watches a directory that something was mounted over it.
#[test]
fn what_is_mounted_over_a_directory_is_noticed_by_the_next_check() {
    let (master, worker) = pair();
    master.write("etc/shared/default/agent.conf", "for agents");
    let _master = Daemon::start(&master);
    let Some(daemon) = start_with(&worker, "true", &[]) else { return skip(CANNOT_MOUNT) };
    worker.wait_for_file("etc/shared/default/agent.conf", "for agents");
    wait_for_sync(&master);
    let group = worker.path("etc/shared/default");
    among_its_mounts(&daemon, r#"mount -t tmpfs none "$1""#, &group);
    let copy = seen(&daemon, &group.join("agent.conf"));
    until("the file on what was mounted", || (fs::read(&copy).ok()? == b"for agents").then_some(()));
    assert_eq!(worker.read("etc/shared/default/agent.conf").unwrap(), b"for agents", "below it stays what was there");
}

/// Case 3.2: single files of the worker are mounts, as containers have them.
#[test]
fn files_that_are_mounts_are_written_over() {
    let (master, worker) = pair();
    let _master = Daemon::start(&master);
    let [keys, rules] = [("keys", "etc/client.keys"), ("rules", "etc/rules/local_rules.xml")].map(|(name, path)| {
        fs::write(worker.beside(name), "mounted").unwrap();
        (worker.beside(name), worker.path(path))
    });
    let mount = r#"mount --bind "$1" "$2"; mount --bind "$3" "$4""#;
    let arguments = [&*keys.0, &keys.1, &rules.0, &rules.1];
    let Some(_daemon) = start_with(&worker, mount, &arguments) else { return skip(CANNOT_MOUNT) };
    wait_for_sync(&master);
    for (keys_now, rules_now) in [("001 a any first\n", "the first"), ("001 a any second\n002 b any\n", "2nd")] {
        master.write("etc/client.keys", keys_now);
        master.write("etc/rules/local_rules.xml", rules_now);
        master.write("etc/lists/audit", rules_now);
        worker.wait_for_file("etc/lists/audit", rules_now);
        for (mounted, content) in [(&keys.0, keys_now), (&rules.0, rules_now)] {
            until("the content of a mount", || (fs::read_to_string(mounted).unwrap() == content).then_some(()));
        }
        wait_for_sync(&master);
    }
    assert!(!worker.log().contains("ERROR"), "{}", worker.log());

    fs::remove_file(master.path("etc/rules/local_rules.xml")).unwrap();
    worker.wait_for("'etc/rules/local_rules.xml' could not be deleted: Device or resource busy.");
    wait_for_reason(
        &master,
        "1 file could not be written there, the first etc/rules/local_rules.xml: Device or resource",
    );
}

/// Case 3.3: the whole home of the worker is a file system of 40 MB, for which 40 MB of new lists are too much. The keys
/// come first, then what fits, though the archive itself has no room.
#[test]
fn lists_that_do_not_fit_keep_no_key_away() {
    let (master, worker) = pair();
    let _master = Daemon::start(&master);
    let small = worker.beside("small");
    fs::create_dir(&small).unwrap();
    let mount = r#"mount -t tmpfs -o size=40m none "$2"; cp -a "$1/." "$2/"; mount --bind "$2" "$1""#;
    let Some(daemon) = start_with(&worker, mount, &[&worker.path(""), &small]) else { return skip(CANNOT_MOUNT) };
    let seen = |path: &str| fs::read(seen(&daemon, &worker.path(path))).ok();
    wait_for_sync(&master);

    for number in 0..4 {
        master.write(&format!("etc/lists/{number}"), noise(10_000_000, number));
    }
    master.write("etc/client.keys", "001 a any second\n");
    until("the keys", || (seen("etc/client.keys").unwrap() == b"001 a any second\n").then_some(()));
    let there = || (0..4).filter(|number| seen(&format!("etc/lists/{number}")).is_some()).count();
    until("a list that fits", || (there() >= 1).then_some(()));
    let mut said = String::new();
    until("the lists that do not fit", || {
        said = String::from_utf8_lossy(&control(&master, &["-i"]).stderr).into_owned();
        said.contains("could not be written there, the first etc/lists/").then_some(())
    });
    assert!(said.contains("there is no room for the new files of 'etc/lists/'"), "{said}");
    assert!((1..=3).contains(&there()), "{}", there());
    master.write("etc/client.keys", "001 a any third\n");
    until("the next keys", || (seen("etc/client.keys").unwrap() == b"001 a any third\n").then_some(()));

    (1..4).for_each(|number| fs::remove_file(master.path(&format!("etc/lists/{number}"))).unwrap());
    until("the others are gone", || (there() <= 1).then_some(()));
    wait_for_sync(&master);
    assert_eq!(seen("etc/lists/0").unwrap(), noise(10_000_000, 0));
}
