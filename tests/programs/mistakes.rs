//! What people do wrong when they set up a cluster, and what they are told wherever they look: `wazuh-clusterd -t`, the
//! log, `cluster_control` and the status of the unit. Each place that can know names the thing and the remedy.

use std::{net::TcpListener, os::unix::net::UnixDatagram, process::Output, thread, time::Duration};

use serde_json::json;

use crate::support::{Address, Daemon, Home, LIMIT, clusterd, control, finish, until};

/// Phrases, all of which are said.
type Says = &'static [&'static str];

/// Makes a mistake in a home whose configuration is right.
type Make = fn(&Home);

struct Mistake {
    name: &'static str,
    /// Of the worker `w1`. The master `m` and the worker `w2` run.
    make: Make,
    /// `wazuh-clusterd -t`: its status, and what it says.
    test: (i32, Says),
    /// `logs/cluster.log`.
    log: Says,
    /// `cluster_control -l`.
    control: (i32, Says),
    /// The line of `systemctl status`.
    unit: Says,
    /// The log of the master.
    master: Says,
}

const GOOD: &str = "The configuration is good: worker 'w1' of the cluster 'wazuh', whose master is at 127.";

/// With these the daemon does not start, and `-t` tells all; the last is what every place says.
const FAULTS: &[(&str, Make, Says)] = &[
    ("no key", |home| home.option("key", ""), &["Unspecified key (", ":6: write the key of the cluster; "]),
    (
        "half a key",
        |home| home.option("key", "0123456789abcdef"),
        &["Key must be 32 characters long", "write the key of the cluster; a new one is made by"],
    ),
    (
        "a misspelt type",
        |home| home.option("node_type", "wroker"),
        &["Invalid node type wroker.", "write master or worker"],
    ),
    (
        "a port of the system",
        |home| home.option("port", "80"),
        &["Port must be higher than 1024", "write a port between 1025 and 65534"],
    ),
    (
        "the address of the sample",
        |home| home.option("node", "NODE_IP"),
        &["Invalid elements in node fields: NODE_IP", "write the address of the master"],
    ),
    (
        "a name with a blank",
        |home| home.option("node_name", "w 1"),
        &["The name of the node may only have letters", "write such a name; it must differ on every node"],
    ),
    (
        "an address with a blank",
        |home| home.option("node", "ma ster"),
        &["The address of the master must not have blanks", "found 'ma ster'; write the IP address or the host name"],
    ),
    (
        "no <cluster>",
        |home| {
            let text = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
            home.write("etc/ossec.conf", text.replace("cluster>", "clutser>"));
        },
        &["there is no <cluster>", "<clutser> looks like it; write <cluster>"],
    ),
];

const KEY: Says = &["the <key> must be the same on both nodes"];
const NAME: Says =
    &["Error 3030 - Worker does not belong to the same cluster: 'other'", "write the same <name> on both"];
const MASTERS: Says = &["Error 3029", "with same name as the master: m; give each node a <node_name> of its own"];
const TAKEN: Says = &["Error 3028 - Worker node ID already exists: w2; give each node a <node_name> of its own"];
const REFUSED: Says =
    &[":15161: Connection refused", "start the master there, or set <nodes> and <port> to those of the master"];
const SILENT: Says = &[":15162 is not a master; set <nodes> and <port> to those of the master"];
const UNRESOLVED: Says =
    &["cannot resolve the <node> 'no-such-host.invalid'", "set <nodes> to an address of the master"];
const NO_MASTER: Says = &["Connection refused", "if it is to be the master, write <node_type>master</node_type>"];
const BLOCKS: Says = &["There are 2 <cluster> blocks, at lines 2 and 12; only the last one counts"];
const COPY: Says = &["the <node> 192.0.2.1 is not an address of this machine", "write <node_type>worker</node_type>"];

