//! The processes that execute requests of the API, beside a daemon that is a process of its own.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use clusterd::limits;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    secrets::files,
    support::{Daemon, Footprint, Home, clusterd, install_framework, until},
};

/// A master with the framework of `tests/framework`.
fn home() -> Home {
    let home = Home::master();
    install_framework(&home.path(""));
    home
}

fn request(name: &str, arguments: Value) -> String {
    let callable =
        json!({"__name__": name, "__module__": "wazuh.manager", "__qualname__": name, "__type__": "function"});
    json!({"f": {"__callable__": callable}, "f_kwargs": arguments}).to_string()
}

/// A program at the control socket.
fn program(home: &Home) -> UnixStream {
    let program = UnixStream::connect(home.path("queue/cluster/c-internal.sock")).unwrap();
    program.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    program
}

/// What the API gets for a request: everything that the daemon sends after the acknowledgement.
fn ask(home: &Home, name: &str, arguments: Value) -> String {
    let mut program = program(home);
    send(&mut program, 7, "dapi", request(name, arguments).as_bytes());
    let mut text = String::new();
    loop {
        let (counter, command, body) = receive(&mut program);
        match command.as_str() {
            "new_str" => send(&mut program, counter, "ok", b"11"),
            "str_upd" => {
                text.push_str(body.strip_prefix("11 ").unwrap());
                send(&mut program, counter, "ok", b"String updated");
            }
            "dapi_res" => return text,
            "dapi_err" => return body,
            _ => {}
        }
    }
}

fn send(to: &mut UnixStream, counter: u32, command: &str, payload: &[u8]) {
    announce(to, counter, command, payload.len());
    to.write_all(payload).unwrap();
}

/// The header of a request with so many bytes.
fn announce(to: &mut UnixStream, counter: u32, command: &str, length: usize) {
    let field = format!("{command} -----------");
    let length = u32::try_from(length).unwrap();
    to.write_all(&[&counter.to_be_bytes()[..], &length.to_be_bytes(), &field.as_bytes()[..12]].concat()).unwrap();
}

fn receive(from: &mut UnixStream) -> (u32, String, String) {
    let mut header = [0; 20];
    from.read_exact(&mut header).unwrap();
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
    let mut body = vec![0; number(4) as usize];
    from.read_exact(&mut body).unwrap();
    let command = String::from_utf8_lossy(&header[8..]).split(' ').next().unwrap().to_owned();
    (number(0), command, String::from_utf8(body).unwrap())
}

/// The child and its parent.
fn processes(home: &Home) -> (u64, u64) {
    let answer: Value = serde_json::from_str(&ask(home, "processes", json!({}))).unwrap();
    let both = &answer["__wazuh_result__"]["__object__"]["result"];
    (both["pid"].as_u64().unwrap(), both["parent"].as_u64().unwrap())
}

/// Whether a process runs; a zombie of another does not.
fn runs(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn children(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

#[test]
fn the_processes_of_a_daemon_end_with_it_however_it_ends() {
    let home = home();
    let daemon = Daemon::start(&home);
    assert_eq!(children(daemon.pid()), "", "nobody has asked");
    let (child, parent) = processes(&home);
    home.wait_for("INFO: [Cluster] [D API] The executor of the API runs with the framework 4.14.7, pid ");
    let mark = home.mark();
    daemon.signal(Signal::SIGHUP);
    home.wait_for_since(mark, "The configuration has been read again");
    let (second, other) = processes(&home);
    assert_ne!(parent, other, "they are started anew after SIGHUP");
    until("the old ones end", || (!runs(child) && !runs(parent)).then_some(()));
    daemon.kill();
    until("they end with the daemon", || (!runs(second) && !runs(other)).then_some(()));
}

/// The embedded database and registrar have no process of their own; POST /agents asks for the latter.
#[test]
fn what_this_daemon_serves_counts_as_running() {
    let home = home();
    let _daemon = Daemon::start(&home);
    let status: Value = serde_json::from_str(&ask(&home, "get_status", json!({}))).unwrap();
    let status = &status["__wazuh_result__"]["__object__"]["result"];
    let of = |name: &str| status[name].as_str().unwrap();
    assert_eq!((of("wazuh-db"), of("wazuh-authd"), of("wazuh-remoted")), ("running", "running", "stopped"));
}

/// The processes get no more than the daemon takes, and the daemon holds no more of it than of any peer.
#[test]
fn the_largest_request_is_executed_and_a_larger_one_is_not_even_held() {
    let home = home();
    let daemon = Daemon::start(&home);
    let (_, parent) = processes(&home);
    let before = Footprint::of(&daemon);

    // Longer than the largest is when it is encrypted.
    let (mut greedy, length) = (program(&home), limits::API / 2 * 3);
    announce(&mut greedy, 7, "dapi", length);
    io::copy(&mut io::repeat(b' ').take(length as u64), &mut greedy).unwrap();
    let (counter, command, told) = receive(&mut greedy);
    assert_eq!((counter, command.as_str()), (7, "err"));
    assert!(told.contains("3050"), "{told}");
    assert!(before.grown(&daemon) < limits::API, "{} bytes", before.grown(&daemon));
    drop(greedy);

    let rest = limits::API - request("length", json!({"text": ""})).len();
    let answer = ask(&home, "length", json!({"text": "x".repeat(rest)}));
    assert!(answer.contains(&rest.to_string()), "{answer}");
    before.is_had_again(&daemon);
    assert_eq!(processes(&home).1, parent);
}

#[test]
fn a_request_of_the_api_is_in_no_log_and_on_no_disk() {
    const PASSWORD: &str = "correcthorsebatterystaple";
    let home = home();
    let daemon = Daemon::start_with(&home, clusterd(&home), &["-f", "-r", "-d", "-d"]);
    for (name, told) in [("echo", true), ("crash", true), ("fail", false), ("missing", false)] {
        let answer = ask(&home, name, json!({"password": PASSWORD}));
        assert_eq!(answer.contains(PASSWORD), told, "{name}: {answer}");
        home.wait_for(&format!("INFO: [Cluster] [D API] Receiving request: {name} from "));
    }
    home.wait_for("ERROR: [Cluster] [D API] Error in distributed API: ValueError");
    home.wait_for("ERROR: [Cluster] [D API] Wazuh authd is not running");
    home.wait_for(
        "ERROR: [Cluster] [D API] Error in distributed API: Error 1000 - Wazuh object cannot be decoded from JSON",
    );
    assert!(!home.log().contains(PASSWORD));
    // Files without a name, too.
    let (child, parent) = processes(&home);
    for pid in [child, parent, u64::from(daemon.pid())] {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let is_file = entry.metadata().is_ok_and(|_| fs::metadata(entry.path()).is_ok_and(|about| about.is_file()));
            let content = if is_file { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            let found = content.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
            assert!(!found, "{:?}", fs::read_link(entry.path()));
        }
    }
    daemon.stop();
    let mut found = Vec::new();
    files(&home.path(""), &mut found);
    for (path, content) in found {
        assert!(!content.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()), "{path:?}");
    }
}
