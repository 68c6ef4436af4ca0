//! The process: options, exit statuses, signals, pid file, socket, log (`spec/protocol.md` 15.3 to 15.5).

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
        process::ExitStatusExt,
    },
    process::{Command, Output},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use serde_json::json;

use crate::support::{Address, Daemon, Home, Peer, clusterd, control, finish, skip, unshared_with, until};

const SOCKET: &str = "queue/cluster/c-internal.sock";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the daemon says with these options, and its exit code.
fn says(home: &Home, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = clusterd(home);
    command.args(options);
    let Output { status, stdout, stderr } = finish(command);
    (status.code(), text(&stdout), text(&stderr))
}

#[test]
fn version_help_and_wrong_options() {
    let home = Home::master();
    fs::remove_dir_all(home.path("")).unwrap();
    let (code, out, _) = says(&home, &["-V"]);
    let versions =
        concat!("\nThreatLockDown wazuh-clusterd ", env!("CARGO_PKG_VERSION"), ", advertises Wazuh 4.14.7\n");
    assert!(code == Some(0) && out.starts_with(versions), "{out}");
    let (code, out, _) = says(&home, &["-h"]);
    assert!(code == Some(0) && out.contains("Usage: wazuh-clusterd") && out.contains("Exit codes:"), "{out}");
    for (options, what) in [(&["-x"][..], "the option -x is not known"), (&["-c"], "-c"), (&["start"], "start")] {
        let (code, _, err) = says(&home, options);
        assert!(code == Some(2) && err.contains(what) && err.contains("Try 'wazuh-clusterd -h'"), "{err}");
    }
    assert!(!home.path("").exists(), "none of these needs or makes a home");
}

#[test]
fn signals_end_it_soon_and_leave_nothing() {
    for (signal, ended, line) in [
        (Signal::SIGTERM, (None, Some(15)), "SIGNAL [(15)-(SIGTERM)] received. Exit..."),
        (Signal::SIGINT, (Some(0), None), "SIGINT received. Bye!"),
    ] {
        let master = Home::master();
        let worker = Home::worker("w1", master.address);
        // The group that there always is has a directory on every node.
        for home in [&master, &worker] {
            fs::create_dir_all(home.path("etc/shared/default")).unwrap();
        }
        let before = (master.snapshot(), worker.snapshot());
        let mut daemons = [Daemon::start(&master), Daemon::start(&worker)];
        worker.wait_for("Sync not required.");
        for (daemon, home) in daemons.iter_mut().zip([&master, &worker]) {
            for program in ["wazuh-clusterd", "wazuh-db", "wazuh-authd"] {
                let pid_file = format!("var/run/{program}-{}.pid", daemon.pid());
                assert_eq!(text(&home.read(&pid_file).unwrap()), format!("{}\n", daemon.pid()));
                let mode = fs::metadata(home.path(&pid_file)).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o640);
            }
            let begun = Instant::now();
            daemon.signal(signal);
            let status = daemon.wait();
            assert!(begun.elapsed() < Duration::from_secs(2), "{signal}: {:?}", begun.elapsed());
            assert_eq!((status.code(), status.signal()), ended);
            assert!(home.wait_for(line).contains("INFO"), "{}", home.log());
            let left = home.traces();
            assert!(!left.iter().any(|name| name.contains("pid") || name.contains("sock")), "{left:?}");
            assert!(
                text(&fs::read(home.beside("stdout")).unwrap()).starts_with("Starting cluster in foreground (pid: ")
            );
        }
        assert_eq!((master.snapshot(), worker.snapshot()), before);
    }
}

/// The daemon in a container of its own, in which its program is the first process.
fn in_container(home: &Home) -> Option<Daemon> {
    // Whatever ends the test ends unshare, and with it the first process and all others.
    let options = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let Some(command) = unshared_with(&options, "true", &[], &clusterd(home)) else {
        skip("only root may make namespaces (unshare --pid)");
        return None;
    };
    Some(Daemon::start_as(home, command))
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// The first process, which is the child of unshare.
fn first_process(daemon: &Daemon) -> u32 {
    children(daemon.pid())[0]
}

/// Case 1.3: unshare ends as the first process does.
#[test]
fn signals_end_it_in_a_container() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 0)] {
        let home = Home::master();
        let Some(mut daemon) = in_container(&home) else { return };
        kill(Pid::from_raw(first_process(&daemon) as i32), signal).unwrap();
        assert_eq!(daemon.wait().code(), Some(code));
        let log = home.log();
        assert!(log.contains("Starting with pid 2: ") && log.contains("[Process] Stopped."), "{log}");
    }
}

