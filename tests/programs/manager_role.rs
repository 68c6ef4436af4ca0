//! The hook for a manager's own daemons: `etc/failover/manager-role`, and `restart-manager`, which root runs for it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Home, finish, until};

const ORDER: &str = "queue/cluster-state/restart-manager";

/// A daemon as a manager's: it goes to the background, writes its pid file, and tells in which order it was started.
const DAEMON: &str = r#"
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
    char home[PATH_MAX], path[PATH_MAX + 64], *name = basename(strdup(words[0]));
    if (!realpath(words[0], home)) return 1;
    *strstr(home, "/bin/") = 0;
    snprintf(path, sizeof path, "%s/logs/started", home);
    FILE *log = fopen(path, "a");
    fprintf(log, "%s\n", name);
    fclose(log);
    if (daemon(0, 0)) return 1;
    snprintf(path, sizeof path, "%s/var/run/%s-%d.pid", home, name, getpid());
    fclose(fopen(path, "w"));
    alarm(600);
    for (;;) pause();
}
"#;

/// The script as it is installed for `home`.
fn script(home: &Home, name: &str) -> Command {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/failover").join(name)).unwrap();
    home.write(name, text.replace("@PREFIX@", home.path("").to_str().unwrap().trim_end_matches('/')));
    let mut command = Command::new("/bin/sh");
    command.arg(home.path(name)).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn hook(home: &Home, role: &str) -> Output {
    let mut command = script(home, "manager-role");
    command.env("THREATLOCKDOWN_ROLE", role);
    finish(command)
}

fn conf(home: &Home) -> String {
    String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap()
}

#[test]
fn the_role_is_written_once_and_a_restart_is_asked_for() {
    let home = Home::master();
    fs::create_dir_all(home.path("queue/cluster-state")).unwrap();
    let other = "<other><node_type>keep</node_type></other>\n";
    home.write("etc/ossec.conf", format!("{other}{}", conf(&home)));
    fs::set_permissions(home.path("etc/ossec.conf"), fs::Permissions::from_mode(0o660)).unwrap();
    let before = conf(&home);
    assert!(before.contains("<node_type>master</node_type>"), "{before}");

    assert!(hook(&home, "master").status.success());
    assert!(conf(&home) == before && home.read(ORDER).is_none(), "it is the master already");

    assert!(hook(&home, "standby").status.success());
    assert_eq!(conf(&home), before.replace("<node_type>master<", "<node_type>worker<"));
    assert!(conf(&home).starts_with(other));
    assert_eq!(fs::metadata(home.path("etc/ossec.conf")).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(home.read(ORDER).is_some() && home.read("etc/ossec.conf.role").is_none());

    // It was killed before it could ask: the next one does.
    fs::rename(home.path(ORDER), home.path(&format!("{ORDER}.tmp"))).unwrap();
    assert!(hook(&home, "standby").status.success());
    assert!(home.read(ORDER).is_some());
}

#[test]
fn what_it_does_not_understand_it_leaves_alone() {
    let home = Home::master();
    fs::create_dir_all(home.path("queue/cluster-state")).unwrap();
    let said = hook(&home, "king");
    assert!(
        said.status.code() == Some(2) && String::from_utf8_lossy(&said.stderr).contains("neither master nor standby")
    );
    home.write("etc/ossec.conf", "<ossec_config><cluster></cluster></ossec_config>");
    let said = hook(&home, "master");
    assert!(said.status.code() == Some(1) && String::from_utf8_lossy(&said.stderr).contains("has no <node_type>"));
    assert_eq!(conf(&home), "<ossec_config><cluster></cluster></ossec_config>");
    assert!(home.read(ORDER).is_none() && home.read("etc/ossec.conf.role").is_none());
}

#[test]
fn daemons_that_run_are_restarted_and_no_others() {
    let home = Home::master();
    for directory in ["queue/cluster-state", "bin", "logs", "var/run"] {
        fs::create_dir_all(home.path(directory)).unwrap();
    }
    home.write("daemon.c", DAEMON);
    let compiled = Command::new("cc").arg("-w").arg(home.path("daemon.c")).arg("-o").arg(home.path("daemon")).status();
    assert!(compiled.unwrap().success());
    for name in ["wazuh-remoted", "wazuh-db", "wazuh-authd", "wazuh-monitord", "wazuh-clusterd"] {
        fs::copy(home.path("daemon"), home.path(&format!("bin/{name}"))).unwrap();
    }
    let start = |name: &str| assert!(Command::new(home.path(&format!("bin/{name}"))).status().unwrap().success());
    let started = || String::from_utf8(home.read("logs/started").unwrap_or_default()).unwrap();
    // The number of a process that has this program; files of those that were ended stay.
    let pid = |name: &str| -> Option<i32> {
        let files = fs::read_dir(home.path("var/run")).unwrap().map(|entry| entry.unwrap().file_name());
        let numbers = files.filter_map(|file| {
            file.to_str()?.strip_prefix(&format!("{name}-"))?.strip_suffix(".pid")?.parse::<i32>().ok()
        });
        let runs =
            |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(format!("bin/{name}")));
        numbers.filter(runs).max()
    };
    let names = ["wazuh-db", "wazuh-remoted", "wazuh-clusterd"];
    names.iter().for_each(|name| start(name));
    until("they run", || names.iter().all(|name| pid(name).is_some()).then_some(()));
    let before = names.map(|name| pid(name).unwrap());
    // A pid file that names the process of another program.
    home.write(&format!("var/run/wazuh-monitord-{}.pid", before[2]), "");
    home.write(ORDER, "");

    let said = finish(script(&home, "restart-manager"));
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "wazuh-db has been restarted\nwazuh-remoted has been restarted\n"
    );
    until("both are new", || (pid("wazuh-db")? != before[0] && pid("wazuh-remoted")? != before[1]).then_some(()));
    assert_eq!(started(), "wazuh-db\nwazuh-remoted\nwazuh-clusterd\nwazuh-db\nwazuh-remoted\n");
    assert_eq!((pid("wazuh-clusterd"), pid("wazuh-monitord")), (Some(before[2]), None));
    assert!(home.read(ORDER).is_none());
    for name in names {
        kill(Pid::from_raw(pid(name).unwrap()), Signal::SIGKILL).unwrap();
    }
}
