//! `logs/cluster.log` as it comes to be old, large, unwritable, or the target of a flood.

use std::{
    fs::{self, File},
    io::Read,
    net::TcpStream,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant, SystemTime},
};

use clusterd::{system::clock::local_day, wire::ErrorObject};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::support::{Daemon, Home, Peer, WAZUH, clusterd, control, finish, skip, unshared, until};

const LOG: &str = "logs/cluster.log";
const DAY: Duration = Duration::from_secs(86_400);
const NOT_PERMITTED: &str = "only root may make a mount namespace (unshare --mount)";

/// Where the lines of this day are archived.
fn archive_of(home: &Home, day: SystemTime, number: &str) -> PathBuf {
    let date = local_day(day);
    let month = &date.month().to_string()[..3];
    home.path(&format!("logs/cluster/{}/{month}/cluster.log-{:02}{number}.gz", date.year(), date.day()))
}

/// The lines of an archive, as soon as it is there.
fn archived(path: &Path) -> String {
    until(&path.display().to_string(), || path.exists().then_some(()));
    let mut text = String::new();
    flate2::read::GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn write_yesterday(home: &Home, text: &str) -> SystemTime {
    let yesterday = SystemTime::now() - DAY;
    home.write(LOG, text);
    File::options().append(true).open(home.path(LOG)).unwrap().set_modified(yesterday).unwrap();
    yesterday
}

fn said(home: &Home) -> String {
    fs::read_to_string(home.beside("stderr")).unwrap()
}

#[test]
fn the_log_of_yesterday_is_archived_where_the_original_would() {
    let home = Home::master();
    let yesterday = write_yesterday(&home, "a line of yesterday\n");
    let Some(command) = home.as_installed(&clusterd(&home)) else { return skip(NOT_PERMITTED) };
    let _daemon = Daemon::start_with(&home, command, &["-f"]);
    let archive = archive_of(&home, yesterday, "");
    // What was said before the home was locked stands behind it.
    assert!(archived(&archive).starts_with("a line of yesterday\n"));
    until("the closed file gone", || (fs::read_dir(home.path("logs")).unwrap().count() == 2).then_some(()));
    let folders = archive.ancestors().skip(1).take(3).map(|folder| (folder, 0o750));
    for (path, mode) in [(&*archive, 0o640), (&*home.path(LOG), 0o660)].into_iter().chain(folders) {
        let about = fs::metadata(path).unwrap();
        assert_eq!((about.permissions().mode() & 0o777, about.uid(), about.gid()), (mode, WAZUH, WAZUH), "{path:?}");
    }
    assert!(!home.log().contains("a line of yesterday"));
}

/// The clock was set back over midnight while the daemon was down: its log is of tomorrow, and goes on until that is over.
#[test]
fn a_log_of_tomorrow_is_not_closed_today() {
    let home = Home::master();
    let tomorrow = SystemTime::now() + DAY;
    home.write(LOG, "a line of tomorrow\n");
    File::options().append(true).open(home.path(LOG)).unwrap().set_modified(tomorrow).unwrap();
    let _daemon = Daemon::start(&home);
    home.wait_for_since(home.mark(), "[Local integrity] Finished in");
    assert!(home.log().starts_with("a line of tomorrow\n"), "{}", home.log());
    let names: Vec<_> = fs::read_dir(home.path("logs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["cluster.log"]);
}

/// With the file that is written meanwhile, and with more to come from the next line on.
#[test]
fn a_reload_changes_how_the_log_is_written() {
    let home = Home::master();
    let daemon = Daemon::start(&home);
    home.settings(json!({"logging": {"format": "json"}}));
    daemon.signal(Signal::SIGHUP);
    let line = home.wait_for("From here on the log is written as 'logging' in cluster.json says now.");
    assert!(line.starts_with("{\"timestamp\":"), "{line}");
    home.wait_for("\"message\":\"The configuration has been read again: ");
    // A line more than a file may have closes it.
    home.write(LOG, "x".repeat(65_536) + "\n");
    home.settings(json!({"logging": {"format": "plain", "max_size": 65_536}}));
    daemon.signal(Signal::SIGHUP);
    let archive = archive_of(&home, SystemTime::now(), "_1");
    assert!(archived(&archive).starts_with(&"x".repeat(65_536)));
    home.wait_for(" INFO: [Cluster] [Main] The configuration has been read again: ");
    assert!(!home.log().contains("needs a restart"), "{}", home.log());
    // What was read last stays when it is read again and has not changed.
    let mark = home.mark();
    daemon.signal(Signal::SIGHUP);
    home.wait_for_since(mark, "The configuration has been read again: ");
    assert!(!home.log()[mark..].contains("From here on"), "{}", home.log());
}

#[test]
fn a_large_log_is_archived_under_the_next_number() {
    let home = Home::master();
    home.settings(json!({"logging": {"max_size": 65_536}}));
    let today = SystemTime::now();
    for number in ["_1", "_2"] {
        let old = format!("{number}\n").repeat(30_000);
        home.write(LOG, &old);
        let daemon = Daemon::start(&home);
        assert!(archived(&archive_of(&home, today, number)).starts_with(&old));
        daemon.stop();
    }
    assert!(!archive_of(&home, today, "").exists());
}

#[test]
fn a_log_that_is_removed_or_moved_away_is_made_again() {
    let home = Home::master();
    let _daemon = Daemon::start(&home);
    fs::remove_file(home.path(LOG)).unwrap();
    home.wait_for("[Local integrity] Finished in");
    fs::rename(home.path(LOG), home.path("logs/cluster.log.1")).unwrap();
    home.wait_for("[Local integrity] Finished in");
}

#[test]
fn json_lines_from_the_first_to_the_last() {
    let home = Home::master();
    home.settings(json!({"logging": {"format": "json"}}));
    let daemon = Daemon::start(&home);
    Peer::connect(home.address).request("hello", "two\nlines wazuh worker 4.14.7");
    daemon.stop();
    let mut texts = vec![home.log(), said(&home)];
    // Each line goes to the file and then to the other; between two threads the order may differ.
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(lines(&texts[0]), lines(&texts[1]));
    // Faults of the configuration are told in the same form.
    home.option("port", "80");
    let mut command = clusterd(&home);
    command.arg("-t");
    texts.push(String::from_utf8(finish(command).stderr).unwrap());
    assert!(texts[2].contains("Port must be higher"), "{}", texts[2]);
    for line in texts.iter().flat_map(|text| text.lines()) {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let members: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["timestamp", "level", "tags", "message"]);
        assert_eq!(value["tags"].as_array().unwrap().len(), 2, "{line}");
    }
    assert!(texts[0].contains(r#""tags":["Local Server","Main"]"#));
}

/// `logs` cannot be written at all: the daemon serves without it, and says so once where somebody may hear it.
#[test]
fn a_read_only_directory_of_logs() {
    const READ_ONLY: &str = r#"mount --bind "$1" "$1"; mount -o remount,bind,ro "$1""#;
    for log_is_there in [true, false] {
        let home = Home::master();
        if log_is_there {
            home.write(LOG, "");
        }
        let command = || unshared(READ_ONLY, &[&home.path("logs")], &clusterd(&home));
        let Some(foreground) = command() else { return skip(NOT_PERMITTED) };
        let daemon = Daemon::start_as(&home, foreground);
        assert_eq!(control(&home, &["-l"]).status.code(), Some(0));
        daemon.stop();
        let said = said(&home);
        let told: Vec<_> = said.lines().filter(|line| line.contains("cluster.log cannot be ")).collect();
        assert!(told.len() == 1 && told[0].contains("Read-only file system"), "{said}");

        let mut background = command().unwrap();
        background.arg("-r");
        let Output { status, stderr, .. } = finish(background);
        let pid_file = home.traces().into_iter().find(|name| name.ends_with(".pid")).unwrap();
        let pid = String::from_utf8(home.read(&pid_file).unwrap()).unwrap().trim().parse().unwrap();
        let serves = control(&home, &["-l"]).status.code();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        until("its end", || (!home.path(&pid_file).exists()).then_some(()));
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), serves, said.lines().count()), (Some(0), Some(0), 1), "{said}");
        assert!(
            said.contains("Read-only file system") && said.contains("The daemon continues without this log"),
            "{said}"
        );
        assert_eq!(home.log(), "");
    }
}

/// The file may be written and its directory not.
#[test]
fn a_log_that_cannot_be_rotated_goes_on_in_its_file() {
    let home = Home::master();
    write_yesterday(&home, "a line of yesterday\n");
    let Some(command) = home.as_installed(&clusterd(&home)) else { return skip(NOT_PERMITTED) };
    home.give(0, &["logs"]);
    let _daemon = Daemon::start_with(&home, command, &["-f"]);
    let line =
        home.wait_for("cluster.log cannot be rotated: Permission denied (os error 13). The log goes on in this file");
    assert!(line.contains("ERROR: [Cluster] [Main]") && line.contains("may be written and has room"), "{line}");
    let mark = home.mark();
    home.wait_for_since(mark, "[Local integrity] Finished in");
    home.wait_for_since(home.mark(), "[Local integrity] Finished in");
    for text in [home.log(), said(&home)] {
        assert_eq!(text.matches("cannot be rotated").count(), 1, "{text}");
    }
    assert!(home.log().starts_with("a line of yesterday\n"));
}

/// What is closed waits until its archive can be written, and a reload tries at once.
#[test]
fn a_read_only_directory_of_archives() {
    const READ_ONLY: &str = r#"mount --bind "$1" "$1"; mount -o remount,bind,ro "$1""#;
    let home = Home::master();
    let yesterday = write_yesterday(&home, "a line of yesterday\n");
    let folder = home.path("logs/cluster");
    fs::create_dir(&folder).unwrap();
    let Some(command) = unshared(READ_ONLY, &[&folder], &clusterd(&home)) else { return skip(NOT_PERMITTED) };
    let daemon = Daemon::start_as(&home, command);
    let line = home.wait_for("cannot be written: Read-only file system (os error 30). cluster.log.20");
    assert!(
        line.contains("ERROR: [Cluster] [Main]") && line.contains(".rotated stays until it can; see whether"),
        "{line}"
    );
    home.wait_for_since(home.mark(), "[Local integrity] Finished in");
    assert_eq!(home.log().matches(" ERROR: ").count(), 1, "{}", home.log());
    let mut repair = Command::new("nsenter");
    repair.args(["--mount", "--target", &daemon.pid().to_string(), "mount", "-o", "remount,bind,rw"]).arg(&folder);
    assert!(finish(repair).status.success());
    daemon.signal(Signal::SIGHUP);
    assert!(archived(&archive_of(&home, yesterday, "")).starts_with("a line of yesterday\n"));
    until("the closed file gone", || (fs::read_dir(home.path("logs")).unwrap().count() == 2).then_some(()));
}

/// A disk that is full loses lines and tells how many when there is room again; the daemon goes on.
#[test]
fn a_full_disk_of_logs() {
    let home = Home::master();
    let small = r#"mount -t tmpfs -o size=64k none "$1"; head -c 32768 /dev/zero > "$1/ballast""#;
    let Some(command) = unshared(small, &[&home.path("logs")], &clusterd(&home)) else { return skip(NOT_PERMITTED) };
    let daemon = Daemon::start_as(&home, command);
    let logs = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), home.path("logs").display()));
    let mut peer = Peer::join(home.address, "w1");
    until("a full disk", || {
        peer.ask("echo", b"x");
        said(&home).contains("cluster.log cannot be written: No space left on device").then_some(())
    });
    peer.ask("echo", b"still there");
    fs::remove_file(logs.join("ballast")).unwrap();
    let log = || fs::read_to_string(logs.join("cluster.log")).unwrap();
    until("what was lost", || log().contains(" lines before this could not be written.").then_some(()));
    let log = log();
    let whole = |line: &&str| line.starts_with("20") && line.contains("] [");
    assert!(
        log.lines().filter(|line| !whole(line)).count() <= 1,
        "at most one line was cut, and nothing hangs on it:\n{log}"
    );
    assert_eq!(said(&home).matches("cannot be written").count(), 1);
}

