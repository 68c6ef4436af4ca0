//! A worker that is connected to a master which lies to it.

use serde_json::Value;

use super::{Address, Daemon, Footprint, Home, Peer, Permission, ScriptedMaster, archive, entry, update};

/// A worker with some files, connected to a scripted master that has got its manifest.
pub struct Victim {
    /// Of the worker.
    pub home: Home,
    /// Its process.
    pub daemon: Daemon,
    /// What that takes while nothing happens.
    pub rest: Footprint,
    master: ScriptedMaster,
    /// The master's end of the connection.
    pub peer: Peer,
}

impl Victim {
    /// With the files that `prepare` adds.
    pub fn new(prepare: impl Fn(&Home)) -> Self {
        let home = Home::worker("w1", Address::new());
        home.write("etc/rules/own.xml", "the worker's");
        home.write("etc/client.keys", "001 agent any key");
        prepare(&home);
        let master = ScriptedMaster::new(home.address);
        let daemon = Daemon::start(&home);
        let mut peer = master.accept();
        peer.wait_for("syn_i_w_m_e");
        peer.permission = Permission::Denied;
        Self { rest: Footprint::at_rest(&daemon, &home), home, daemon, master, peer }
    }

    /// Closes the connection, and is found again.
    pub fn is_left(&mut self) {
        self.peer.close();
        self.peer = self.master.accept();
        self.peer.permission = Permission::Denied;
    }

    /// The worker takes no more than before.
    #[track_caller]
    pub fn rests(&self) {
        self.rest.is_had_again(&self.daemon);
    }

    /// Sends an archive and waits for what the worker says of it as a whole.
    pub fn take(&mut self, bytes: &[u8], says: &str) -> String {
        let mark = self.home.mark();
        assert_eq!(self.peer.update("w1", bytes).0, "ok");
        self.home.wait_for_since(mark, says)
    }

    /// The archive is refused as a whole: nothing changes, and both sides are told `why`.
    pub fn refuses(mut self, bytes: &[u8], why: &str) {
        let before = self.home.snapshot();
        let line = self.take(bytes, "[Integrity sync] The synchronisation failed: ");
        assert!(line.contains("ERROR") && line.contains("the archive is refused") && line.contains(why), "{line}");
        let told = String::from_utf8(self.peer.wait_for("syn_i_w_m_r")).unwrap();
        assert!(told.starts_with("None {") && told.contains("\"code\": 3040"), "{told}");
        assert_eq!(self.home.snapshot(), before);
        // The next check goes its way.
        self.peer.permission = Permission::Granted;
        self.peer.wait_for("syn_i_w_m_e");
        self.rests();
    }

    /// One bad entry is refused and a good one beside it is carried out. `content` goes into the archive, if there is one.
    pub fn refuses_one(mut self, list: List, path: &str, bad: Value, content: Option<&[u8]>, why: &str) {
        let good: &[u8] = b"a good rule";
        let good_entry = ("etc/rules/good.xml", entry("etc/rules/", good));
        let before = self.home.snapshot();
        let mut members = vec![("etc/rules/good.xml", good)];
        members.extend(content.map(|content| (path, content)));
        let mut lists = [vec![good_entry], Vec::new(), Vec::new()];
        lists[list as usize].push((path, bad));
        let [missing, shared, extra] = lists;
        let mark = self.home.mark();
        self.take(&archive(&members, &update(&missing, &shared, &extra)), "[Integrity sync] Finished in");
        let log = self.home.log().split_off(mark);
        let told = log.lines().find(|line| line.contains("ERROR") && line.contains(path) && line.contains(why));
        assert!(told.is_some(), "no line tells '{path}' and '{why}':\n{log}");
        let counts = [list == List::Shared, list == List::Missing, list == List::Extra].map(u8::from);
        let sum = format!("Found errors: {} overwriting, {} creating and {} removing", counts[0], counts[1], counts[2]);
        assert!(log.contains(&sum), "'{sum}' is not in:\n{log}");
        let mut after = self.home.snapshot();
        assert!(after.remove("home/etc/rules/good.xml").is_some());
        assert_eq!(after, before);
        self.peer.permission = Permission::Granted;
        self.peer.wait_for("syn_i_w_m_e");
        self.rests();
    }
}

/// The list of the metadata that names a file.
#[derive(Clone, Copy, PartialEq)]
pub enum List {
    /// To create.
    Missing,
    /// To overwrite.
    Shared,
    /// To remove.
    Extra,
}
