//! Wrong configurations: what a person is told, that the daemon ends with status 1, and that it left nothing.

use std::{fs, os::unix::fs::symlink, process::Output};

use serde_json::json;

use crate::support::{Daemon, Home, clusterd, finish};

/// Starts a daemon that must not come up; gives what it said and checks that it changed nothing.
fn refused(home: &Home, options: &[&str]) -> String {
    let before = home.snapshot();
    let mut command = clusterd(home);
    command.args(options);
    let Output { status, stderr, .. } = finish(command);
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(home.snapshot(), before);
    assert_eq!(home.traces(), Vec::<String>::new(), "{said}");
    said
}

/// The faults stand in the log of a start and on the terminal, with `-f`, with `-t` and without.
fn refused_with(home: &Home, texts: &[&str]) {
    for options in [&["-f", "-r"][..], &["-t"], &["-r"]] {
        let said = refused(home, options);
        let log = home.log();
        for text in texts {
            assert!(said.contains(text), "{options:?} does not say '{text}': {said}");
            assert!(log.contains(&format!("ERROR: [Cluster] [Main] {text}")), "{log}");
        }
        fs::remove_file(home.path("logs/cluster.log")).unwrap();
    }
}

#[test]
fn a_missing_ossec_conf() {
    let home = Home::master();
    fs::remove_file(home.path("etc/ossec.conf")).unwrap();
    refused_with(&home, &["Error 3006 - Error reading cluster configuration: the file can not be read: No such file"]);
    assert!(refused(&home, &["-t"]).contains("create it, or name the right one"));
}

#[test]
fn an_unreadable_ossec_conf() {
    let home = Home::master();
    fs::remove_file(home.path("etc/ossec.conf")).unwrap();
    // Not even root can read this.
    symlink("ossec.conf", home.path("etc/ossec.conf")).unwrap();
    refused_with(
        &home,
        &["Error 3006 - Error reading cluster configuration: the file can not be read: Too many levels"],
    );
}

#[test]
fn a_malformed_ossec_conf_with_its_line() {
    let home = Home::master();
    home.write("etc/ossec.conf", "<ossec_config>\n  <cluster>\n    <name>wazuh</nam>\n  </cluster>\n</ossec_config>\n");
    refused_with(&home, &["Error 3006 - Error reading cluster configuration: "]);
    let place = format!("{}:3: ", home.path("etc/ossec.conf").display());
    let said = refused(&home, &["-t"]);
    assert!(said.contains(&place), "{said}");
}

#[test]
fn a_malformed_cluster_json_with_its_line() {
    let home = Home::worker("w1", crate::support::Address::new());
    home.write("etc/cluster.json", "{\n  \"link\": {},\n}\n");
    refused_with(&home, &["Error 3005 - Error reading cluster.json: trailing comma"]);
    home.write("etc/cluster.json", "{\"intervals\": {\"worker\": {\"sync_integrity\": \"often\"}}}");
    let said = refused(&home, &["-t"]);
    assert!(said.contains("intervals > worker > sync_integrity is not acceptable"), "{said}");
    assert!(said.contains("found the string \"often\""), "{said}");
}

#[test]
fn all_faults_are_told_at_once() {
    let home = Home::master();
    home.option("key", "too_short");
    home.option("port", "80");
    home.option("node_name", "node 1");
    home.option("name", "my cluster");
    home.write("etc/cluster.json", "{\"locall\": {}}");
    let texts = [
        "Error 3004 - Error in cluster configuration: Key must be 32 characters long and only have alphanumeric characters",
        "Error 3004 - Error in cluster configuration: Port must be higher than 1024 and lower than 65535.",
        "Error 3004 - Error in cluster configuration: The name of the node may only have letters",
        "Error 3004 - Error in cluster configuration: The name of the cluster must not have blanks",
        "Error 3005 - Error reading cluster.json: locall is not a setting",
    ];
    refused_with(&home, &texts);
    let said = refused(&home, &["-t"]);
    assert!(said.contains(&format!("{}:4: found 'node 1'; write such a name", home.path("etc/ossec.conf").display())));
    assert!(!said.contains("too_short"), "a key is shown nowhere, not even a bad one: {said}");
}

/// It keeps a node from nothing but requests of the API, so the daemon starts with it, and `-t` does not keep the manager's
/// control script from starting it.
#[test]
fn an_executor_that_cannot_be_run() {
    let home = Home::master();
    let cases = [
        ("missing", "No such file or directory (os error 2); put the program there, or name another one"),
        ("a_directory", "it is not a file; name the file of a program"),
        ("plain", "Permission denied (os error 13); let the user of the daemon execute it, or name another one"),
    ];
    fs::create_dir(home.path("etc/a_directory")).unwrap();
    home.write("etc/plain", "no program");
    for (name, text) in cases {
        let executor = home.path(&format!("etc/{name}")).display().to_string();
        home.settings(json!({"distributed_api": {"executor": [executor]}}));
        let mut command = clusterd(&home);
        command.arg("-t");
        let Output { status, stderr, .. } = finish(command);
        let said = String::from_utf8_lossy(&stderr);
        let text = format!(
            "distributed_api.executor in etc/cluster.json: {executor} cannot be run, and this node refuses requests of the API: {text}"
        );
        assert!(status.success() && said.contains(&format!("ERROR: [Cluster] [Main] {text}")), "{said}");
        assert!(
            said.contains("\nThe daemon starts with this configuration, but requests of the API fail: master"),
            "{said}"
        );
        fs::remove_file(home.path("logs/cluster.log")).unwrap();
        let daemon = Daemon::start(&home);
        home.wait_for(&text);
        daemon.stop();
        fs::remove_file(home.path("logs/cluster.log")).unwrap();
    }
}