/// Lines never take the last of a disk, but one that says so is among those that may take half of it.
#[test]
fn a_disk_of_logs_that_is_almost_full() {
    let home = Home::master();
    // 4 MiB, of which 128 KiB stay free; a little more than that is free when the daemon starts.
    let small = r#"mount -t tmpfs -o size=4m none "$1"; head -c 4042752 /dev/zero > "$1/ballast""#;
    let Some(command) = unshared(small, &[&home.path("logs")], &clusterd(&home)) else { return skip(NOT_PERMITTED) };
    let daemon = Daemon::start_as(&home, command);
    let logs = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), home.path("logs").display()));
    let log = || fs::read_to_string(logs.join("cluster.log")).unwrap();
    let mut peer = Peer::join(home.address, "w1");
    until("no more room for lines", || {
        peer.ask("echo", b"x");
        log().contains("cannot be written: fewer than 131 kB of its file system are free.").then_some(())
    });
    let free = nix::sys::statvfs::statvfs(&logs).unwrap();
    assert!(free.blocks_available() * free.fragment_size() > 120_000, "{}", free.blocks_available());
    // What matters is told all the same.
    let mark = log().len();
    let error = ErrorObject::cluster(3018, "an error of its own");
    peer.request("syn_i_w_m_r", format!("None {}", error.to_json()));
    until("an error", || log()[mark..].contains("Received error from worker").then_some(()));
    assert!(!log()[mark..].contains(" DEBUG: "), "{}", log());
    fs::remove_file(logs.join("ballast")).unwrap();
    until("what was lost", || log().contains(" lines before this could not be written.").then_some(()));
    assert_eq!(log().matches("cannot be written").count(), 1);
}

