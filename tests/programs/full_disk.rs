//! A home on a disk without one free byte.

use std::{fs, io::Write, path::PathBuf};

use crate::support::{Daemon, Home, Program, clusterd, skip, unshared, until};

/// Case 5.4: the log of a statement that was killed, and not one byte free on the disk of the whole home.
#[test]
fn a_node_starts_on_a_full_disk_and_works_when_there_is_room() {
    let (home, full) = (Home::master(), Home::master());
    home.write("etc/client.keys", format!("001 agent1 any {:064x}\n", 1));
    home.write("etc/shared/default/agent.conf", "<agent_config/>");
    let agents = "global sql SELECT name FROM agent WHERE id = 1";
    let known = r#"ok [{"name":"agent1"}]"#;
    for leaves_a_log in [true, false] {
        let daemon = Daemon::start(&home);
        until("the agent is known", || (Program::database(&home).ask(agents) == known).then_some(()));
        if leaves_a_log {
            daemon.kill();
            let log = fs::OpenOptions::new().append(true).open(home.path("queue/db/global.db-wal"));
            log.unwrap().write_all(&[7; 300_000]).unwrap();
        } else {
            daemon.stop();
        }
        let setup = r#"
            mount -t tmpfs -o size=8m none "$2"
            cp -a "$1"/. "$2"
            rm -rf "$2"/var/run/* "$2"/queue/db/global.db-shm
            dd if=/dev/zero of="$2/rest" bs=4k 2> /dev/null || true"#;
        let Some(command) = unshared(setup, &[&home.path(""), &full.path("")], &clusterd(&full)) else {
            return skip("a small file system can be mounted only by root, and where namespaces are permitted");
        };
        let daemon = Daemon::start_as(&full, command);
        let seen = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), full.path("").display()));
        let ask = |request: &str| Program::at(&seen.join("queue/db/wdb")).ask(request);
        until("the agent is known on a full disk", || (ask(agents) == known).then_some(()));
        let mut id = 7;
        let mut insert = || {
            id += 1;
            ask(&format!(r#"global insert-agent {{"id":{id},"name":"agent{id}","date_add":1}}"#))
        };
        let answer = insert();
        // What the log gave back may be enough.
        assert!(leaves_a_log || answer.contains("database or disk is full"), "{answer}");
        fs::remove_file(seen.join("rest")).unwrap();
        until("it can be written again", || (insert() == "ok").then_some(()));
        assert_eq!(ask(agents), known);
        daemon.stop();
    }
}
