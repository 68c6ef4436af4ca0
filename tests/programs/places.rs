//! What the daemon has to write to: made at its start, tried, and named with a remedy that mends it.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::{Command, Output},
};

use crate::support::{Address, Daemon, Home, WAZUH, clusterd, control, finish, skip};

const NOBODY: u32 = 65_534;

const MADE: [&str; 6] = ["logs", "queue/cluster", "queue/cluster-state", "queue/db", "queue/sockets", "var/run"];

fn shell(home: &Home, script: &str) {
    let status = Command::new("sh").args(["-ec", script]).current_dir(home.path("")).status().unwrap();
    assert!(status.success(), "{script}");
}

/// The program of a home, run by a user who has no rights but those of the home.
fn as_nobody(home: &Home) -> Command {
    as_user(home, NOBODY, NOBODY)
}

fn as_user(home: &Home, user: u32, group: u32) -> Command {
    // By another process: what this one has open for writing, the children of other tests have, too.
    shell(home, &format!("cp {} ../wazuh-clusterd", env!("CARGO_BIN_EXE_wazuh-clusterd")));
    let mut command = Command::new(home.beside("wazuh-clusterd"));
    command.arg("--home").arg(home.path("")).uid(user).gid(group).env_remove("WAZUH_HOME");
    command
}

fn says(mut command: Command, options: &[&str]) -> (Option<i32>, String) {
    command.args(options);
    let Output { status, stderr, .. } = finish(command);
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// The only line of the log that tells of a place.
fn line_of<'a>(said: &'a str, path: &str) -> &'a str {
    let mut lines = said.lines().filter(|line| line.contains("] [Main] ") && line.contains(path));
    let line = lines.next().unwrap_or_else(|| panic!("nothing about {path}: {said}"));
    assert_eq!(lines.next(), None, "one line for each: {said}");
    line
}

/// What a case leaves to the daemon that starts on it.
enum Start {
    /// It serves, and the line is an error or a warning.
    Serves(&'static str),
    /// It does not start.
    Fails,
}

/// Case 1.1: whatever the daemon has to write to is tried at the start and with `-t`. Each missing right or directory is
/// one line, and the command in it is all that has to be done.
#[test]
fn what_cannot_be_written_to_is_named_and_its_remedy_mends_it() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can take another user");
    }
    use Start::{Fails, Serves};
    let cases = [
        (
            "master",
            "touch queue/agents-timestamp; chown 65534 queue/agents-timestamp; rmdir queue/cluster-state; chown 0:0 queue",
            "queue/cluster-state does not exist",
            Serves("ERROR"),
        ),
        ("master", "chown 0:0 queue/cluster-state", "cannot write to HOME/queue/cluster-state", Serves("ERROR")),
        ("master", "rmdir logs; chown 0:0 .", "logs does not exist", Serves("ERROR")),
        ("master", "chown 0:0 logs", "cannot write to HOME/logs", Serves("ERROR")),
        ("master", "chown 0:65534 etc; chmod 750 etc", "cannot write to HOME/etc", Serves("ERROR")),
        ("worker", "chown 0:0 etc", "cannot write to HOME/etc", Serves("ERROR")),
        ("worker", "chown 0:0 etc/rules", "cannot write to HOME/etc/rules", Serves("WARNING")),
        ("master", "chown 0:0 etc/rules", "", Serves("")),
        ("master", "chmod 500 queue/cluster", "cannot write to HOME/queue/cluster", Fails),
        ("master", "chown 0:0 queue/sockets", "cannot write to HOME/queue/sockets", Fails),
        ("master", "chown 0:0 queue/db", "cannot write to HOME/queue/db", Fails),
        ("master", "touch queue/db/global.db; chmod 600 queue/db/global.db", "write to HOME/queue/db/global.db", Fails),
        ("master", "chown 0:0 var/run", "cannot write to HOME/var/run", Fails),
        ("master", "chmod 600 queue", "cannot enter HOME/queue", Fails),
        ("master", "touch queue/agents-timestamp", "cannot write to HOME/queue/agents-timestamp", Serves("WARNING")),
    ];
    for (node_type, broken, problem, start) in cases {
        let address = Address::new();
        let home = if node_type == "master" { Home::master_at(address) } else { Home::worker("w1", address) };
        MADE.iter().for_each(|path| fs::create_dir_all(home.path(path)).unwrap());
        shell(&home, "chmod 755 ..; chown -R 65534:65534 .");
        shell(&home, &format!("umask 077; {broken}"));
        let (shown, problem) =
            (home.path("").display().to_string(), problem.replace("HOME", &home.path("").display().to_string()));

        let (code, said) = says(as_nobody(&home), &["-t"]);
        if problem.is_empty() {
            assert!(code == Some(0) && !said.contains("cannot write"), "{broken}: {said}");
            continue;
        }
        let line = line_of(&said, &problem);
        let (_, remedy) = line.rsplit_once(". Run: ").unwrap_or_else(|| panic!("no remedy: {line}"));
        assert!(remedy.contains(&shown), "{line}");
        let is_vital = matches!(start, Fails);
        assert_eq!(code, Some(i32::from(is_vital)), "{broken}: {said}");

        match start {
            Fails => {
                let (code, again) = says(as_nobody(&home), &["-f", "-r"]);
                assert_eq!(code, Some(1), "{broken}: {again}");
                assert!(line_of(&again, &problem).contains(" ERROR: ") && again.contains(remedy), "{again}");
                assert_eq!(home.traces(), Vec::<String>::new(), "it has begun nothing");
            }
            Serves(level) => {
                let daemon = Daemon::start_as(&home, as_nobody(&home));
                let again = fs::read_to_string(home.beside("stderr")).unwrap();
                let line = line_of(&again, &problem);
                assert!(line.contains(&format!(" {level}: ")) && line.ends_with(remedy), "{line}");
                assert_eq!(daemon.stop().code(), None, "it ended by the signal");
            }
        }
        shell(&home, remedy);
        let (code, said) = says(as_nobody(&home), &["-t"]);
        assert!(code == Some(0) && !said.contains("Run: "), "{broken}; {remedy}: {said}");
    }
}

