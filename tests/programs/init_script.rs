//! The init script, in a home of the test, with the exit codes of the Linux Standard Base.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
};

use crate::support::{Home, finish, skip, until};

/// A home with the program in it, and the script that serves it. What runs in it is stopped when this is dropped.
struct Service {
    home: Home,
}

impl Service {
    /// `None` where the script may not do anything.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("only root may start a service");
            return None;
        }
        let home = Home::master();
        fs::create_dir(home.path("bin")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_wazuh-clusterd"), home.path("bin/wazuh-clusterd")).unwrap();
        let script =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/etc/service/wazuh-clusterd.init")).unwrap();
        let script = script
            .replace("@PREFIX@", home.path("").to_str().unwrap())
            .replace("/etc/default/wazuh-clusterd", home.beside("default").to_str().unwrap())
            .replace("/lib/lsb/init-functions", "/nonexistent");
        fs::write(home.beside("init"), script).unwrap();
        fs::write(home.beside("default"), "OPTIONS=-r\n").unwrap();
        Some(Self { home })
    }

    /// The exit code of an action, and what was said.
    fn does(&self, action: &str) -> (i32, String) {
        let mut command = Command::new("sh");
        command.arg(self.home.beside("init")).arg(action).env_remove("WAZUH_HOME");
        let Output { status, stdout, stderr } = finish(command);
        let said = [stdout, stderr].concat();
        (status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    fn expect(&self, action: &str, code: i32, text: &str) -> String {
        let (is, said) = self.does(action);
        assert!(is == code && said.contains(text), "{action}: {is}, {said}\nthe log:\n{}", self.home.log());
        said
    }

    /// The process that a start or a status names.
    fn pid(&self) -> String {
        let said = self.expect("status", 0, "running, with pid ");
        said.trim().rsplit_once(' ').unwrap().1.to_owned()
    }

    fn leave_pid_file(&self, pid: u32) -> String {
        let name = format!("var/run/wazuh-clusterd-{pid}.pid");
        self.home.write(&name, format!("{pid}\n"));
        name
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.does("stop");
    }
}

fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_day_of_a_service() {
    let Some(service) = Service::new() else { return };
    service.expect("status", 3, "not running");
    service.expect("stop", 0, "it is not running");
    service.expect("reload", 7, "it is not running");
    service.expect("try-restart", 0, "");
    service.expect("status", 3, "not running");

    service.expect("start", 0, "started, with pid ");
    let first = service.pid();
    service.expect("start", 0, &format!("it is running already, with pid {first}"));
    assert_eq!(service.pid(), first, "started twice, it is one");
    for action in ["reload", "force-reload"] {
        let mark = service.home.mark();
        service.expect(action, 0, "reloaded");
        service.home.wait_for_since(mark, "SIGNAL [(1)-(SIGHUP)] received");
    }
    for action in ["restart", "try-restart"] {
        let before = service.pid();
        service.expect(action, 0, "started, with pid ");
        assert!(service.pid() != before && !runs(&before));
    }
    let last = service.pid();
    service.expect("stop", 0, "stopped");
    assert!(!runs(&last), "it has ended when the script says so");
    assert_eq!(service.home.traces(), Vec::<String>::new());
    service.expect("status", 3, "not running");
}

#[test]
fn pid_files_of_the_dead_and_of_others() {
    let Some(service) = Service::new() else { return };
    let dead = service.leave_pid_file(4_194_999);
    service.expect("status", 1, "dead, but its pid file is there");
    // This very process: if anything took it for the daemon, the test would not go on.
    let foreign = service.leave_pid_file(std::process::id());
    service.expect("status", 1, "dead, but its pid file is there");
    service.expect("stop", 0, "it is not running");
    service.expect("reload", 7, "it is not running");
    service.home.write("var/run/wazuh-clusterd-x.pid", "1; false\n");
    service.expect("start", 0, "started, with pid ");
    service.pid();
    for stale in [dead, foreign] {
        assert!(!service.home.path(&stale).exists(), "{stale} would lead others astray");
    }
    service.expect("stop", 0, "stopped");
}

/// The original's daemon is a script of an interpreter.
#[test]
fn a_daemon_of_the_original_is_one() {
    struct Original(Child);
    impl Drop for Original {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    let Some(service) = Service::new() else { return };
    let script = service.home.beside("wazuh_clusterd.py");
    fs::write(&script, "read -r line\n").unwrap();
    let mut original = Original(Command::new("sh").arg(&script).stdin(Stdio::piped()).spawn().unwrap());
    let pid = original.0.id();
    // For an instant after its start it has no command line.
    until("its command line", || (!fs::read(format!("/proc/{pid}/cmdline")).unwrap().is_empty()).then_some(()));
    service.leave_pid_file(pid);
    service.expect("start", 0, &format!("it is running already, with pid {pid}"));
    assert_eq!(service.pid(), pid.to_string());
    service.expect("stop", 0, "stopped");
    assert!(!runs(&pid.to_string()));
    original.0.wait().unwrap();
}

#[test]
fn what_is_missing_is_named() {
    let Some(service) = Service::new() else { return };
    service.expect("", 2, "usage: ");
    service.expect("begin", 2, "start|stop|restart|try-restart|reload|force-reload|status");

    let user = nix::unistd::User::from_name("wazuh").unwrap();
    let group = nix::unistd::Group::from_name("wazuh").unwrap();
    if user.is_none() || group.is_none() {
        fs::write(service.home.beside("default"), "OPTIONS=\n").unwrap();
        let said = service.expect("start", 1, " 'wazuh' does not exist; run 'groupadd -r wazuh; useradd ");
        assert!(said.contains("it did not start"), "{said}");
        service.expect("status", 3, "not running");
        fs::write(service.home.beside("default"), "OPTIONS=-r\n").unwrap();
    }

    service.home.option("disabled", "yes");
    service.expect("start", 0, "not started: the cluster is disabled");
    service.expect("status", 3, "not running");
    service.home.option("port", "80");
    service.home.option("disabled", "no");
    service.expect("start", 1, "Port must be higher than 1024");

    fs::remove_file(service.home.path("etc/ossec.conf")).unwrap();
    service.expect("start", 6, "no file");
    fs::remove_file(service.home.path("bin/wazuh-clusterd")).unwrap();
    service.expect("start", 5, "no program");
}

#[test]
fn one_that_does_not_end_is_killed() {
    let Some(service) = Service::new() else { return };
    fs::write(service.home.beside("default"), "OPTIONS=-r\nPATIENCE=0\n").unwrap();
    service.expect("start", 0, "started, with pid ");
    let pid = service.pid();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.parse().unwrap()), nix::sys::signal::Signal::SIGSTOP)
        .unwrap();
    service.expect("stop", 0, "does not exit and is killed");
    until("its end", || (!runs(&pid)).then_some(()));
    service.expect("status", 1, "dead, but its pid file is there");
}
