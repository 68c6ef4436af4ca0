//! The key: where it is in the memory of a daemon, and that no log ever shows it.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use clusterd::{local::client::LocalClient, wire::Command};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Daemon, Home, KEY, Peer, clusterd, control, finish, skip, until};

/// What `get_config` answers.
fn configuration(home: &Home) -> String {
    let client = LocalClient::new(home.path("queue/cluster/c-internal.sock"));
    String::from_utf8(client.ask(Command::Config, b"").unwrap()).unwrap()
}

/// How often `text` stands in the memory that the process can write. None if this test may not look.
fn in_memory(pid: u32, text: &str) -> Option<usize> {
    let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut count = 0;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw"))) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = (address(start), address(end));
        let mut content = vec![0; (end - start) as usize];
        memory.seek(SeekFrom::Start(start)).unwrap();
        // A mapping may end, or have a page that cannot be read.
        if memory.read_exact(&mut content).is_ok() {
            count += content.windows(text.len()).filter(|part| *part == text.as_bytes()).count();
        }
    }
    Some(count)
}

/// The configuration has the key, and each link its cipher; nothing of what was read, parsed and answered is left.
#[test]
fn the_key_is_in_memory_only_where_it_is_used() {
    let home = Home::master();
    home.settings(json!({"local": {"show_key": true}}));
    let daemon = Daemon::start(&home);
    if in_memory(daemon.pid(), KEY).is_none() {
        return skip("the memory of a process that cannot be dumped can be read only by root");
    }
    // The second half is the AES key, which the cipher's code leaves on the stacks of the threads that encrypt.
    let becomes = |count: usize, why: &str| {
        for text in [KEY, &KEY[..16]] {
            until(&format!("{count} times '{text}' {why}"), || (in_memory(daemon.pid(), text)? == count).then_some(()));
        }
    };
    becomes(1, "after the start");
    let mut peer = Peer::join(home.address, "w1");
    peer.ask("echo", b"x");
    becomes(1, "with a link, which shares it");
    assert!(configuration(&home).contains(KEY));
    becomes(1, "after it was told");
    drop(peer);
    becomes(1, "after the link");
}

/// A key that was replaced is gone, and with it all that was read of the files.
#[test]
fn a_key_that_was_removed_is_not_in_memory() {
    const OTHER: &str = "vutsrqponmlkjihgfedcba9876543210";
    let home = Home::master();
    home.option("key", OTHER);
    home.settings(json!({"link": {"accept_keys": [KEY]}}));
    let daemon = Daemon::start(&home);
    let becomes = |text: &str, count: usize| {
        until(&format!("{count} times '{text}'"), || (in_memory(daemon.pid(), &text[..16])? == count).then_some(()));
    };
    if in_memory(daemon.pid(), KEY).is_none() {
        return skip("the memory of a process that cannot be dumped can be read only by root");
    }
    let mut peer = Peer::join(home.address, "w1");
    becomes(KEY, 1);
    becomes(OTHER, 1);
    home.settings(json!({}));
    daemon.signal(Signal::SIGHUP);
    peer.wait_for_end();
    becomes(KEY, 0);
    becomes(OTHER, 1);
}

/// Every file below `directory` with its path.
pub fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

/// A cluster with all its log lines, good days and bad ones: none of it shows the key, or a half of it.
#[test]
fn no_log_shows_the_key() {
    const OTHER: &str = "vutsrqponmlkjihgfedcba9876543210";
    let master = Home::master();
    let [worker, stranger] = ["w1", "w2"].map(|name| Home::worker(name, master.address));
    stranger.option("key", OTHER);
    master.write("etc/rules/a.xml", "a rule");
    let homes = [&master, &worker, &stranger];
    for home in homes {
        home.write("etc/local_internal_options.conf", "wazuh_clusterd.debug=0\n");
    }
    let mut daemons = Vec::new();
    for home in homes {
        daemons.push(Daemon::start_with(home, clusterd(home), &["-f", "-r", "-dd"]));
    }
    worker.wait_for_file("etc/rules/a.xml", "a rule");
    master.wait_for("its signature does not fit the cluster key");
    stranger.wait_for("Could not connect to master");
    assert!(configuration(&master).contains("*****") && !configuration(&master).contains(KEY));
    control(&worker, &["-i", "more"]);
    let mut peer = Peer::join(master.address, "w3");
    peer.request("nonsense", KEY.to_uppercase());
    peer.request("syn_i_w_m_e", "no such task");
    for daemon in &daemons {
        daemon.signal(Signal::SIGHUP);
    }
    for home in homes {
        home.wait_for("SIGNAL [(1)-(SIGHUP)] received.");
    }
    daemons.into_iter().for_each(|daemon| _ = daemon.stop());
    for bad in ["<key>", "x", ""] {
        worker.option("key", &format!("{KEY}{bad}"));
        let mut check = clusterd(&worker);
        check.arg("-t");
        fs::write(worker.beside(&format!("said{}", bad.len())), finish(check).stderr).unwrap();
    }
    let mut found = Vec::new();
    for home in homes {
        files(&home.path("logs"), &mut found);
        found.extend(["stdout", "stderr", "said0", "said1", "said5"].into_iter().filter_map(|name| {
            let path = home.beside(name);
            Some((path.display().to_string(), fs::read(&path).ok()?))
        }));
    }
    assert!(found.iter().any(|(_, content)| content.windows(8).any(|part| part == b" DEBUG: ")));
    for (path, content) in &found {
        for secret in [&KEY[..16], &KEY[16..], &OTHER[..16], &OTHER[16..]] {
            let shown = content.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!shown, "{path} shows a part of the key");
        }
    }
    assert!(found.len() >= 9, "{}", found.len());
}
