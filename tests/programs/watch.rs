//! cluster_control --watch, on a terminal and off it, and what it shows of long work.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::support::{Daemon, Home, Peer, archive, control, manifest, skip, until};

const CONTROL: &str = env!("CARGO_BIN_EXE_cluster_control");

/// What ends it.
pub const CTRL_C: &[u8] = b"\x03";
const CTRL_BACKSLASH: &[u8] = b"\x1c";

/// Another screen without a cursor, and back to the first.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A terminal; when this is dropped it is gone, and what runs on it is told.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The size of most terminals here.
const SMALL: &str = "cols 60 rows 12";

/// Runs it on a terminal of this kind until `enough` says so, then presses a key; gives all that it wrote and its status.
fn on_terminal(home: &Home, run: (&str, &str, &[u8]), enough: impl Fn(&str) -> bool) -> Option<(String, Option<i32>)> {
    on_terminal_of(SMALL, home, run, enough)
}

/// The same, on one of this size.
pub fn on_terminal_of(
    size: &str,
    home: &Home,
    (arguments, kind, key): (&str, &str, &[u8]),
    enough: impl Fn(&str) -> bool,
) -> Option<(String, Option<i32>)> {
    let seen = home.beside("typescript");
    // That of an earlier run says nothing of this one.
    let _ = std::fs::remove_file(&seen);
    let line = format!("stty {size}; exec {CONTROL} --home {} {arguments}", home.path("").display());
    let script = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &line])
        .arg(&seen)
        .env_remove("WAZUH_HOME")
        .env("TERM", kind)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(script) = script else {
        skip("there is no script(1)");
        return None;
    };
    let mut script = Terminal(script);
    let read = || std::fs::read(&seen).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    until("enough frames", || enough(&read()).then_some(()));
    let mut keyboard = script.0.stdin.take().unwrap();
    // It may have ended by itself.
    let _ = keyboard.write_all(key);
    let status = until("the end", || script.0.try_wait().unwrap());
    Some((read(), status.code()))
}

#[test]
fn a_table_is_renewed_in_place_until_ctrl_c() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    let frames = |seen: &str| seen.matches(" UTC, every 0.1 s; Ctrl-C ends it.\x1b[K").count();
    let watch = ("-l --watch 0.1", "xterm", CTRL_C);
    let Some((seen, status)) = on_terminal(&home, watch, |seen| frames(seen) >= 3) else { return };
    assert_eq!(status, Some(0), "{seen}");
    assert!(seen.contains(&format!("{ENTER}\x1b[H")) && seen.contains(LEAVE), "{seen}");
    assert!(
        seen.contains("STATE    NAME  TYPE    VERSION") && seen.contains("\r\n\x1b[32min sync\x1b[0m  m     master"),
        "{seen}"
    );

    // It goes on when the daemon ends, and its verdict is the last one.
    daemon.stop();
    let gone = |seen: &str| seen.matches("ERROR: Error 3012").count() >= 2;
    let (seen, status) = on_terminal(&home, watch, gone).unwrap();
    assert_eq!(status, Some(1), "{seen}");
    let lines = seen.split("\x1b[H").nth(1).unwrap().lines();
    let columns = |line: &str| line.replace("\x1b[K", "").replace("\x1b[J", "").trim_end().chars().count();
    assert!(lines.map(columns).all(|columns| columns <= 60), "what is wider goes on in the next row: {seen}");
}