/// Case 1.1, 1.4: root makes what is missing for the user that it becomes, below fresh volumes too, and takes no right
/// from anybody. The home is that of a manager: root's, for the group to read, and with the file that its registrar has.
#[test]
fn root_makes_what_is_missing_and_the_user_finds_it() {
    let home = Home::master();
    let Some(command) = home.as_installed(&clusterd(&home)) else {
        return skip("other users exist only where root may make a mount namespace (unshare --mount)");
    };
    // `var` and `logs` are fresh volumes, and `etc` is one but for its configuration.
    shell(&home, "rm -r queue/* var logs etc/rules etc/shared; rm etc/*_options.conf; mkdir var logs");
    shell(&home, "chown 0:0 etc var logs; chown 0:4242 . queue; chmod 755 etc var logs; chmod 750 . queue");
    shell(&home, "touch queue/agents-timestamp; chown 0:4242 queue/agents-timestamp; chmod 660 queue/agents-timestamp");
    let daemon = Daemon::start_with(&home, command, &["-f"]);
    for path in MADE.into_iter().chain(["etc", "var"]) {
        let about = fs::metadata(home.path(path)).unwrap();
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o007), (WAZUH, WAZUH, 0), "{path}");
    }
    for path in ["", "queue"] {
        let about = fs::metadata(home.path(path)).unwrap();
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o777), (0, WAZUH, 0o750), "{path} stays as it is");
    }
    assert!(!home.log().contains(". Run: "), "{}", home.log());
    assert_eq!(daemon.stop().code(), None);
}

/// Case 1.4: a container platform gives each start another user, in the group of root.
#[test]
fn a_random_user_in_the_group_of_root_goes_on_with_what_the_last_one_left() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can take another user");
    }
    let home = Home::master();
    shell(&home, "rm -r queue var; mkdir queue var; chmod 711 ..; chown -R 0:0 .; chmod -R g=u .");
    for (user, id) in [(1_000_680_000, "001"), (1_000_690_000, "002")] {
        let daemon = Daemon::start_as(&home, as_user(&home, user, 0));
        let Output { status, stdout, .. } = control(&home, &["--add-agent", &format!("agent-of-{user}")]);
        assert_eq!(status.code(), Some(0));
        let said = String::from_utf8(stdout).unwrap();
        assert!(said.contains(id), "{said}");
        let log = home.log();
        assert!(!log.contains(" ERROR: ") && !log.contains("Run: "), "{log}");
        assert!(daemon.stop().code().is_none());
    }
    let stamps = String::from_utf8(home.read("queue/agents-timestamp").unwrap()).unwrap();
    assert_eq!(stamps.lines().count(), 2, "{stamps}");
}
