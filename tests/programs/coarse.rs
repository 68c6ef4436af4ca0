//! Homes on a file system that counts time in whole seconds, as NFS, SMB, FAT and old kernels have it: two changes within a
//! second leave a file with one size and one stamp, and in sync means the same bytes all the same.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::support::{Daemon, Home, Program, clusterd, control, finish, seen, skip, unshared, until};

const CANNOT_MOUNT: &str =
    "images of file systems can be mounted only by root, with mkfs.ext4, and where loop devices are permitted";

/// Moves the home `$1` to an ext4 with inodes of 128 bytes, which have room for whole seconds only; it goes with its namespace.
const COARSE: &str = r#"
    PATH="$PATH:/usr/sbin:/sbin"; image="$2.$$"; trap 'rm -f "$image"' EXIT
    truncate -s 32M "$image"; mkfs.ext4 -q -I 128 "$image" 2>/dev/null
    mount -o loop "$image" "$2"; rm "$image"
    cp -a "$1/." "$2/"; mount --bind "$2" "$1""#;

/// A node whose home is on such a file system, where others do not see it.
struct Node<'a> {
    home: &'a Home,
    daemon: Daemon,
}

impl<'a> Node<'a> {
    /// None if this machine does not permit that.
    fn start(home: &'a Home) -> Option<Self> {
        let mounted = home.beside("mounted");
        fs::create_dir(&mounted).unwrap();
        let command = unshared(COARSE, &[&home.path(""), &mounted], &clusterd(home))?;
        Some(Self { home, daemon: Daemon::start_as(home, command) })
    }

    fn path(&self, path: &str) -> PathBuf {
        seen(&self.daemon, &self.home.path(path))
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    /// The exit status of cluster_control beside this daemon.
    fn control(&self, arguments: &[&str]) -> Option<i32> {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.daemon.pid().to_string(), "-m", env!("CARGO_BIN_EXE_cluster_control"), "--home"]);
        nsenter.arg(self.home.path("")).args(arguments).env_remove("WAZUH_HOME");
        finish(nsenter).status.code()
    }
}

/// How somebody gives a file other bytes of the same length.
#[derive(Clone, Copy, Debug)]
enum Way {
    InPlace,
    Renamed,
    /// The file system gives the new file the inode of the old one.
    MadeAnew,
}

const WAYS: [Way; 3] = [Way::InPlace, Way::Renamed, Way::MadeAnew];

