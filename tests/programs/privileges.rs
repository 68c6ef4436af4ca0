//! Who the daemon is: it starts as root, becomes the user of the installation for good, and refuses to go on if it cannot.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{
    Daemon, HELPERS, Home, USERS, WAZUH, clusterd, finish, skip, unshared, unshared_with, until, write_users,
};

const NOT_PERMITTED: &str = "other users exist only where root may make a mount namespace (unshare --mount)";

/// The fields of `/proc/<pid>/status`, with one blank between numbers.
fn status(pid: u32) -> HashMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

/// The process is the user of the installation and nothing more, and keeps its memory to itself.
fn assert_unprivileged(pid: u32) {
    let status = status(pid);
    let id = WAZUH.to_string();
    for field in ["Uid", "Gid"] {
        assert_eq!(status[field], [&*id; 4].join(" "), "{field}: real, effective, saved, of the file system");
    }
    assert_eq!(status["Groups"], format!("{WAZUH} {HELPERS}"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status[set].trim_matches('0'), "", "{set}");
    }
    assert_eq!((&*status["NoNewPrivs"], &*status["Umask"]), ("1", "0027"));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core: Vec<_> =
        limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[..2], ["0", "0"]);
    // The kernel gives these files to root only while the process must not be dumped; else they are the user's own.
    assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0, "it can be dumped");
}

#[test]
fn root_is_left_for_good_before_the_network_is_touched() {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    master.write("etc/rules/a.xml", "a rule");
    let commands = [&master, &worker].map(|home| home.as_installed(&clusterd(home)));
    let [Some(of_master), Some(of_worker)] = commands else { return skip(NOT_PERMITTED) };
    let daemon = Daemon::start_with(&master, of_master, &["-f"]);
    let other = Daemon::start_with(&worker, of_worker, &["-f"]);
    worker.wait_for_file("etc/rules/a.xml", "a rule");
    assert_unprivileged(daemon.pid());
    assert_unprivileged(other.pid());
    // Whoever has made a socket owns it.
    let port = format!(":{:04X}", master.address.socket().port());
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let address = u32::from_ne_bytes(master.address.0.octets());
    let listens = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listens = listens.filter(|fields| fields[1] == format!("{address:08X}{port}") && fields[3] == "0A");
    assert_eq!(listens.map(|fields| fields[7].to_owned()).collect::<Vec<_>>(), [WAZUH.to_string()]);
    for (path, mode) in
        [("logs/cluster.log", 0o660), ("etc/rules/a.xml", 0o660), ("queue/cluster/c-internal.sock", 0o660)]
    {
        let about = fs::metadata(worker.path(path)).unwrap();
        assert_eq!((about.uid(), about.gid(), about.permissions().mode() & 0o777), (WAZUH, WAZUH, mode), "{path}");
    }
    assert!(!worker.log().contains("The key of the cluster is open"), "{}", worker.log());
}

#[test]
fn the_same_in_the_background() {
    let home = Home::master();
    let Some(command) = home.as_installed(&clusterd(&home)) else { return skip(NOT_PERMITTED) };
    let Output { status, stderr, .. } = finish(command);
    assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&stderr));
    let name = home.traces().into_iter().find(|name| name.ends_with(".pid")).unwrap();
    let pid: u32 = String::from_utf8(home.read(&name).unwrap()).unwrap().trim().parse().unwrap();
    let seen = std::panic::catch_unwind(|| assert_unprivileged(pid));
    kill(Pid::from_raw(pid as i32), Signal::SIGTERM).unwrap();
    until("its end", || (!home.path(&name).exists()).then_some(()));
    seen.unwrap();
}

/// Who starts it may have the kernel keep the capabilities of root when the user changes.
#[test]
fn capabilities_that_the_kernel_would_keep_are_given_up() {
    let home = Home::master();
    let daemon = clusterd(&home);
    let mut kept = Command::new("setpriv");
    kept.args(["--securebits=+no_setuid_fixup", "--inh-caps=+net_admin", "--ambient-caps=+net_admin", "--"]);
    kept.arg(daemon.get_program()).args(daemon.get_args());
    let Some(command) = home.as_installed(&kept) else { return skip(NOT_PERMITTED) };
    let daemon = Daemon::start_with(&home, command, &["-f"]);
    assert_unprivileged(daemon.pid());
}

