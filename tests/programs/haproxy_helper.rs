//! The HAProxy helper beside a master, with a framework of this test in the place of the manager's.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{Daemon, Home, clusterd, finish, until};

const PASSWORD: &str = "Only-For-The-Proxy";

/// Its own lines have the tags of two parts of it; the last one tells where it runs.
const HELPER: &str = r#"
import asyncio, logging, os

class HAPHelper:
    @classmethod
    async def start(cls):
        logger = logging.getLogger("wazuh").getChild("HAPHelper")
        logger.warning("The proxy does not take %s", "Only-For-The-Proxy", extra={"tag": "HAPHelper", "subtag": "Proxy"})
        logger.debug2("not seen at this level")
        logging.getLogger("asyncio").error("a word of a library")
        logger.info("Starting in process %d", os.getpid(), extra={"tag": "HAPHelper", "subtag": "Main"})
        REST
"#;

const ENABLED: &str = "<haproxy_disabled>no</haproxy_disabled><haproxy_address>127.0.0.1</haproxy_address>\
                       <haproxy_user>dataplane</haproxy_user><haproxy_password>Only-For-The-Proxy</haproxy_password>";

/// A master or worker that is to run the helper, and has the framework with this last statement of it.
fn home(home: Home, rest: &str) -> Home {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let interpreter = String::from_utf8(asked.expect("python3 is installed").stdout).unwrap();
    fs::create_dir_all(home.path("framework/python/bin")).unwrap();
    symlink(interpreter.trim(), home.path("framework/python/bin/python3")).unwrap();
    let packages = ["wazuh", "wazuh/core", "wazuh/core/cluster", "wazuh/core/cluster/hap_helper"];
    for package in packages {
        home.write(&format!("framework/{package}/__init__.py"), "");
    }
    let configured =
        format!("def read_cluster_config():\n return {{'haproxy_helper': {{'x_password': '{PASSWORD}'}}}}\n");
    home.write("framework/wazuh/core/cluster/utils.py", configured);
    home.write("framework/wazuh/core/cluster/hap_helper/hap_helper.py", HELPER.replace("REST", rest));
    enable(&home);
    home
}

fn enable(home: &Home) {
    let text = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
    let block = format!("<haproxy_helper>{ENABLED}</haproxy_helper></cluster>");
    home.write("etc/ossec.conf", text.replace("</cluster>", &block));
}

/// The process of the helper that has started after a mark.
fn helper(home: &Home, mark: usize) -> i32 {
    let line = home.wait_for_since(mark, "[HAPHelper] [Main] Starting in process ");
    assert!(line.contains("INFO: "), "{line}");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn ends(pid: i32) {
    let stat = format!("/proc/{pid}/stat");
    until("its end", || (!fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "))).then_some(()));
}

fn test(home: &Home) -> String {
    let mut command = clusterd(home);
    command.args(["-t", "-r"]);
    String::from_utf8(finish(command).stderr).unwrap()
}

#[test]
fn it_runs_with_the_master_is_started_again_and_ends_with_it() {
    let home = home(Home::master(), "await asyncio.sleep(600)");
    let said = test(&home);
    assert!(!said.contains("haproxy") && said.contains("The configuration is good"), "{said}");
    let daemon = Daemon::start(&home);
    let first = helper(&home, 0);
    let line = home.wait_for("[HAPHelper] [Proxy] The proxy does not take *****");
    assert!(line.contains("WARNING: "), "{line}");
    assert!(home.wait_for("[HAPHelper] [Main] a word of a library").contains("ERROR: "));
    let words = fs::read_to_string(format!("/proc/{first}/cmdline")).unwrap();
    assert!(words.starts_with(home.path("framework").to_str().unwrap()) && !words.contains(PASSWORD), "{words}");

    let mark = home.mark();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let line = home.wait_for_since(mark, "[HAPHelper] [Main] The helper has ended: signal: 9 (SIGKILL).");
    assert!(line.contains("WARNING: "), "{line}");
    let second = helper(&home, mark);
    assert!(daemon.stop().code().is_none(), "SIGTERM ends it");
    ends(second);

    let mark = home.mark();
    let daemon = Daemon::start(&home);
    let third = helper(&home, mark);
    daemon.kill();
    ends(third);
    assert!(!home.log().contains(PASSWORD) && !home.log().contains("not seen at this level"), "{}", home.log());
}

/// The second pause is longer than the first.
#[test]
fn one_that_cannot_work_says_why_and_is_started_ever_more_rarely() {
    let home = home(Home::master(), "import nothing_of_this_name");
    let _daemon = Daemon::start(&home);
    let line = home.wait_for("[HAPHelper] [Main] The helper has ended: ");
    assert!(line.ends_with(": ModuleNotFoundError: No module named 'nothing_of_this_name'."), "{line}");
    home.wait_for("Nothing balances the agents until it is started again, in 1 s.");
    home.wait_for("Nothing balances the agents until it is started again, in 2 s.");
}

#[test]
fn where_there_is_none_one_warning_says_that_nothing_balances_the_agents() {
    const NOBODY: &str = "<haproxy_helper> is enabled, but nothing balances the agents: ";
    let warning = |home: &Home, mark: usize, reason: &str| {
        let line = home.wait_for_since(mark, NOBODY);
        let (reason, remedy) = (format!("WARNING: [HAPHelper] [Main] {NOBODY}{reason}"), "Install the framework");
        assert!(line.contains(&reason) && line.contains(remedy), "{line}");
    };
    let bare = Home::master();
    enable(&bare);
    let old = home(Home::master(), "pass");
    old.settings(json!({"version": "4.8.2"}));
    for (home, reason) in [(&bare, "there is no "), (&old, "this node runs with Wazuh 4.8.2, which has no ")] {
        let said = test(home);
        assert!(said.contains(&format!("{NOBODY}{reason}")) && said.contains("The configuration is good"), "{said}");
        let mark = home.mark();
        let _daemon = Daemon::start(home);
        warning(home, mark, reason);
    }

    let without = home(Home::master(), "pass");
    fs::remove_dir_all(without.path("framework/wazuh/core/cluster/hap_helper")).unwrap();
    let _daemon = Daemon::start(&without);
    warning(&without, 0, "the framework that is installed here has no HAProxy helper");
    assert!(!without.log().contains("started again"), "{}", without.log());
}

#[test]
fn a_worker_has_none() {
    let master = Home::master();
    let worker = home(Home::worker("w1", master.address), "pass");
    let _daemons = [Daemon::start(&master), Daemon::start(&worker)];
    worker.wait_for("Sync not required.");
    assert!(!worker.log().contains("HAPHelper"), "{}", worker.log());
    assert!(Path::new(&worker.path("framework/wazuh")).exists());
}
