//! Files between a master and a worker of ours: what is to be equal becomes equal, and what cannot be read or written is
//! told and not lost.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use crate::support::{Daemon, Home};

/// A master and a worker that has the same one rule already.
fn pair() -> (Home, Home) {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    for home in [&master, &worker] {
        home.write("etc/rules/a.xml", "the same");
    }
    (master, worker)
}

#[test]
fn create_update_delete() {
    let (master, worker) = pair();
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    worker.wait_for("[Integrity check] Finished in");
    master.wait_for("Received metadata of 1 files. Sync not required.");
    master.write("etc/client.keys", "001 agent any key");
    master.write("etc/shared/default/agent.conf", "<agent_config/>");
    master.write("var/multigroups/ab12/merged.mg", "merged");
    master.write("etc/rules/ünïcode name.xml", "a name");
    master.write("etc/rules/empty.xml", "");
    for (path, content) in [
        ("etc/client.keys", "001 agent any key"),
        ("etc/shared/default/agent.conf", "<agent_config/>"),
        ("var/multigroups/ab12/merged.mg", "merged"),
        ("etc/rules/ünïcode name.xml", "a name"),
        ("etc/rules/empty.xml", ""),
    ] {
        worker.wait_for_file(path, content);
    }
    let mode = |path: &str| fs::metadata(worker.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("etc/client.keys"), mode("etc/rules/empty.xml")), (0o640, 0o660));

    master.write("etc/rules/a.xml", "another");
    worker.wait_for_file("etc/rules/a.xml", "another");
    fs::remove_dir_all(master.path("etc/shared/default")).unwrap();
    worker.wait_for_no_file("etc/shared/default");
    worker.write("etc/rules/a.xml", "an own idea");
    worker.wait_for_file("etc/rules/a.xml", "another");
    let mark = master.mark();
    worker.write("etc/lists/surplus", "x");
    master.wait_for_since(mark, "Received metadata of 6 files. Sync not required.");
    assert!(worker.path("etc/lists/surplus").exists(), "a directory that the master has not is no order to delete");
    fs::create_dir(master.path("etc/lists")).unwrap();
    worker.wait_for_no_file("etc/lists/surplus");
    worker.write("etc/rules/note.tmp", "excluded");
    master.wait_for_since(master.mark(), "Sync not required.");
    assert_eq!(worker.read("etc/rules/note.tmp").as_deref(), Some(&b"excluded"[..]));
    assert!(!worker.log().contains("ERROR") && !master.log().contains("ERROR"), "{}\n{}", worker.log(), master.log());
}

#[test]
fn an_unreadable_file_on_the_master() {
    let (master, worker) = pair();
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    master.wait_for("Sync not required.");
    // Not even root can read this. It takes the place of the file at once: a file that is gone would be deleted.
    symlink("a.xml", master.path("etc/rules/link.tmp")).unwrap();
    fs::rename(master.path("etc/rules/link.tmp"), master.path("etc/rules/a.xml")).unwrap();
    let line = master.wait_for("'etc/rules/a.xml' cannot be read and is left out: ");
    assert!(line.contains("WARNING: [Master] [Local integrity]"), "{line}");
    assert!(line.contains("The workers keep the copy that they have; let the user of this daemon read it."), "{line}");
    master.write("etc/rules/b.xml", "came later");
    worker.wait_for_file("etc/rules/b.xml", "came later");
    master.wait_for_since(master.mark(), "Sync not required.");
    assert_eq!(worker.read("etc/rules/a.xml").as_deref(), Some(&b"the same"[..]), "the worker keeps its copy");
    assert_eq!(master.log().matches("cannot be read and is left out").count(), 1, "it is told once: {}", master.log());
}

#[test]
fn a_directory_of_the_master_that_cannot_be_read() {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    worker.write("etc/rules/a.xml", "the worker's");
    fs::remove_dir(master.path("etc/rules")).unwrap();
    symlink("rules", master.path("etc/rules")).unwrap();
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    master.wait_for("'etc/rules/' cannot be read and is left out: ");
    master.write("etc/shared/b", "came later");
    worker.wait_for_file("etc/shared/b", "came later");
    assert_eq!(worker.read("etc/rules/a.xml").as_deref(), Some(&b"the worker's"[..]), "the worker keeps its copies");
}

#[test]
fn a_directory_on_the_worker_where_a_file_should_be() {
    let (master, worker) = pair();
    worker.write("etc/rules/c.xml/inside.xml~", "excluded, so the directory cannot be removed");
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    master.write("etc/rules/c.xml", "a file");
    master.write("etc/rules/d.xml", "a file");
    worker.wait_for_file("etc/rules/d.xml", "a file");
    let line = worker.wait_for("etc/rules/c.xml");
    assert!(line.contains("ERROR: [Worker w1] [Integrity sync]"), "{line}");
    worker.wait_for("Found errors: 0 overwriting, 1 creating and 0 removing");
    assert!(worker.path("etc/rules/c.xml/inside.xml~").exists(), "nothing is lost");
}

#[test]
fn a_file_that_changes_all_the_time() {
    let (master, worker) = pair();
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    for round in 0..200 {
        let content = format!("{round} ").repeat(20_000);
        master.write("etc/rules/new", &content);
        fs::rename(master.path("etc/rules/new"), master.path("etc/rules/a.xml")).unwrap();
        let seen = String::from_utf8(worker.read("etc/rules/a.xml").unwrap()).unwrap();
        let word = seen.split(' ').next().unwrap();
        assert!(seen == "the same" || seen == format!("{word} ").repeat(20_000), "a mixture of two contents");
    }
    worker.wait_for_file("etc/rules/a.xml", "199 ".repeat(20_000));
}

/// The log of the master says it once, too, and when it is over.
#[test]
fn a_file_that_a_worker_cannot_write_is_in_the_log_of_the_master() {
    let (master, worker) = pair();
    worker.write("etc/rules/c.xml/own.tmp", "in its place");
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    master.wait_for("Sync not required.");
    master.write("etc/rules/c.xml", "new");
    let line = master.wait_for("Files that stay as they are on the worker: 'etc/rules/c.xml' (Is a directory).");
    assert!(line.contains("WARNING: [Worker w1] [Integrity sync]"), "{line}");
    master.write("etc/rules/d.xml", "came later");
    worker.wait_for_file("etc/rules/d.xml", "came later");
    fs::remove_file(worker.path("etc/rules/c.xml/own.tmp")).unwrap();
    master.write("etc/rules/c.xml", "newer");
    let line = master.wait_for("No file stays as it is on the worker any more.");
    assert!(line.contains("INFO: "), "{line}");
    assert_eq!(master.log().matches("WARNING: [Worker w1] [Integrity sync]").count(), 1, "{}", master.log());
}
