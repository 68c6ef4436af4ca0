//! SIGHUP: what comes into force, what stays, and what is said of it.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{Daemon, Home, KEY, Peer, clusterd, finish, until};

const OTHER: &str = "vutsrqponmlkjihgfedcba9876543210";

/// The lines that the daemon logs of a reload, without time; the last one contains `end`.
fn reload(home: &Home, daemon: &Daemon, end: &str) -> Vec<String> {
    let mark = home.mark();
    daemon.signal(Signal::SIGHUP);
    home.wait_for_since(mark, "SIGNAL [(1)-(SIGHUP)] received.");
    home.wait_for_since(mark, end);
    let log = home.log();
    let lines = log[mark..].lines().filter(|line| line.contains("[Cluster] [Main]") && !line.contains("SIGHUP"));
    lines.map(|line| line.split_once(' ').unwrap().1.split_once(' ').unwrap().1.to_owned()).collect()
}

const READ: &str = "The configuration has been read again: ";

#[test]
fn a_configuration_with_faults_changes_nothing_and_each_fault_has_its_line() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    let mut peer = Peer::join(home.address, "w1");
    let file = home.path("etc/cluster.json").display().to_string();
    home.option("key", OTHER);
    home.write("etc/cluster.json", "{\n\"link\": {\"accept_keys\": [],}\n}");
    let lines = reload(&home, &daemon, "The old configuration stays in force: ");
    let malformed = format!(
        "ERROR: [Cluster] [Main] The old configuration stays in force: Error 3005 - Error reading cluster.json: trailing \
         comma ({file}:2: column 28; write a JSON object, without comments and without a comma after the last member)"
    );
    assert_eq!(lines, [malformed]);

    home.option("port", "80");
    home.settings(json!({"link": {"accept_keys": [OTHER, "short"], "acept_keys": [OTHER]}}));
    let lines = reload(&home, &daemon, "acept_keys is not a setting");
    let said = lines.join("\n");
    assert!(lines.len() == 3 && lines.iter().all(|line| line.starts_with("ERROR") && line.contains("stays in force")));
    for text in ["Port must be higher", "link > accept_keys is not acceptable", "key 2: it has 5 characters"] {
        assert!(said.contains(text), "{said}");
    }
    assert!(!home.log().contains(OTHER), "a key is shown");

    let text = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
    home.settings(json!({}));
    home.write("etc/ossec.conf", text.replace("</cluster>", ""));
    let lines = reload(&home, &daemon, "The old configuration stays in force: Error 3006 - Error reading cluster conf");
    assert!(lines.len() == 1 && lines[0].contains("etc/ossec.conf:"), "{lines:?}");
    home.write("etc/ossec.conf", text);

    // Everything is as it was: the link, the key, and after the repair nothing but the port has another value.
    assert_eq!(peer.ask("echo", "x"), "x");
    assert_eq!(Peer::connect(home.address).hello("w2").0, "ok");
    home.option("key", KEY);
    home.settings(json!({}));
    home.option("port", "1517");
    let lines = reload(&home, &daemon, READ);
    let texts: Vec<_> = lines.iter().filter(|line| !line.contains("is open to")).collect();
    assert_eq!(
        texts,
        [
            "WARNING: [Cluster] [Main] What has changed here needs a restart: <port>.",
            "INFO: [Cluster] [Main] The configuration has been read again: the key is the same, 0 more accepted, the \
             debug level is 1."
        ]
    );
    assert_eq!(peer.ask("echo", "x"), "x");
}

#[test]
fn what_needs_a_restart_is_named_in_one_line() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    home.option("node_name", "other");
    home.option("bind_addr", "127.0.0.9");
    home.settings(json!({"intervals": {"master": {"recalculate_integrity": 5}}, "local": {"max_clients": 9}}));
    let expected = "WARNING: [Cluster] [Main] What has changed here needs a restart: <node_name>, <bind_addr>, \
                    intervals.master of cluster.json, local of cluster.json.";
    let lines = reload(&home, &daemon, READ);
    assert!(lines.iter().any(|line| line == expected), "{lines:?}");
    // As long as it is so, it is said.
    assert!(reload(&home, &daemon, READ).iter().any(|line| line == expected));

    home.option("disabled", "yes");
    let lines = reload(&home, &daemon, "<disabled>");
    assert_eq!(lines, ["WARNING: [Cluster] [Main] What has changed here needs a restart: <disabled>."]);
    assert_eq!(Peer::connect(home.address).hello("w1").0, "ok", "it serves on with its key");
}

#[test]
fn the_debug_level_changes_at_once() {
    let home = Home::master();
    home.write("etc/local_internal_options.conf", "wazuh_clusterd.debug=0\n");
    let daemon = Daemon::start(&home);
    let mut peer = Peer::join(home.address, "w1");
    let mut is_told = || {
        let mark = home.mark();
        peer.ask("echo", "x");
        home.wait_for_since(mark, "[Local integrity] Finished in");
        home.log()[mark..].contains("DEBUG: [Worker w1] [Main] Command received: b'echo'")
    };
    assert!(!is_told());
    for (level, shown) in [(2, true), (0, false), (1, true)] {
        home.write("etc/local_internal_options.conf", format!("wazuh_clusterd.debug={level}\n"));
        reload(&home, &daemon, &format!("the debug level is {level}."));
        assert_eq!(is_told(), shown, "{level}");
    }
}