/// Bytes of the lines of one level that contain `text`.
fn bytes_of(log: &str, level: &str, text: &str) -> usize {
    let lines = log.lines().filter(|line| line.contains(level) && line.contains(text));
    lines.map(|line| line.len() + 1).sum()
}

/// What lines of one kind may take in this time.
fn allowed(since: Instant) -> usize {
    64 * 1024 + 1024 * (since.elapsed().as_secs() as usize + 1)
}

/// Who has no key connects as fast as it can.
#[test]
fn strangers_cannot_fill_the_disk() {
    const CONNECTIONS: usize = 3000;
    let home = Home::master();
    let _daemon = Daemon::start(&home);
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        drop(TcpStream::connect(home.address.socket()).unwrap());
    }
    // Another level has an allowance of its own, so what matters is seen.
    until("the end of the rush", || Peer::connect(home.address).is_open().then_some(()));
    Peer::connect(home.address).request("hello", "m wazuh worker 4.14.7");
    home.wait_for("is refused: Error 3029");
    let left_out = "lines like the next were left out";
    until("that lines were left out", || {
        drop(TcpStream::connect(home.address.socket()).unwrap());
        home.log().contains(left_out).then_some(())
    });
    let log = home.log();
    for level in [" INFO: ", " DEBUG: ", " WARNING: ", " ERROR: "] {
        let written = bytes_of(&log, level, "[Worker] [Main]");
        assert!(written <= allowed(begun), "{level}{written} of {}", allowed(begun));
    }
    // Each has a line of INFO and two of DEBUG.
    assert!(log.matches("Connection from").count() < CONNECTIONS / 2);
}

