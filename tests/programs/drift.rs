//! cluster_control --config-diff: configurations that differ, and rulesets that are only copied.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Address, Daemon, Home, Peer, ScriptedMaster, control, until};

/// Something that looks like the manager's analysis program, with its pid file; it ends when this is dropped.
struct Analysis(Child);

impl Analysis {
    /// Starts it after all that was written before.
    fn start(home: &Home) -> Self {
        let program = home.path("bin/wazuh-analysisd");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        let sleep = ["/usr/bin/sleep", "/bin/sleep"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        fs::copy(sleep, &program).unwrap();
        moments_later(home);
        let child = Command::new(&program).arg("600").spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        until("its name", || fs::read_to_string(&stat).unwrap().contains("(wazuh-analysisd)").then_some(()));
        home.write(&format!("var/run/wazuh-analysisd-{}.pid", child.id()), "");
        Self(child)
    }
}

impl Drop for Analysis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Adds blocks to the ossec.conf of a node.
fn configure(home: &Home, blocks: &str) {
    let text = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
    home.write("etc/ossec.conf", format!("{text}<ossec_config>\n{blocks}</ossec_config>\n"));
}

fn difference(home: &Home, arguments: &[&str]) -> (Value, Option<i32>, String) {
    let output = control(home, &[&["--config-diff", "--json"], arguments].concat());
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (document, output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn joined(home: &Home, names: &[&str]) {
    until("the workers", || {
        let listed = String::from_utf8(control(home, &["-l"]).stdout).unwrap();
        names.iter().all(|name| listed.contains(name)).then_some(())
    });
}

/// Waits until the clock of the files is further than the grain in which starts of processes are told.
fn moments_later(home: &Home) {
    let now = || {
        home.write("now", "");
        fs::metadata(home.path("now")).unwrap().modified().unwrap()
    };
    let then = now() + Duration::from_millis(50);
    until("a later moment", || (now() > then).then_some(()));
}

const SECRET: &str = "c9d1c0ffee";

#[test]
fn differences_are_named_and_values_stay_at_home() {
    let master = Home::master();
    let integration = |key: &str| format!("<integration><name>slack</name><api_key>{key}</api_key></integration>\n");
    configure(&master, &format!("<syscheck><frequency>43200</frequency></syscheck>\n{}", integration(SECRET)));
    let _master = Daemon::start(&master);
    let (same, other) = (Home::worker("w1", master.address), Home::worker("w2", master.address));
    configure(&same, &format!("{}<syscheck><frequency>43200</frequency></syscheck>\n", integration(SECRET)));
    configure(&other, &format!("<syscheck>\n<frequency>60</frequency></syscheck>\n{}<sca/>\n", integration("other")));
    let _workers = [Daemon::start(&same), Daemon::start(&other)];
    joined(&master, &["w1", "w2"]);
    // They tell their outlines when they have joined.
    until("both outlines", || (!difference(&master, &[]).2.is_empty()).then_some(()));

    for asked in [&master, &other] {
        let (document, status, said) = difference(asked, &[]);
        assert_eq!(status, Some(3), "{said}");
        assert_eq!(said, "Differs: w2: 3 options in etc/ossec.conf.\n");
        assert_eq!(document["w1"]["differences"], json!([]));
        let found = document["w2"]["differences"].as_array().unwrap();
        let named: Vec<_> = found.iter().map(|one| (one["option"].as_str().unwrap(), &one["difference"])).collect();
        let (differs, only) = (json!("differs"), json!("only_on_node"));
        assert_eq!(
            named,
            [("integration [slack] > api_key", &differs), ("sca", &only), ("syscheck > frequency", &differs)]
        );
        assert_eq!(found[2]["master_line"].as_u64().unwrap() + 1, found[2]["node_line"].as_u64().unwrap());
        assert_eq!(document["m"]["differences"], json!([]));
        assert!(!document.to_string().contains(SECRET));
    }
    assert_eq!(difference(&master, &["-fn", "w1"]).1, Some(0));
    let table = |arguments: &[&str]| {
        String::from_utf8(control(&master, &[&["--config-diff"], arguments].concat()).stdout).unwrap()
    };
    assert!(table(&["-fn", "w1"]).starts_with("No option of etc/ossec.conf differs.\n\nNODE  RULESET "));
    assert!(table(&["-fn", "m"]).starts_with("NODE  RULESET "), "nothing was compared");
    let (document, status, said) = difference(&master, &["-fn", "w1", "nosuch"]);
    assert_eq!((status, &*said), (Some(3), "Not connected: nosuch.\n"));
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["w1"]);
    let table = table(&[]);
    let head = "NODE  OPTION OF ETC/OSSEC.CONF       DIFFERENCE    LINE ON MASTER  LINE ON NODE  \n";
    assert!(table.starts_with(head), "{table}");
    assert!(table.contains("\nw2    syscheck > frequency           differs       "), "{table}");
}

#[test]
fn a_file_that_cannot_be_read_and_a_node_that_cannot_be_asked_have_their_reasons() {
    let master = Home::master();
    let _master = Daemon::start(&master);
    let broken = Home::worker("w1", master.address);
    let _worker = Daemon::start(&broken);
    let mut original = Peer::join(master.address, "w2");
    joined(&master, &["w1", "w2"]);
    assert!(difference(&master, &["-fn", "w2"]).2.contains("Not compared: w2: it has only just connected; ask again."));
    original.request("echo-c", "x");
    let text = String::from_utf8(broken.read("etc/ossec.conf").unwrap()).unwrap();
    broken.write("etc/ossec.conf", format!("{text}<ossec_config>\n<syscheck>\n"));
    until("the master knows what w2 speaks", || {
        (!difference(&master, &["-fn", "w2"]).2.contains("only just")).then_some(())
    });
    let (document, status, said) = difference(&master, &[]);
    assert_eq!(status, Some(3));
    assert!(said.contains("Not compared: w1: ") && said.contains("<syscheck> is never closed"), "{said}");
    assert!(said.contains("Not compared: w2: it cannot be asked: it is a stock node, or "), "{said}");
    assert_eq!(document["w2"]["ruleset"], Value::Null);
    let output = control(&master, &["--config-diff", "-fn", "w2"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b""[..]));
}

#[test]
fn a_worker_tells_its_outline_only_if_it_may_and_is_asked_well() {
    for (settings, expected) in [
        (json!({}), "ok"),
        (json!({"link": {"features": ["push"]}}), "err"),
        (json!({"link": {"native": "never"}}), "err"),
    ] {
        let home = Home::worker("w1", Address::new());
        home.settings(settings);
        let master = ScriptedMaster::new(home.address);
        let _daemon = Daemon::start(&home);
        let mut peer = master.accept();
        let (answer, text) = peer.request("get_outline", "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(answer, expected, "{text}");
        if answer == "ok" {
            assert!(text.starts_with("{\"settings\": {\"Ok\": []}, \"ruleset\": {"), "{text}");
            for nonce in ["", "AAAA", "no base64", &"A".repeat(240)] {
                let (answer, text) = peer.request("get_outline", nonce);
                assert!(answer == "err" && text.contains("the nonce is not 16 bytes in base64"), "{text}");
            }
        }
    }
}

#[test]
fn rules_that_are_only_copied_are_told_from_those_that_are_loaded() {
    let master = Home::master();
    master.write("etc/rules/a.xml", "a rule");
    let _daemon = Daemon::start(&master);
    let ruleset = || difference(&master, &[]).0["m"]["ruleset"].clone();
    assert_eq!(ruleset()["verdict"], "not_running");
    // A pid file that somebody left, of a process that is another one.
    master.write(&format!("var/run/wazuh-analysisd-{}.pid", std::process::id()), "");
    assert_eq!(ruleset()["verdict"], "not_running");

    let analysis = Analysis::start(&master);
    let seen = ruleset();
    assert_eq!((&seen["verdict"], &seen["newest"]), (&json!("loaded"), &json!("etc/rules/a.xml")), "{seen}");

    // Lists are compiled by the program itself.
    master.write("etc/lists/hosts.cdb", "compiled");
    assert_eq!(ruleset()["verdict"], "loaded");
    master.write("etc/rules/b.xml", "another");
    let (document, status, said) = difference(&master, &[]);
    assert_eq!(document["m"]["ruleset"]["verdict"], "only_copied", "{document}");
    assert_eq!(status, Some(3));
    assert!(said.starts_with("Not loaded: m: etc/rules"), "{said}");
    assert!(said.ends_with(" has changed since the ruleset was loaded.\n"), "{said}");
    let table = String::from_utf8(control(&master, &["--config-diff"]).stdout).unwrap();
    assert!(table.contains("\nm     only copied  "), "{table}");

    // A new start loads it; what is removed after that is applied all the same.
    drop(analysis);
    let _analysis = Analysis::start(&master);
    assert_eq!(ruleset()["verdict"], "loaded");
    moments_later(&master);
    fs::remove_file(master.path("etc/rules/b.xml")).unwrap();
    let seen = ruleset();
    assert_eq!((&seen["verdict"], &seen["newest"]), (&json!("only_copied"), &json!("etc/rules")), "{seen}");
}