#[test]
fn the_command_line_asks_for_debug_lines_unless_the_options_decide() {
    let home = Home::master();
    fs::remove_file(home.path("etc/local_internal_options.conf")).unwrap();
    let _daemon = Daemon::start_with(&home, clusterd(&home), &["-f", "-r", "-d"]);
    Peer::join(home.address, "w1").ask("echo", "x");
    home.wait_for("DEBUG: [Worker w1] [Main] Command received: b'echo'");

    home.write("etc/local_internal_options.conf", "wazuh_clusterd.debug=1\n");
    for (option, is_told) in [("-t", false), ("-dt", false), ("-ddt", true)] {
        let mut command = clusterd(&home);
        command.arg(option);
        let said = finish(command).stderr;
        let note = "-d has no effect: wazuh_clusterd.debug of the internal options decides, as it is not 0.";
        assert_eq!(String::from_utf8_lossy(&said).contains(note), is_told, "{option}");
    }
}

#[test]
fn another_file_is_read_again_from_wherever_it_was_named() {
    let home = Home::master();
    let text = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
    home.write("etc/own.conf", &text);
    home.write("etc/ossec.conf", "");
    let mut command = clusterd(&home);
    command.current_dir(home.path("etc")).args(["-c", "own.conf"]);
    let daemon = Daemon::start_as(&home, command);
    home.write("etc/own.conf", text.replace(KEY, OTHER));
    reload(&home, &daemon, "the key is another one now, 0 more accepted");
    let mut peer = Peer::connect(home.address);
    peer.change_key(OTHER);
    assert_eq!(peer.hello("w1").0, "ok");
}

#[test]
fn accepted_keys_are_reminded_of_and_are_not_for_everybody() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    const PUBLISHED: &str = "c98b62a9b6169ac5f67dae55ae4a9088";
    home.settings(json!({"link": {"accept_keys": [PUBLISHED]}}));
    let lines = reload(&home, &daemon, READ).join("\n");
    for text in [
        "INFO: [Cluster] [Main] Besides <key>, 1 more may be used (link.accept_keys in ",
        "WARNING: [Cluster] [Main] A key of link.accept_keys is a published example that everybody knows",
        "cluster.json has the mode 0644; run: chmod o= ",
    ] {
        assert!(lines.contains(text), "{lines}");
    }
    assert!(!lines.contains(PUBLISHED));
    home.settings(json!({"link": {"accept_keys": [format!("{}{}", &KEY[..16], &OTHER[16..])]}}));
    let lines = reload(&home, &daemon, "stays in force").join("\n");
    assert!(lines.contains("begin with the same 16 characters") && lines.contains("--generate-key"), "{lines}");
}

/// Who starts it and orders a reload at once has it: the order waits until the daemon serves.
#[test]
fn a_hangup_while_it_starts_does_not_end_it() {
    let home = Home::master();
    let hang_up = |pid: u32| {
        let handles = |status: &str| {
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
            u64::from_str_radix(caught, 16).unwrap() & 1 << (Signal::SIGHUP as u64 - 1) != 0
        };
        // By default the signal ends it, so it comes no sooner than that is changed.
        let status = format!("/proc/{pid}/status");
        until("its handler", || handles(&fs::read_to_string(&status).unwrap()).then_some(()));
        kill(Pid::from_raw(pid as i32), Signal::SIGHUP).unwrap();
    };
    let _daemon = Daemon::start_and(&home, hang_up);
    home.wait_for(READ);
}

/// From the moment that others can know its process until there is none.
#[test]
fn hangups_all_the_time_hinder_neither_its_start_nor_its_end() {
    let home = Home::master();
    let over = AtomicBool::new(false);
    let hang_up = || {
        let pid_file = || home.traces().into_iter().find(|name| name.ends_with(".pid"));
        let name = until("its pid file", pid_file);
        let pid = Pid::from_raw(name.rsplit(['-', '.']).nth(1).unwrap().parse().unwrap());
        let mut count = 0;
        while !over.load(Ordering::Relaxed) {
            // It is a zombie until it is waited for, so its number is not that of another.
            kill(pid, Signal::SIGHUP).unwrap();
            count += 1;
            // Without a pause no program gets anything done but its signal handler.
            std::thread::sleep(Duration::from_micros(1));
        }
        count
    };
    std::thread::scope(|scope| {
        let hangups = scope.spawn(hang_up);
        let mut daemon = Daemon::start(&home);
        home.wait_for(READ);
        let mut peer = Peer::join(home.address, "w1");
        assert_eq!(peer.ask("echo", "x"), "x");
        daemon.signal(Signal::SIGTERM);
        home.wait_for("[Cluster] [Process] Stopped.");
        let stat = format!("/proc/{}/stat", daemon.pid());
        until("its end", || fs::read_to_string(&stat).unwrap().contains(") Z ").then_some(()));
        over.store(true, Ordering::Relaxed);
        assert!(hangups.join().unwrap() > 100);
        assert_eq!(daemon.wait().signal(), Some(15));
    });
    let left = home.traces();
    assert!(!left.iter().any(|name| name.contains("pid") || name.contains("sock")), "{left:?}");
    assert!(!home.log().contains("ERROR"), "{}", home.log());
}