/// Case 4.17: the lines of the original are there for each change, and those of checks that only confirm it are not.
#[test]
fn confirmations_do_not_fill_the_log() {
    const CHANGES: usize = 5;
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    for home in [&master, &worker] {
        home.settings(json!({"intervals": {"worker": {"sync_integrity": 600}}}));
    }
    let _master = Daemon::start(&master);
    let _worker = Daemon::start(&worker);
    let (equal, sent) = ("[Integrity check] Finished in", "[Integrity sync] Files to ");
    let count = |level: &str, text: &str, rest: &str| {
        let log = master.log();
        log.lines().filter(|line| line.contains(level) && line.contains(text) && line.contains(rest)).count()
    };
    master.wait_for("Sync not required.");
    for change in 1..=CHANGES {
        let before = count("", equal, "Sync not required.");
        master.write("etc/rules/a.xml", change.to_string());
        worker.wait_for_file("etc/rules/a.xml", change.to_string());
        until("its confirmation", || (count("", equal, "Sync not required.") > before).then_some(()));
    }
    assert!(count(" INFO: ", sent, " in worker: ") >= CHANGES, "{}", master.log());
    assert_eq!(count(" INFO: ", equal, "Sync not required."), 1, "{}", master.log());
}

/// Case 4.10: also when no line of the kind comes any more, and when the daemon ends before.
#[test]
fn what_was_left_out_is_told_after_a_quiet_moment_and_at_the_end() {
    const REQUESTS: usize = 3000;
    let home = Home::master();
    let daemon = Daemon::start(&home);
    let left_out = "lines like the last ones were left out, because there were too many.";
    for name in ["w1", "w2"] {
        let mut peer = Peer::join(home.address, name);
        for _ in 0..REQUESTS {
            peer.ask("echo", b"x");
        }
        if name == "w1" {
            home.wait_for(left_out);
        }
        // Its end is told at another level.
        drop(peer);
    }
    daemon.stop();
    let log = home.log();
    for name in ["w1", "w2"] {
        let (scope, request) = (format!(" DEBUG: [Worker {name}] [Main] "), "Command received: b'echo'");
        let lines: Vec<&str> = log.lines().filter_map(|line| line.split_once(&scope)).map(|(_, text)| text).collect();
        let told = |line: &&str| line.split_once(" lines like the ")?.0.parse::<usize>().ok();
        let (written, left_out): (usize, usize) =
            (lines.iter().filter(|line| **line == request).count(), lines.iter().filter_map(told).sum());
        assert!(written < REQUESTS && written + left_out >= REQUESTS, "{name}: {written} and {left_out}");
    }
}