/// Case 4.12: it must not look like one that is disabled.
#[test]
fn a_cluster_that_cannot_be_found() {
    let home = Home::master();
    let text = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
    home.write("etc/ossec.conf", text.replace("cluster>", "clutser>"));
    refused_with(
        &home,
        &["Error 3006 - Error reading cluster configuration: there is no <cluster> in <ossec_config> ("],
    );
    let place = format!("{}:2: <clutser> looks like it; write <cluster>", home.path("etc/ossec.conf").display());
    let said = refused(&home, &["-t"]);
    assert!(said.contains(&place) && !said.contains("disabled."), "{said}");
}

/// Case 4.12: the original ignores case, and takes the last of several blocks.
#[test]
fn what_is_read_in_an_unusual_way_is_told() {
    let said = |name: &str| {
        let home = Home::master();
        let file = format!("{}/tests/fixtures/config/{name}.conf", env!("CARGO_MANIFEST_DIR"));
        home.write("etc/ossec.conf", fs::read(file).unwrap());
        let mut command = clusterd(&home);
        command.arg("-t");
        let Output { status, stderr, .. } = finish(command);
        assert_eq!(status.code(), Some(0));
        String::from_utf8(stderr).unwrap()
    };
    let shouted = said("upper_root");
    assert!(shouted.contains("WARNING: [Cluster] [Main] <OSSEC_CONFIG> is read as <ossec_config>;"), "{shouted}");
    assert!(shouted.contains("The configuration is good: master 'm1' of the cluster"), "{shouted}");
    let both = "WARNING: [Cluster] [Main] There are 2 <cluster> blocks, at lines 2 and 17; only the last one counts";
    let full = said("two_blocks_full");
    assert!(full.contains(both) && full.contains("The configuration is good: worker 'b' of the cluster"), "{full}");
    let disabled = said("two_blocks_second_disabled");
    assert!(disabled.contains(both) && disabled.contains("The cluster is disabled: "), "{disabled}");
}

/// Case 4.11: a worker that got the master's file would be a second master.
#[test]
fn a_master_at_an_address_of_another_machine_is_told() {
    let home = Home::master();
    let text = "that of another machine: the <node> 192.0.2.1 is not an address of this machine";
    let said = |home: &Home| {
        let mut command = clusterd(home);
        command.arg("-t");
        let Output { status, stderr, .. } = finish(command);
        assert_eq!(status.code(), Some(0));
        String::from_utf8(stderr).unwrap()
    };
    assert!(!said(&home).contains("is not an address of this machine"));
    home.option("node", "192.0.2.1");
    assert!(said(&home).contains(text));
    fs::remove_file(home.path("logs/cluster.log")).unwrap();
    let _daemon = Daemon::start(&home);
    home.wait_for(text);
    home.option("node_type", "worker");
    assert!(!said(&home).contains("is not an address of this machine"));
}

#[test]
fn another_file_is_checked_with_c() {
    let home = Home::master();
    home.write("etc/other.conf", "<ossec_config><cluster><port>1</port></cluster></ossec_config>");
    let path = home.path("etc/other.conf");
    let said = refused(&home, &["-t", "-c", path.to_str().unwrap()]);
    assert!(said.contains("Unspecified key") && said.contains(path.to_str().unwrap()), "{said}");
}

#[test]
fn what_is_good_or_disabled_ends_with_success_and_changes_nothing() {
    let home = Home::master();
    let before = home.snapshot();
    let ends_well = |options: &[&str]| {
        let mut command = clusterd(&home);
        command.args(options);
        let Output { status, stderr, .. } = finish(command);
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert_eq!(status.code(), Some(0), "{options:?} {said}");
        assert!(!said.contains("ERROR"), "{said}");
    };
    ends_well(&["-t"]);
    home.option("disabled", "yes");
    home.option("key", "");
    for options in [&["-t"][..], &["-f", "-r"], &["-r"]] {
        ends_well(options);
    }
    assert_eq!(home.traces(), Vec::<String>::new());
    home.write("etc/ossec.conf", "");
    let same = |snapshot: crate::support::Snapshot| {
        snapshot.into_iter().filter(|(path, _)| path != "home/etc/ossec.conf").collect::<Vec<_>>()
    };
    assert_eq!(same(home.snapshot()), same(before));
}