fn change(way: Way, path: &Path, content: &str) {
    let renamed = path.with_file_name(".new");
    match way {
        Way::InPlace => fs::write(path, content).unwrap(),
        Way::Renamed => {
            fs::write(&renamed, content).unwrap();
            fs::rename(&renamed, path).unwrap();
        }
        Way::MadeAnew => {
            fs::remove_file(path).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

/// All that such a file system shows of a change.
fn stamp(path: &Path) -> [i64; 4] {
    let about = path.metadata().unwrap();
    [about.size() as i64, about.ino() as i64, about.mtime(), about.ctime()]
}

/// Waits for the first milliseconds of a second.
fn early_in_a_second(millis: u32) {
    until("the begin of a second", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now.subsec_millis() < millis).then_some(())
    });
}

/// Waits until every check says that the worker is in sync, and no node is missing.
fn wait_for_sync(control: impl Fn(&[&str]) -> Option<i32>) {
    until("a worker in sync", || (control(&["-i", "-fn", "w1"]) == Some(0)).then_some(()));
    assert_eq!(control(&["-l"]), Some(0));
}

fn pair() -> (Home, Home) {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    for way in WAYS {
        master.write(&format!("etc/rules/{way:?}.xml"), "<!-- round 00, 1st -->\n");
    }
    (master, worker)
}

/// Case 6.1.
#[test]
fn what_a_master_writes_twice_in_a_second_is_on_the_worker() {
    const ROUNDS: u64 = 30;
    let (master, worker) = pair();
    let Some(node) = Node::start(&master) else { return skip(CANNOT_MOUNT) };
    let _worker = Daemon::start(&worker);
    let mut alike = 0;
    for (round, way) in (1..=ROUNDS).zip(WAYS.into_iter().cycle()) {
        let name = format!("etc/rules/{way:?}.xml");
        let (path, last) = (node.path(&name), format!("<!-- round {round:02}, 2nd -->\n"));
        early_in_a_second(500);
        change(way, &path, &format!("<!-- round {round:02}, 1st -->\n"));
        let first = stamp(&path);
        // All instants from before the scan that reads the first until long after it.
        sleep(Duration::from_millis(round * 10));
        change(way, &path, &last);
        alike += u64::from(stamp(&path) == first);
        worker.wait_for_file(&name, &last);
    }
    assert!(alike >= ROUNDS / 3, "only {alike} of {ROUNDS} changes had the stamp of another");
    wait_for_sync(|arguments| node.control(arguments));
    for way in WAYS {
        let name = format!("etc/rules/{way:?}.xml");
        assert_eq!(node.read(&name).unwrap(), worker.read(&name).unwrap(), "{name}");
    }
}

/// Case 6.1, on the other side.
#[test]
fn what_is_written_over_on_a_worker_in_the_second_of_its_update_is_put_right() {
    const ROUNDS: u64 = 15;
    let (master, worker) = pair();
    let _master = Daemon::start(&master);
    let Some(node) = Node::start(&worker) else { return skip(CANNOT_MOUNT) };
    let mut alike = 0;
    for (round, way) in (1..=ROUNDS).zip(WAYS.into_iter().cycle()) {
        let name = format!("etc/rules/{way:?}.xml");
        let path = node.path(&name);
        let is_put_right = |content: &str| {
            until("the master's bytes", || (node.read(&name).as_deref() == Some(content.as_bytes())).then_some(()));
        };
        let content = format!("<!-- round {round:02}, 1st -->\n");
        early_in_a_second(500);
        master.write(&name, &content);
        is_put_right(&content);
        let update = stamp(&path);
        change(way, &path, &format!("<!-- round {round:02}, bad -->\n"));
        alike += u64::from(stamp(&path) == update);
        sleep(Duration::from_millis(round * 10));
        change(way, &path, &format!("<!-- round {round:02}, BAD -->\n"));
        is_put_right(&content);
    }
    assert!(alike >= ROUNDS / 5, "only {alike} of {ROUNDS} changes had the stamp of the update");
    wait_for_sync(|arguments| control(&master, arguments).status.code());
    for way in WAYS {
        let name = format!("etc/rules/{way:?}.xml");
        assert_eq!(node.read(&name).unwrap(), master.read(&name).unwrap(), "{name}");
    }
}

/// Case 6.2.
#[test]
fn folders_that_are_made_in_one_second_are_groups() {
    let home = Home::master();
    let Some(node) = Node::start(&home) else { return skip(CANNOT_MOUNT) };
    let mut database = Program::at(&node.path("queue/db/wdb"));
    let mut is_group = |name: &str| {
        let rows = database.rows(&format!("global sql SELECT id FROM `group` WHERE name = '{name}'"));
        !rows.as_array().unwrap().is_empty()
    };
    let shared = node.path("etc/shared");
    for round in 0..8 {
        let (first, second) = (format!("a{round}"), format!("b{round}"));
        early_in_a_second(50);
        fs::create_dir(shared.join(&first)).unwrap();
        let begun = stamp(&shared);
        until("the first group", || is_group(&first).then_some(()));
        fs::create_dir(shared.join(&second)).unwrap();
        let alike = stamp(&shared) == begun;
        until("the second group", || is_group(&second).then_some(()));
        if alike {
            return;
        }
    }
    skip("the groups were never looked at between two changes within one second");
}