/// Who has the key asks as fast as it can, while everything is logged.
#[test]
fn a_worker_cannot_fill_the_disk() {
    const REQUESTS: usize = 3000;
    let home = Home::master();
    let _daemon = Daemon::start(&home);
    let begun = Instant::now();
    let mut peer = Peer::join(home.address, "w1");
    for _ in 0..REQUESTS {
        peer.ask("echo", b"x");
    }
    assert!(home.log().matches("Command received: b'echo'").count() < REQUESTS / 2);
    let written = bytes_of(&home.log(), " DEBUG: ", "[Worker w1] [Main]");
    assert!(written <= allowed(begun), "{written} of {}", allowed(begun));
    let error = ErrorObject::cluster(3018, "an error of its own");
    peer.request("syn_i_w_m_r", format!("None {}", error.to_json()));
    home.wait_for("ERROR: [Worker w1] [Integrity check] Received error from worker");
}

/// Killed in the middle of an archive: the next start makes it again, whole and once.
#[test]
fn a_kill_while_the_log_is_archived_loses_nothing() {
    let home = Home::master();
    let number = |n: u64| format!("{n} {:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let old: String = (0..1_000_000).map(number).collect();
    let yesterday = write_yesterday(&home, &old);
    let archive = archive_of(&home, yesterday, "");
    let folder = archive.parent().unwrap();
    let daemon = Daemon::start(&home);
    until("the beginning of an archive", || folder.read_dir().ok()?.next().map(drop));
    daemon.kill();
    assert!(!archive.exists(), "it was faster than the kill");
    let _daemon = Daemon::start(&home);
    assert!(archived(&archive).starts_with(&old));
    let names =
        |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    until("the closed file gone", || (names(&home.path("logs")).len() == 2).then_some(()));
    assert_eq!(names(folder), [archive.file_name().unwrap()]);
}