/// With these it starts.
const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "the key of another cluster",
        make: |home| home.option("key", "abcdefghijklmnopqrstuv0123456789"),
        test: (0, &[GOOD]),
        log: KEY,
        control: (3, KEY),
        unit: KEY,
        master: KEY,
    },
    Mistake {
        name: "the name of another cluster",
        make: |home| home.option("name", "other"),
        test: (0, &["worker 'w1' of the cluster 'other'"]),
        log: NAME,
        control: (3, NAME),
        unit: NAME,
        master: NAME,
    },
    Mistake {
        name: "the name of the master",
        make: |home| home.option("node_name", "m"),
        test: (0, &["The configuration is good: worker 'm'"]),
        log: MASTERS,
        control: (3, MASTERS),
        unit: MASTERS,
        master: MASTERS,
    },
    Mistake {
        name: "the name of another worker",
        make: |home| home.option("node_name", "w2"),
        test: (0, &["The configuration is good: worker 'w2'"]),
        log: TAKEN,
        control: (3, TAKEN),
        unit: TAKEN,
        master: TAKEN,
    },
    Mistake {
        name: "a port where nobody listens",
        make: |home| home.option("port", "15161"),
        test: (0, &[GOOD, "port 15161"]),
        log: REFUSED,
        control: (3, REFUSED),
        unit: REFUSED,
        master: &[],
    },
    Mistake {
        name: "the port of another program",
        make: |home| {
            home.option("port", "15162");
            home.settings(json!({"intervals": {"communication": {"timeout_cluster_request": 0.3}}}));
        },
        test: (0, &[GOOD, "port 15162"]),
        log: SILENT,
        control: (3, SILENT),
        unit: SILENT,
        master: &[],
    },
    Mistake {
        name: "an address that no name server knows",
        make: |home| home.option("node", "no-such-host.invalid"),
        test: (0, &["whose master is at no-such-host.invalid"]),
        log: UNRESOLVED,
        control: (3, UNRESOLVED),
        unit: UNRESOLVED,
        master: &[],
    },
    Mistake {
        name: "the type of a worker on the machine that is to be the master",
        make: |home| home.option("node", &Address::new().0.to_string()),
        test: (0, &[GOOD]),
        log: NO_MASTER,
        control: (3, NO_MASTER),
        unit: NO_MASTER,
        master: &[],
    },
    Mistake {
        name: "a second <cluster>",
        make: |home| {
            let text = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
            let block = text.replace("<ossec_config>\n", "").replace("</ossec_config>\n", "");
            home.write("etc/ossec.conf", text.replace("</ossec_config>", &format!("{block}</ossec_config>")));
        },
        test: (0, BLOCKS),
        log: BLOCKS,
        control: (0, &[]),
        unit: &["connected to the master"],
        master: &[],
    },
    Mistake {
        name: "a copy of the master's file",
        make: |home| {
            home.option("node_type", "master");
            home.option("node_name", "m");
            home.option("bind_addr", &Address::new().0.to_string());
            home.option("node", "192.0.2.1");
        },
        test: (0, COPY),
        log: COPY,
        control: (0, COPY),
        unit: COPY,
        master: &[],
    },
];

/// A service manager, which keeps what it was told last.
struct Unit {
    socket: UnixDatagram,
    told: String,
}

impl Unit {
    fn of(home: &Home) -> Self {
        let socket = UnixDatagram::bind(home.beside("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, told: String::new() }
    }

    /// The line that `systemctl status` would show now.
    fn status(&mut self) -> &str {
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let fact = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if let Some(status) = fact.strip_prefix("STATUS=") {
                self.told = status.to_owned();
            }
        }
        &self.told
    }
}

fn all_in(says: Says, text: &str) -> bool {
    says.iter().all(|phrase| text.contains(phrase))
}

fn ran(home: &Home, options: &[&str]) -> (i32, String) {
    let mut command = clusterd(home);
    command.args(options).env("NOTIFY_SOCKET", home.beside("notify"));
    told(finish(command))
}

fn told(Output { status, stdout, stderr }: Output) -> (i32, String) {
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code().unwrap_or(-1), text)
}

/// Waits until a place says what it is to say.
fn hears(name: &str, place: &str, mut look: impl FnMut() -> (bool, String)) {
    let (mut last, end) = (String::new(), std::time::Instant::now() + LIMIT - Duration::from_millis(500));
    until(place, || {
        let (heard, text) = look();
        last = text;
        assert!(heard || std::time::Instant::now() < end, "{name}: {place} says: {last}");
        heard.then_some(())
    });
}

