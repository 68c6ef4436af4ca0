//! Who may not join: what both ends tell the person who has to mend it.

use crate::support::{Address, Daemon, Home, Peer};

/// Runs a master and a worker that differs from it in `option`, and waits for what they log.
fn differs(option: &str, value: &str, master_says: &str, worker_says: &str) {
    let master = Home::master();
    master.write("etc/rules/a.xml", "the master's");
    let worker = Home::worker("w1", master.address);
    worker.write("etc/rules/own.xml", "the worker's");
    worker.option(option, value);
    let before = (master.snapshot(), worker.snapshot());
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    for (home, says) in [(&worker, worker_says), (&master, master_says)] {
        home.wait_for(says);
        // It goes on trying, and goes on changing nothing; only who debugs is told again.
        let again = home.wait_for_since(home.mark(), says);
        assert!(again.contains(" DEBUG: "), "{again}");
        let log = home.log();
        let told = log.lines().filter(|line| line.contains(says) && !line.contains(" DEBUG: "));
        assert_eq!(told.count(), 1, "told once:\n{log}");
    }
    assert_eq!((master.snapshot(), worker.snapshot()), before);
    assert!(!worker.log().contains("Successfully connected"));
}

#[test]
fn another_key() {
    let mine = "the connection was closed: the peer closed it; the <key> must be the same on both nodes, and <port> that of \
                the master";
    let masters = "the message 'hello' cannot be decrypted: its signature does not fit the cluster key; the <key> must be the \
                   same on both nodes";
    differs("key", "vutsrqponmlkjihgfedcba9876543210", masters, mine);
}

#[test]
fn another_cluster_name() {
    let text = "Error 3030 - Worker does not belong to the same cluster: 'other' of w1 is not 'wazuh' of the master; \
                write the same <name> on both";
    differs("name", "other", text, text);
}

#[test]
fn the_name_of_the_master() {
    let text = "Error 3029 - Connected worker with same name as the master: m; give each node a <node_name> of \
                its own";
    differs("node_name", "m", text, text);
}

#[test]
fn another_version() {
    let text = "Error 3031 - Worker and master versions are not the same: w1 has '4.13.1', the master 4.14.7; install \
                the same release, or state the same version in etc/cluster.json";
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    worker.settings(serde_json::json!({"version": "4.13.1"}));
    let (_master, _worker) = (Daemon::start(&master), Daemon::start(&worker));
    worker.wait_for(&format!("Could not connect to master: {text}"));
    master.wait_for(&format!("is refused: {text}"));
}

#[test]
fn a_second_worker_of_the_same_name() {
    let master = Home::master();
    let (one, two) = (Home::worker("w1", master.address), Home::worker("w1", master.address));
    let _master = Daemon::start(&master);
    let _one = Daemon::start(&one);
    one.wait_for("Successfully connected to master.");
    let _two = Daemon::start(&two);
    two.wait_for("Could not connect to master: Error 3028 - Worker node ID already exists: w1");
    master.wait_for("is refused: Error 3028 - Worker node ID already exists: w1");
    assert!(!one.log().contains("The connection has been closed"), "the first one stays: {}", one.log());
}

#[test]
fn words_that_are_no_names() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let cases = [
        ("node 1 wazuh worker 4.14.7", 1000, "hello is to be four words: node name, cluster name, node type, version"),
        ("w1 my cluster worker 4.14.7", 1000, "names cannot have blanks"),
        ("w1", 1000, "hello is to be four words"),
        ("", 1000, "hello is to be four words"),
        ("../w1 wazuh worker 4.14.7", 3060, "../w1"),
        (" wazuh worker 4.14.7", 3060, ""),
        ("w1 wazuh worker newest", 3031, "w1 has 'newest', the master 4.14.7"),
    ];
    for (words, code, text) in cases {
        let (command, answer) = Peer::connect(master.address).request("hello", words);
        assert_eq!(command, "err", "{words}");
        assert!(answer.contains(&format!("\"code\": {code},")) && answer.contains(text), "{words}: {answer}");
    }
    master.wait_for("is refused: Error 3060 - Invalid node name: ../w1");
    assert_eq!(master.traces().iter().filter(|name| name.contains("w1")).count(), 0);
}

#[test]
fn a_name_that_forges_log_lines() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let mut peer = Peer::connect(master.address);
    peer.request("hello", "x\n2026/11/23 00:00:00 ERROR: [Master] [Main] forged wazuh worker 4.14.7");
    let mut peer = Peer::connect(master.address);
    peer.request("hello", "x\nERROR:forged wazuh worker 4.14.7");
    let line = master.wait_for("Error 3060");
    assert!(line.contains(r"x\nERROR:forged"), "{line}");
    assert!(!master.log().lines().any(|line| line.starts_with("ERROR:")));
}

#[test]
fn nothing_is_served_before_hello_and_hello_only_once() {
    let master = Home::master();
    let _daemon = Daemon::start(&master);
    let mut stranger = Peer::connect(master.address);
    for command in ["syn_i_w_m_p", "syn_i_w_m", "new_file", "get_nodes", "get_health", "new_str", "native"] {
        let (answer, text) = stranger.request(command, "5");
        assert!(answer == "err" && text.contains("say hello first"), "{command}: {answer} {text}");
    }
    assert_eq!(stranger.ask("echo", "still here"), "still here");
    assert_eq!(stranger.hello("w1").0, "ok");
    let (answer, text) = stranger.hello("w2");
    assert!(answer == "err" && text.contains("hello was said before"), "{text}");
    assert_eq!(stranger.request("syn_i_w_m_p", "").0, "ok", "it goes on as w1");
}

#[test]
fn a_master_that_is_not_there() {
    let worker = Home::worker("w1", Address::new());
    worker.write("etc/rules/own.xml", "the worker's");
    let before = worker.snapshot();
    let _worker = Daemon::start(&worker);
    let line = worker.wait_for("Could not connect to master: ");
    assert!(line.contains(&worker.address.socket().to_string()) && line.contains("Connection refused"), "{line}");
    assert_eq!(worker.snapshot(), before);
}

/// Another master takes over, at the second address of the list.
#[test]
fn the_nodes_of_the_list_are_tried_in_turn() {
    let (first, second) = (Home::master(), Home::master());
    let worker = Home::worker("w1", first.address);
    let text = String::from_utf8(worker.read("etc/ossec.conf").unwrap()).unwrap();
    let both = format!("</node><node>{}</node></nodes>", second.address.0);
    worker.write("etc/ossec.conf", text.replace("</node></nodes>", &both));
    let master = Daemon::start(&first);
    let _worker = Daemon::start(&worker);
    first.write("etc/rules/of.xml", "the first");
    worker.wait_for_file("etc/rules/of.xml", "the first");
    let line = worker.wait_for("<nodes> has 2 nodes; workers that run this daemon try them in turn");
    assert!(line.contains("WARNING"), "{line}");

    let mark = worker.mark();
    master.stop();
    second.write("etc/rules/of.xml", "the second");
    let _master = Daemon::start(&second);
    worker.wait_for_file("etc/rules/of.xml", "the second");
    let line = worker.wait_for_since(mark, "Could not connect to master: ");
    assert!(line.contains(&first.address.socket().to_string()), "{line}");
}
