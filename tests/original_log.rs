//! The log of a master and of a worker says what the logs of original nodes say, in the same order.
//!
//! The originals' logs (`tests/fixtures/vectors/log_*.txt`) tell of a first synchronisation, checks without change,
//! keep-alives, one changed rule, the stop of the worker and that of the master. The same is done here with the two
//! programs. Lines of tasks that run side by side mix by chance, so the log is split by task; repeated turns of a task
//! count once.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// Tasks whose rooms come later; their lines are left out of the originals' logs.
const LATER: [&str; 3] = ["[Agent-info", "[Agent-groups", "[Local agent-groups"];

#[test]
fn the_info_lines_of_a_whole_life_are_those_of_the_original() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (master_home, worker_home) = (home("m", "master", port), home("worker1", "worker", port));
    for path in ["etc/client.keys", "etc/rules/local_rules.xml", "etc/shared/default/agent.conf"] {
        write(&master_home, path, "master's");
    }
    for path in ["etc/client.keys", "etc/rules/local_rules.xml", "etc/shared/old/agent.conf"] {
        write(&worker_home, path, "worker's");
    }
    let mut master = start(&master_home);
    wait(&master_home, "Finished in", 1);
    let mut worker = start(&worker_home);
    wait(&worker_home, "Successful response from master: keepalive", 2);
    wait(&worker_home, "Sync not required.", 2);
    write(&master_home, "etc/rules/local_rules.xml", "changed");
    wait(&worker_home, "Files to update: 1", 1);
    let checks = count(&worker_home, "Sync not required.");
    wait(&worker_home, "Sync not required.", checks + 1);
    wait(&master_home, "Sync not required.", checks + 1);
    stop(&mut worker);
    wait(&master_home, "Cancelling pending tasks.", 1);
    stop(&mut master);

    for (home, original) in [(&master_home, "master"), (&worker_home, "worker")] {
        let vector = fs::read_to_string(format!("tests/fixtures/vectors/log_{original}.txt")).unwrap();
        let ours = fs::read_to_string(home.path().join("logs/cluster.log")).unwrap();
        for task in [
            &["Main]"][..],
            &["[Integrity check]", "[Integrity sync]"],
            &["[Local integrity]"],
            &["[Keep Alive]", "[Keep alive]"],
        ] {
            assert_eq!(lines(&ours, task), lines(&vector, task), "{original}: {task:?}");
        }
    }
}

fn home(name: &str, node_type: &str, port: u16) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for directory in ["etc", "queue/cluster", "logs", "var/run"] {
        fs::create_dir_all(home.path().join(directory)).unwrap();
    }
    let cluster = format!(
        "<ossec_config><cluster><name>wazuh</name><node_name>{name}</node_name><node_type>{node_type}</node_type>\
         <key>0123456789abcdef0123456789abcdef</key><port>{port}</port><bind_addr>127.0.0.1</bind_addr>\
         <nodes><node>127.0.0.1</node></nodes><disabled>no</disabled></cluster></ossec_config>"
    );
    write(&home, "etc/ossec.conf", &cluster);
    let settings = r#"{"intervals": {"worker": {"sync_integrity": 0.5, "keep_alive": 0.7},
        "master": {"recalculate_integrity": 0.4}}}"#;
    write(&home, "etc/cluster.json", settings);
    home
}

fn write(home: &TempDir, path: &str, content: &str) {
    let path = home.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn start(home: &TempDir) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wazuh-clusterd"))
        .args(["-f", "-r", "--home"])
        .arg(home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn stop(child: &mut Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}

fn log(home: &Path) -> String {
    fs::read_to_string(home.join("logs/cluster.log")).unwrap_or_default()
}

fn count(home: &TempDir, text: &str) -> usize {
    log(home.path()).matches(text).count()
}

#[track_caller]
fn wait(home: &TempDir, text: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while count(home, text) < times {
        assert!(Instant::now() < deadline, "'{text}' has not come {times} times:\n{}", log(home.path()));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The INFO lines, and worse ones, of these tasks, without what differs from run to run; repeated turns count once.
fn lines(log: &str, subtags: &[&str]) -> Vec<String> {
    let mut turns: Vec<Vec<String>> = Vec::new();
    for line in
        log.lines().filter(|line| [" INFO: ", " WARNING: ", " ERROR: "].iter().any(|level| line.contains(level)))
    {
        if !subtags.iter().any(|tag| line.contains(tag)) || LATER.iter().any(|tag| line.contains(tag)) {
            continue;
        }
        let text = without_variables(line);
        let begins_turn =
            text.ends_with("[Integrity check] Starting.") || text.ends_with("[Local integrity] Starting.");
        match turns.last_mut() {
            Some(turn) if !begins_turn && !text.contains("[Keep Alive]") => turn.push(text),
            _ => turns.push(vec![text]),
        }
    }
    turns.dedup();
    turns.concat()
}

/// Time, duration, home and port are replaced.
fn without_variables(line: &str) -> String {
    let text = &line["2026/11/23 10:29:13 ".len()..];
    let words = text.split(' ').map(|word| match word {
        _ if word.ends_with("c-internal.sock") => "HOME/queue/cluster/c-internal.sock",
        _ if word.ends_with("s.") && word.starts_with(|c: char| c.is_ascii_digit()) => "TIME.",
        _ if word.ends_with(')') && word.starts_with(|c: char| c.is_ascii_digit()) => "PORT)",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}
