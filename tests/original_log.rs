//! The log of a master and of a worker says what the logs of original nodes say, in the same order.
//!
//! The originals' logs (`tests/fixtures/vectors/log_*.txt`) tell of a first synchronisation, checks without change,
//! keep-alives, one changed rule, the stop of the worker and that of the master. The same is done here with the two
//! programs. Lines of tasks that run side by side mix by chance, so the log is split by task; repeated turns of a task
//! count once.

#![allow(clippy::unwrap_used, reason = "all of this program is a test")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixStream},
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

#[test]
fn the_info_lines_of_a_whole_life_are_those_of_the_original() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (master_home, worker_home) = (home("m", "master", port), home("worker1", "worker", port));
    for path in ["etc/rules/local_rules.xml", "etc/shared/default/agent.conf"] {
        write(&master_home, path, "master's");
    }
    write(&master_home, "etc/client.keys", "001 agent any key\n");
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
    report_an_agent(&worker_home);
    wait(&worker_home, "[Agent-info sync] Finished in", 1);
    let skipped = count(&worker_home, "No synchronization required");
    wait(&worker_home, "No synchronization required", skipped + 1);
    wait(&worker_home, "[Agent-groups recv] Finished in", 2);
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
            assert_eq!(turns(&ours, task).concat(), turns(&vector, task).concat(), "{original}: {task:?}");
        }
        // Which of these comes first depends on when the agent reports.
        for task in ["[Agent-info sync]", "[Agent-groups send]", "[Agent-groups recv]", "[Local agent-groups]"] {
            let kinds = |log| {
                let mut turns = turns(log, &[task]);
                // The stop of the worker may come in the middle of the last one.
                turns.pop_if(|last| last.len() == 1 && last[0].ends_with("] Starting."));
                turns.into_iter().collect::<BTreeSet<_>>()
            };
            assert_eq!(kinds(&ours), kinds(&vector), "{original}: {task}\n{ours}");
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
    fs::set_permissions(home.path().join("etc/ossec.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    let settings = r#"{"intervals": {"worker": {"sync_integrity": 0.5, "keep_alive": 0.7, "sync_agent_info": 0.5},
        "master": {"recalculate_integrity": 0.4,
        "sync_agent_groups": 0.5, "agent_group_start_delay": 1}}}"#;
    write(&home, "etc/cluster.json", settings);
    home
}

fn write(home: &TempDir, path: &str, content: &str) {
    let path = home.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Does what the manager's programs do when an agent has connected to this node.
fn report_an_agent(home: &TempDir) {
    let mut stream = UnixStream::connect(home.path().join("queue/db/wdb")).unwrap();
    let mut ask = |request: &str| {
        let length = (request.len() as u32).to_le_bytes();
        stream.write_all(&[&length, request.as_bytes()].concat()).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    };
    let deadline = Instant::now() + PATIENCE;
    while ask("global select-agent-name 1") == "ok []" {
        assert!(Instant::now() < deadline, "the agent of client.keys is not in the database");
        std::thread::sleep(Duration::from_millis(10));
    }
    let data = r#"{"id":1,"connection_status":"active","group_config_status":"synced","sync_status":"syncreq"}"#;
    assert_eq!(ask(&format!("global update-agent-data {data}")), "ok");
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
fn turns(log: &str, subtags: &[&str]) -> Vec<Vec<String>> {
    let mut turns: Vec<Vec<String>> = Vec::new();
    for line in
        log.lines().filter(|line| [" INFO: ", " WARNING: ", " ERROR: "].iter().any(|level| line.contains(level)))
    {
        if !subtags.iter().any(|tag| line.contains(tag)) {
            continue;
        }
        let text = without_variables(line);
        let begins_turn = text.ends_with("] Starting.") && !text.contains("[Integrity sync]");
        match turns.last_mut() {
            Some(turn) if !begins_turn && !text.contains("[Keep Alive]") => turn.push(text),
            _ => turns.push(vec![text]),
        }
    }
    turns.dedup();
    turns
}

/// Time, duration, home and port are replaced.
fn without_variables(line: &str) -> String {
    let text = &line["2026/11/23 10:29:13 ".len()..];
    let words = text.split(' ').map(|word| match word {
        _ if word.ends_with("c-internal.sock") => "HOME/queue/cluster/c-internal.sock",
        _ if word.ends_with('s') && word.starts_with(|c: char| c.is_ascii_digit()) => "TIME",
        _ if word.ends_with("s.") && word.starts_with(|c: char| c.is_ascii_digit()) => "TIME.",
        _ if word.ends_with(')') && word.starts_with(|c: char| c.is_ascii_digit()) => "PORT)",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}
