//! Without `-f`: whoever starts the daemon learns whether it runs, and it leaves the terminal.

use std::{fs, net::TcpListener, process::Output};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Home, clusterd, control, finish, skip, until};

/// A daemon in the background, known by its pid file; it is ended when this is dropped.
struct Background(i32);

impl Background {
    fn of(home: &Home) -> Self {
        let is_its = |name: &String| name.contains("wazuh-clusterd-") && name.ends_with(".pid");
        let name = home.traces().into_iter().find(is_its).expect("a pid file");
        let text = String::from_utf8(home.read(&name).unwrap()).unwrap();
        let pid: i32 = text.trim().parse().unwrap();
        assert_eq!(name, format!("var/run/wazuh-clusterd-{pid}.pid"));
        Self(pid)
    }

    fn is_running(&self) -> bool {
        // A zombie that nobody has waited for yet has ended.
        fs::read_to_string(format!("/proc/{}/stat", self.0)).is_ok_and(|stat| !stat.contains(") Z "))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
        }
    }
}

#[test]
fn the_starter_returns_when_the_daemon_serves() {
    let home = Home::master();
    let mut command = clusterd(&home);
    command.arg("-r");
    let Output { status, stdout, stderr } = finish(command);
    assert_eq!(status.code(), Some(0));
    assert_eq!((stdout, stderr), (Vec::new(), Vec::new()), "nothing is said");
    // No waiting from here on: it serves already.
    let daemon = Background::of(&home);
    assert_eq!(control(&home, &["-l"]).status.code(), Some(0));
    assert!(std::net::TcpStream::connect(home.address.socket()).is_ok());

    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.0)).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let (session, terminal) = (fields[3], fields[4]);
    assert_eq!(terminal, "0", "it has no terminal");
    assert_ne!(session, daemon.0.to_string(), "it can never get one");
    if nix::unistd::geteuid().is_root() {
        let leads_to = |link: &str| fs::read_link(format!("/proc/{}/{link}", daemon.0)).unwrap();
        assert_eq!(leads_to("cwd").to_str(), Some("/"));
        for stream in 0..3 {
            assert_eq!(leads_to(&format!("fd/{stream}")).to_str(), Some("/dev/null"));
        }
    } else {
        skip("only root can look into a process that cannot be dumped");
    }

    kill(Pid::from_raw(daemon.0), Signal::SIGTERM).unwrap();
    until("its end", || (!daemon.is_running()).then_some(()));
    assert_eq!(home.traces(), Vec::<String>::new());
    home.wait_for("SIGNAL [(15)-(SIGTERM)] received. Exit...");
}

#[test]
fn the_starter_fails_when_the_daemon_cannot_serve() {
    let home = Home::master();
    let _other = TcpListener::bind(home.address.socket()).unwrap();
    let mut command = clusterd(&home);
    command.arg("-r");
    let Output { status, stderr, .. } = finish(command);
    assert_eq!(status.code(), Some(1));
    let said = String::from_utf8_lossy(&stderr);
    assert!(said.contains("wazuh-clusterd: Could not start master: "), "{said}");
    assert!(!home.traces().iter().any(|name| name.ends_with(".pid")));
}

#[test]
fn the_starter_fails_when_something_fails_after_it_left_the_terminal() {
    let home = Home::master();
    // A directory that may be written to, and in which nobody can make a file.
    fs::remove_dir(home.path("var/run")).unwrap();
    std::os::unix::fs::symlink("/proc", home.path("var/run")).unwrap();
    let mut command = clusterd(&home);
    command.arg("-r");
    let Output { status, stderr, .. } = finish(command);
    assert_eq!(status.code(), Some(1));
    home.wait_for("the pid file cannot be written to");
    let said = String::from_utf8_lossy(&stderr);
    assert!(said.contains("the daemon could not start; logs/cluster.log has the reason"), "{said:?}");
}