/// A daemon that must not come up; gives the one line that it says, but for warnings.
fn refused(home: &Home, mut command: Command, options: &[&str]) -> String {
    let before = home.snapshot();
    command.args(options);
    let Output { status, stderr, .. } = finish(command);
    let said = String::from_utf8(stderr).unwrap();
    let said: String = said.split_inclusive('\n').filter(|line| !line.contains(" WARNING: ")).collect();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(home.traces(), Vec::<String>::new(), "it has touched nothing");
    assert_eq!(home.snapshot(), before);
    let log = home.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!((said.lines().count(), told.len()), (1, 1), "one clear message:\n{said}\n{log}");
    fs::remove_file(home.path("logs/cluster.log")).unwrap();
    said
}

#[test]
fn without_the_user_it_does_not_start() {
    let create = "run 'groupadd -r wazuh; useradd -r -g wazuh -d";
    let cases = [
        ("", "wazuh:x:4242:\n", "the user 'wazuh' does not exist", create),
        ("wazuh:x:4242:4242::/:/sbin/nologin\n", "", "the group 'wazuh' does not exist", create),
        ("wazuh:x:0:0::/:/sbin/nologin\n", "wazuh:x:4242:\n", "has the number of root", "a number of its own"),
    ];
    for (users, groups, problem, remedy) in cases {
        let home = Home::master();
        fs::set_permissions(home.path("etc/ossec.conf"), fs::Permissions::from_mode(0o640)).unwrap();
        write_users(&home.beside("users"), users, groups);
        for options in [&["-f"][..], &[]] {
            let Some(command) = unshared(USERS, &[&home.beside("users")], &clusterd(&home)) else {
                return skip(NOT_PERMITTED);
            };
            let said = refused(&home, command, options);
            assert!(said.contains(problem) && said.contains(remedy), "{said}");
        }
    }
}

/// Root of a user namespace that has no other users.
#[test]
fn if_the_user_cannot_be_taken_it_does_not_start() {
    let home = Home::master();
    fs::set_permissions(home.path("etc/ossec.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    write_users(&home.beside("users"), "wazuh:x:4242:4242::/:/sbin/nologin\n", "wazuh:x:4242:\n");
    let users: &[&Path] = &[&home.beside("users")];
    let options = ["--user", "--map-root-user", "--mount"];
    let Some(command) = unshared_with(&options, USERS, users, &clusterd(&home)) else {
        return skip("this machine permits no user namespaces (unshare --user)");
    };
    let said = refused(&home, command, &["-f"]);
    assert!(said.contains("cannot switch to user 'wazuh': ") && said.contains("start as root with all"), "{said}");
}

/// What root can read, the user that it becomes may not: a reload would fail then, and nobody would see it at once.
#[test]
fn a_configuration_that_cannot_be_read_again_is_warned_of() {
    let home = Home::master();
    let check = || {
        let mut command = home.as_installed(&clusterd(&home))?;
        command.arg("-t");
        Some(command)
    };
    if check().is_none() {
        return skip(NOT_PERMITTED);
    }
    let keys = json!({"link": {"accept_keys": ["vutsrqponmlkjihgfedcba9876543210"]}});
    home.settings(keys);
    let file = home.path("etc/cluster.json");
    for (mode, warned) in [(0o600, true), (0o640, false)] {
        let command = check().unwrap();
        chown(&file, Some(0), Some(WAZUH)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let Output { status, stderr, .. } = finish(command);
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        let warning = format!("The user 'wazuh' cannot read {0}: a reload would fail", file.display());
        assert_eq!(said.contains(&warning), warned, "{mode:o}: {said}");
    }
    assert!(!home.log().contains("is open to"), "{}", home.log());
}