#[test]
fn a_daemon_that_does_not_answer_holds_up_no_key() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    daemon.signal(Signal::SIGSTOP);
    let began = Instant::now();
    for key in [CTRL_C, CTRL_BACKSLASH] {
        let ended = on_terminal(&home, ("-l --watch", "xterm", key), |seen| seen.contains(ENTER));
        let Some((seen, status)) = ended else { return };
        assert_eq!(status, Some(1), "nothing is known: {seen}");
        assert!(seen.contains(LEAVE), "{seen}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "an answer is waited for so long");
    daemon.signal(Signal::SIGCONT);
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_is_an_error() {
    let home = Home::master();
    let cannot = |seen: &str| seen.contains("ERROR: --watch needs a terminal");
    let Some((seen, status)) = on_terminal(&home, ("-l --watch", "dumb", CTRL_C), cannot) else { return };
    assert_eq!(status, Some(2), "{seen}");
    assert!(!seen.contains('\x1b'), "{seen}");
    let draws = |seen: &str| seen.contains("ERROR: -d writes where --watch draws");
    assert_eq!(on_terminal(&home, ("-l -d --watch", "xterm", CTRL_C), draws).unwrap().1, Some(2));
}

#[test]
fn without_a_terminal_there_are_lines_of_json_or_an_error() {
    let home = Home::master();
    let _daemon = Daemon::start(&home);
    let output = control(&home, &["-l", "--watch", "0.1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("ERROR: --watch needs a terminal"), "{output:?}");

    let path = home.beside("lines");
    let mut watch = Command::new(CONTROL)
        .arg("--home")
        .arg(home.path(""))
        .args(["-l", "--json", "--watch", "0.1"])
        .stdout(File::create(&path).unwrap())
        .spawn()
        .unwrap();
    let lines = || std::fs::read_to_string(&path).unwrap();
    until("three lines", || (lines().matches('\n').count() >= 3).then_some(()));
    kill(Pid::from_raw(watch.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(until("the end", || watch.try_wait().unwrap()).code(), Some(0));
    for line in lines().lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()[0]["name"], "m");
    }
}

#[test]
fn the_health_tells_how_far_a_transfer_is() {
    let home = Home::master();
    // What cannot be compressed: more chunks of 512 KiB than are made ahead.
    let mut noise = vec![0; 100_000];
    let mut random = File::open("/dev/urandom").unwrap();
    for number in 0..60 {
        random.read_exact(&mut noise).unwrap();
        home.write(&format!("etc/rules/{number}.xml"), &noise);
    }
    let _daemon = Daemon::start(&home);
    let mut peer = Peer::join(home.address, "w1");
    assert_eq!(peer.check("w1", &archive(&[], &manifest(&[]))).0, "ok");
    peer.wait_for("new_file");
    // From now on it takes nothing.
    peer.silent = true;
    peer.wait_for("file_upd");
    let health = || -> Value { serde_json::from_slice(&control(&home, &["-i", "--json"]).stdout).unwrap() };
    let progress = until("some progress", || {
        let progress = health()["nodes"]["w1"]["status"]["sync_progress"].clone();
        (progress["bytes"].as_u64()? > 0).then_some(progress)
    });
    let number = |name: &str| progress[name].as_u64().unwrap();
    assert!(number("of_files") == 60 && (1..60).contains(&number("files")), "{progress}");
    assert!((500_000..2_000_000).contains(&number("bytes")), "{progress}");
    let output = control(&home, &["-i"]);
    let (said, table) = (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    assert!(table.contains(" | Sending: ") && table.contains(" of 60 files, "), "{table}");
    assert!(said.contains("\nNot in sync: w1: files are being sent to it, "), "{said}");
    assert!(String::from_utf8(control(&home, &["-i", "more"]).stdout).unwrap().contains("\n                Sending: "));
}

#[test]
fn a_file_that_a_worker_cannot_write_is_named() {
    let master = Home::master();
    master.write("etc/rules/a.xml", "a rule");
    let _master = Daemon::start(&master);
    let worker = Home::worker("w1", master.address);
    // Something of its own lies where the file is to be.
    worker.write("etc/rules/a.xml/own.tmp", "x");
    let _worker = Daemon::start(&worker);
    let said = || String::from_utf8(control(&master, &["-i"]).stderr).unwrap();
    let expected =
        "1 of 2 in sync, 1 behind.\nNot in sync: w1: 1 file could not be written there, the first etc/rules/a.xml: ";
    until("the master knows it", || said().starts_with(expected).then_some(()));
    std::fs::remove_dir_all(worker.path("etc/rules/a.xml")).unwrap();
    until("the worker in sync", || said().is_empty().then_some(()));
    worker.wait_for_file("etc/rules/a.xml", "a rule");
}
