//! What a service manager is told: a socket of the test takes its place.

use std::{
    io::ErrorKind,
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Address, Daemon, Home, LIMIT, clusterd, finish};

/// A service manager that started the daemon of a home.
struct Manager(UnixDatagram);

impl Manager {
    fn start(home: &Home, watchdog: Duration) -> (Self, Daemon) {
        let path = home.beside("notify");
        let manager = Self(UnixDatagram::bind(&path).unwrap());
        manager.0.set_read_timeout(Some(LIMIT)).unwrap();
        let mut command = clusterd(home);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        let daemon = Daemon::start_as(home, command);
        (manager, daemon)
    }

    fn next(&self) -> String {
        let mut bytes = [0; 512];
        let length = loop {
            match self.0.recv(&mut bytes) {
                // A receive with a time limit is not taken up again after a signal.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.expect("something is told in time"),
            }
        };
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Waits for this, over anything else that is told.
    fn hears(&self, text: &str) {
        while self.next() != text {}
    }

    /// The next that is no sign of life.
    fn next_news(&self) -> String {
        loop {
            let text = self.next();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }
}

#[test]
fn a_master_is_ready_when_it_listens_and_tells_of_its_workers() {
    let master = Home::master();
    let (manager, daemon) = Manager::start(&master, Duration::from_secs(600));
    assert_eq!(manager.next(), "STATUS=master 'm': 0 workers are connected");
    assert_eq!(manager.next(), "WATCHDOG=1");
    assert_eq!(manager.next(), "READY=1");
    assert!(std::net::TcpStream::connect(master.address.socket()).is_ok());

    let worker = Home::worker("w1", master.address);
    let worker_daemon = Daemon::start(&worker);
    manager.hears("STATUS=master 'm': 1 worker is connected");
    drop(worker_daemon);
    let away = "STATUS=master 'm': 0 workers are connected, 1 is away: 'cluster_control -l' tells why";
    manager.hears(away);

    daemon.signal(Signal::SIGHUP);
    let reloading = manager.next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.next(), "READY=1");
    daemon.stop();
    assert_eq!(manager.next(), "STOPPING=1");
}

#[test]
fn a_worker_is_ready_without_its_master_and_says_so() {
    let address = Address::new();
    let worker = Home::worker("w1", address);
    let (manager, _daemon) = Manager::start(&worker, Duration::from_secs(600));
    let (ip, port) = (address.0, address.socket().port());
    let away = format!("STATUS=worker 'w1': not connected to the master, {ip}:{port}");
    // The first attempt may have failed already.
    assert!(manager.next().starts_with(&away));
    assert_eq!(manager.next(), "WATCHDOG=1");
    assert_eq!(manager.next(), "READY=1");
    let master = Home::master_at(address);
    let master_daemon = Daemon::start(&master);
    manager.hears(&format!("STATUS=worker 'w1': connected to the master, {ip}:{port}"));
    master_daemon.kill();
    let refused = format!("; {ip}:{port}: Connection refused (os error 111); start the master there, or set <nodes>");
    while !manager.next().starts_with(&format!("{away}{refused}")) {}
}

/// Case 1.2: `disabled` is what a manager begins with, and no failure. The unit is inactive then.
#[test]
fn a_disabled_cluster_is_ready_and_ends() {
    let home = Home::master();
    home.option("disabled", "yes");
    let path = home.beside("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = clusterd(&home);
    command.args(["-f", "-r"]).env("NOTIFY_SOCKET", &path);
    let ended = finish(command);
    assert_eq!(ended.status.code(), Some(0));
    let reason = "The cluster is disabled: <cluster> says <disabled>yes</disabled>.";
    assert!(String::from_utf8(ended.stderr).unwrap().contains(reason));
    for text in [&format!("STATUS={reason}"), "READY=1", "STOPPING=1"] {
        assert_eq!(manager.next(), text);
    }
}

/// Case 1.5: the journal shows errors with `-p err`. Here a file takes its place.
#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    let home = Home::master();
    home.option("port", "80");
    let said = |stream: &str| {
        let path = home.beside("journal");
        let file = std::fs::File::create(&path).unwrap();
        let about = file.metadata().unwrap();
        let stream = stream.replace("THIS", &format!("{}:{}", about.dev(), about.ino()));
        let mut command = clusterd(&home);
        command.args(["-f", "-r"]).env("JOURNAL_STREAM", stream).stderr(file);
        let _ = command.status().unwrap();
        std::fs::read_to_string(path).unwrap()
    };
    let fault = "ERROR: [Cluster] [Main] Error 3004 - Error in cluster configuration: Port must be higher";
    for (stream, priority) in [("THIS", "<3>20"), ("1:2", "20")] {
        let text = said(stream);
        let line = text.lines().find(|line| line.contains(fault)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.starts_with(priority), "{line}");
    }
    home.option("disabled", "yes");
    home.option("port", "1516");
    let text = said("THIS");
    assert!(text.starts_with("<6>20") && text.contains("is disabled"), "{text}");
    assert!(!home.log().contains("<6>") && !home.log().contains("<3>"), "only the journal wants them");
}

#[test]
fn signs_of_life_come_in_time_for_the_watchdog() {
    let home = Home::master();
    let limit = Duration::from_secs(2);
    let (manager, daemon) = Manager::start(&home, limit);
    manager.hears("READY=1");
    // A sign that is late does not arrive in time: the manager would kill it then.
    manager.0.set_read_timeout(Some(limit)).unwrap();
    (0..3).for_each(|_| assert_eq!(manager.next(), "WATCHDOG=1"));
    // A process that hangs, here because it is halted, gives none.
    daemon.signal(Signal::SIGSTOP);
    let mut bytes = [0; 64];
    while manager.0.recv(&mut bytes).is_ok() {}
    daemon.signal(Signal::SIGCONT);
    manager.0.set_read_timeout(Some(LIMIT)).unwrap();
    daemon.stop();
    assert_eq!(manager.next_news(), "STOPPING=1");
}

/// `systemctl reload` is content as soon as the signal is sent; `systemctl status` has more to say.
#[test]
fn a_reload_that_failed_is_told_until_one_is_good() {
    let home = Home::master();
    let (manager, daemon) = Manager::start(&home, Duration::from_secs(600));
    manager.hears("READY=1");
    home.write("etc/cluster.json", "{");
    daemon.signal(Signal::SIGHUP);
    manager.hears("STATUS=master 'm': 0 workers are connected; the last reload failed, see logs/cluster.log");
    home.settings(serde_json::json!({}));
    daemon.signal(Signal::SIGHUP);
    manager.hears("STATUS=master 'm': 0 workers are connected");
}

/// A script that reloads all the time must not make a node look hung.
#[test]
fn signs_of_life_come_while_it_is_told_to_reload_again_and_again() {
    let home = Home::master();
    let (manager, daemon) = Manager::start(&home, Duration::from_secs(2));
    manager.hears("READY=1");
    let (end, mut signs) = (Instant::now() + LIMIT, 0);
    while signs < 3 {
        assert!(Instant::now() < end, "{signs} signs");
        daemon.signal(Signal::SIGHUP);
        // The next one comes when this was served, so there is always one.
        loop {
            match &*manager.next() {
                "READY=1" => break,
                "WATCHDOG=1" => signs += 1,
                _ => {}
            }
        }
    }
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_is_left_alone() {
    let home = Home::master();
    let path = home.beside("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = clusterd(&home);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let _daemon = Daemon::start_as(&home, command);
    assert_eq!(manager.next(), "STATUS=master 'm': 0 workers are connected");
    assert_eq!(manager.next(), "READY=1");
}