/// Case 1.4: what an executor leaves running is an orphan of the first process. It is reaped when it ends, and the daemon
/// still learns how its executors end.
#[test]
fn orphans_are_reaped_in_a_container() {
    let home = Home::master();
    let orphan = "setsid sh -c 'touch queue/alive; until [ -e queue/go ]; do sleep 0.01; done' >&- 2>&- <&- &";
    home.write("executor", format!("#!/bin/sh\n{orphan}\nuntil [ -e queue/alive ]; do sleep 0.01; done; cat\n"));
    fs::set_permissions(home.path("executor"), fs::Permissions::from_mode(0o755)).unwrap();
    home.settings(json!({"distributed_api": {"executor": [home.path("executor")]}}));
    let Some(daemon) = in_container(&home) else { return };
    let first = first_process(&daemon);
    let alone = children(first);
    assert_eq!(alone.len(), 1, "the daemon");
    for _ in 0..3 {
        let mut program = UnixStream::connect(home.path(SOCKET)).unwrap();
        program.write_all(&[&7_u32.to_be_bytes()[..], &2_u32.to_be_bytes(), b"dapi -------{}"].concat()).unwrap();
        let mut said = Vec::new();
        until("the answer of the executor", || {
            let mut buffer = [0; 4096];
            let count = program.read(&mut buffer).unwrap();
            said.extend_from_slice(&buffer[..count]);
            let said = String::from_utf8_lossy(&said);
            assert!(count > 0 && !said.contains("err"), "{said}");
            said.contains("new_str").then_some(())
        });
        until("an orphan", || (children(first).len() == 2).then_some(()));
        home.write("queue/go", "");
        until("its end", || (children(first) == alone).then_some(()));
        fs::remove_file(home.path("queue/go")).unwrap();
        fs::remove_file(home.path("queue/alive")).unwrap();
    }
}

#[test]
fn a_busy_node_ends_soon_too() {
    let master = Home::master();
    let daemon = Daemon::start(&master);
    let mut half = Peer::connect(master.address);
    let frame = half.frame(1, "echo", b"hello");
    half.send_bytes(&frame[..30]);
    let _silent = Peer::join(master.address, "w1");
    let _local = UnixStream::connect(master.path(SOCKET)).unwrap();
    let begun = Instant::now();
    assert_eq!(daemon.stop().signal(), Some(15));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// The original ends with 0 here; whoever starts a daemon must be able to see that it does not run.
#[test]
fn a_port_in_use() {
    let home = Home::master();
    let _other = TcpListener::bind(home.address.socket()).unwrap();
    let before = home.snapshot();
    let expected = format!("Could not start master: cannot listen at {}:15160: Address already in use", home.address.0);
    for options in [&["-f", "-r"][..], &["-r"]] {
        let (code, _, err) = says(&home, options);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(&expected) && err.contains("another program listens there: stop it"), "{err}");
        assert!(home.wait_for(&expected).contains("ERROR: [Cluster] [Main]"));
    }
    assert_eq!(home.snapshot(), before);
    assert!(!home.traces().iter().any(|name| name.contains("pid")), "{:?}", home.traces());
}

#[test]
fn an_address_of_another_machine() {
    let home = Home::master();
    home.option("bind_addr", "192.0.2.1");
    let (code, _, err) = says(&home, &["-f", "-r"]);
    assert!(code == Some(1) && err.contains("set <bind_addr> to an address of this machine"), "{err}");
}

#[test]
fn a_start_that_fails_leaves_no_socket() {
    let home = Home::master();
    let _other = TcpListener::bind(home.address.socket()).unwrap();
    assert_eq!(says(&home, &["-f", "-r"]).0, Some(1));
    assert_eq!(home.traces(), Vec::<String>::new());
}

#[test]
fn a_second_daemon_of_the_same_home() {
    let home = Home::worker("w1", Address::new());
    let mut first = Daemon::start(&home);
    home.write("queue/cluster/w1/in-use", "of the first");
    for options in [&["-f", "-r"][..], &["-r"]] {
        let (code, _, err) = says(&home, options);
        assert!(code == Some(1) && err.contains("is served by another daemon; stop it first"), "{err}");
    }
    assert!(first.is_running());
    assert!(home.path("queue/cluster/w1/in-use").exists(), "the second one touches nothing");
    assert!(home.path(&format!("var/run/wazuh-clusterd-{}.pid", first.pid())).exists());
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster_control"));
    command.arg("--home").arg(home.path("")).arg("-l");
    assert_eq!(finish(command).status.code(), Some(3), "the first one serves its socket");
}