/// Of "Bad input": the mistakes for which the daemon does not start. `cluster_control` finds nobody, and tells why.
#[test]
fn a_mistake_that_keeps_the_daemon_from_starting() {
    for (name, make, says) in FAULTS {
        let home = Home::worker("w1", Address::new());
        make(&home);
        let (code, text) = ran(&home, &["-t"]);
        assert!(code == 1 && all_in(says, &text), "{name}: -t ends with {code}: {text}");
        std::fs::remove_file(home.path("logs/cluster.log")).unwrap();
        let mut unit = Unit::of(&home);
        assert_eq!(ran(&home, &["-f", "-r"]).0, 1, "{name}");
        assert!(all_in(says, &home.log()), "{name}: {}", home.log());
        assert!(all_in(says, unit.status()), "{name}: the unit says: {}", unit.status());
        let (code, text) = told(control(&home, &["-l"]));
        let expected =
            text.contains("Error 3012 - Cluster is not running") && text.contains("correct its configuration: ");
        assert!(code == 1 && expected && all_in(says, &text), "{name}: -l ends with {code}: {text}");
    }
}

/// Of "Bad input": a cluster that is disabled, as in every manager that was just installed, and a start that was forgotten.
#[test]
fn a_daemon_that_does_not_run() {
    let home = Home::worker("w1", Address::new());
    let start = "'systemctl start wazuh-clusterd' or the manager's 'wazuh-control start'";
    let (code, text) = ran(&home, &["-t"]);
    assert!(code == 0 && text.contains(GOOD), "{text}");
    for option in ["-l", "-i"] {
        let (code, text) = told(control(&home, &[option]));
        assert!(code == 1 && text.contains("Error 3012 - Cluster is not running"), "{text}");
        assert!(text.contains(&format!("Remedy: start it, with {start}")), "{text}");
    }

    home.option("disabled", "yes");
    let disabled = "<cluster> says <disabled>yes</disabled>";
    let mut unit = Unit::of(&home);
    for options in [&["-t"][..], &["-f", "-r"]] {
        let (code, text) = ran(&home, options);
        assert!(code == 0 && text.contains(disabled), "{text}");
    }
    assert!(home.log().contains(disabled) && unit.status().contains(disabled), "{}", unit.status());
    let (code, text) = told(control(&home, &["-l"]));
    assert!(
        code == 1 && text.contains("says <disabled>yes</disabled>: write no to run") && text.contains(start),
        "{text}"
    );
}

/// Of "Bad input": the mistakes with which a node starts and is not in the cluster.
#[test]
fn a_mistake_with_which_the_daemon_runs() {
    let master = Home::master();
    let w2 = Home::worker("w2", master.address);
    let _daemons = (Daemon::start(&master), Daemon::start(&w2));
    w2.wait_for("Successfully connected to master.");
    // It takes connections and says nothing.
    let _other = TcpListener::bind((master.address.0, 15_162)).unwrap();
    thread::scope(|scope| {
        for mistake in MISTAKES {
            let master = &master;
            scope.spawn(move || is_told(mistake, master));
        }
    });
}

fn is_told(mistake: &Mistake, master: &Home) {
    let name = mistake.name;
    let home = Home::worker("w1", master.address);
    (mistake.make)(&home);
    let (code, text) = ran(&home, &["-t"]);
    assert!(code == mistake.test.0 && all_in(mistake.test.1, &text), "{name}: -t ends with {code}: {text}");
    std::fs::remove_file(home.path("logs/cluster.log")).unwrap_or_default();

    let mut unit = Unit::of(&home);
    let mut command = clusterd(&home);
    command.env("NOTIFY_SOCKET", home.beside("notify"));
    let _daemon = Daemon::start_as(&home, command);
    hears(name, "the log", || (all_in(mistake.log, &home.log()), home.log()));
    hears(name, "the unit", || (all_in(mistake.unit, unit.status()), unit.status().to_owned()));
    hears(name, "cluster_control -l", || {
        let (code, text) = told(control(&home, &["-l"]));
        (code == mistake.control.0 && all_in(mistake.control.1, &text), format!("{text}and ends with {code}"))
    });
    hears(name, "the log of the master", || (all_in(mistake.master, &master.log()), master.log()));
}