#[test]
fn a_stale_socket_and_stale_files_are_replaced() {
    let home = Home::master();
    drop(UnixListener::bind(home.path(SOCKET)).unwrap());
    for stale in ["queue/cluster/w1/w1-1.5-ab.zip", "queue/cluster/old/dir/file", "queue/cluster/loose"] {
        home.write(stale, "stale");
    }
    std::os::unix::fs::symlink(home.path("etc"), home.path("queue/cluster/link")).unwrap();
    home.write("var/run/wazuh-clusterd-4194999.pid", "4194999\n");
    home.write("var/run/wazuh-db-4194999.pid", "4194999\n");
    home.write("var/run/wazuh-remoted-4194999.pid", "4194999\n");
    let before = home.snapshot();
    let daemon = Daemon::start(&home);
    let own = ["authd", "clusterd", "db"].map(|program| format!("var/run/wazuh-{program}-{}.pid", daemon.pid()));
    let mut left = home.traces();
    left.sort();
    assert_eq!(left, [&[SOCKET.to_owned()], &own[..], &["var/run/wazuh-remoted-4194999.pid".to_owned()]].concat());
    let about = fs::metadata(home.path(SOCKET)).unwrap();
    assert!(about.file_type().is_socket() && about.permissions().mode() & 0o777 == 0o660);
    assert_eq!(control(&home, &["-l"]).status.code(), Some(0));
    assert_eq!(home.snapshot(), before, "what a link in it points to stays");
}

#[test]
fn hangup_opens_the_log_again() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    fs::rename(home.path("logs/cluster.log"), home.path("logs/cluster.log.1")).unwrap();
    daemon.signal(Signal::SIGHUP);
    home.wait_for("SIGNAL [(1)-(SIGHUP)] received. The log goes on in this file.");
    home.wait_for("[Local integrity] Finished in");
    let mode = fs::metadata(home.path("logs/cluster.log")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o660, 0, "the key and nothing else is secret, but others have no business here: {mode:o}");
    assert_eq!(daemon.stop().signal(), Some(15));
}

#[test]
fn every_line_has_the_form_that_log_readers_know() {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    master.write("etc/rules/a.xml", "a rule");
    let daemons = [Daemon::start(&master), Daemon::start(&worker)];
    let mut peer = Peer::connect(master.address);
    peer.request("hello", "two\nlines wazuh worker 4.14.7");
    worker.wait_for("Sync not required.");
    for daemon in daemons {
        daemon.stop();
    }
    for log in [master.log(), worker.log()] {
        assert!(log.ends_with('\n') && log.lines().count() > 10);
        for line in log.lines() {
            assert!(is_log_line(line), "{line}");
        }
    }
    assert!(worker.log().contains("INFO: [Worker w1] [Integrity check] Starting."));
    assert!(master.log().contains("INFO: [Worker w1] [Integrity check] Finished in 0."));
    // Threads that write at the same instant may do so in one order here and in another there.
    let (shown, log) = (text(&fs::read(worker.beside("stderr")).unwrap()), worker.log());
    let [shown, log] = [shown.as_str(), &log].map(|text| {
        let mut lines: Vec<_> = text.split_inclusive('\n').collect();
        lines.sort_unstable();
        lines.concat()
    });
    assert_eq!(shown, log, "-f shows the log");
}

/// `2026/11/23 10:29:25 INFO: [Tag] [Subtag] text`
fn is_log_line(line: &str) -> bool {
    let form = b"0000/00/00 00:00:00 ";
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    let Some((time, rest)) = line.split_at_checked(form.len()) else { return false };
    let Some((level, rest)) = rest.split_once(": [") else { return false };
    let Some((tag, rest)) = rest.split_once("] [") else { return false };
    let Some((subtag, message)) = rest.split_once("] ") else { return false };
    time.bytes().zip(form).all(fits)
        && ["ERROR", "WARNING", "INFO", "DEBUG", "DEBUG2"].contains(&level)
        && !tag.is_empty()
        && !subtag.is_empty()
        && !message.is_empty()
}

#[test]
fn a_home_that_is_not_there() {
    let home = Home::master();
    fs::remove_dir_all(home.path("")).unwrap();
    let (code, _, err) = says(&home, &["-f", "-r"]);
    assert!(code == Some(1) && err.contains("cannot be written") && err.contains("no Wazuh installation at "), "{err}");
    assert!(!home.path("").exists());
}
