//! Power cuts: a worker that is killed while it applies an update has every file old or new, and is whole after its start.

use std::{collections::BTreeMap, fs};

use crate::support::{Daemon, Home, until};

const COUNT: usize = 2000;

fn name(number: usize) -> String {
    format!("etc/rules/{}/r{number}.xml", number % 20)
}

fn content(version: &str, number: usize) -> String {
    format!("{version} {number} ").repeat(20)
}

/// How many staged files there are. It looks at names only: what it waits for is over in no time.
fn staged(home: &Home) -> usize {
    let directories = fs::read_dir(home.path("etc/rules")).unwrap().flatten();
    let names = directories.filter_map(|directory| fs::read_dir(directory.path()).ok()).flatten().flatten();
    names.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".cluster-")).count()
}

/// Kills the worker as soon as `now` is true; then starts it again. Tells whether there was something left to be done.
fn killed_when(now: impl Fn(&Home) -> bool) -> bool {
    let master = Home::master();
    let worker = Home::worker("w1", master.address);
    let mut allowed = BTreeMap::new();
    for number in 0..COUNT {
        master.write(&name(number), content("new", number));
        if number % 2 == 0 {
            worker.write(&name(number), content("old", number));
        }
        allowed.insert(name(number), number);
    }
    worker.write("etc/rules/surplus.xml", "surplus");
    let _master = Daemon::start(&master);
    let daemon = Daemon::start(&worker);
    until("the moment of the kill", || now(&worker).then_some(()));
    daemon.kill();

    for (path, number) in &allowed {
        let (new, old) = (content("new", *number), content("old", *number));
        match worker.read(path) {
            Some(found) => {
                assert!(found == new.as_bytes() || number % 2 == 0 && found == old.as_bytes(), "{path} is half")
            }
            None => assert!(number % 2 == 1, "{path} is lost"),
        }
    }
    let (mark, own_mark) = (master.mark(), worker.mark());
    let _worker = Daemon::start(&worker);
    assert_eq!(staged(&worker), 0, "the start removes them");
    let interrupted = worker.log()[own_mark..].contains("An interrupted update was completed: ");
    master.wait_for_since(mark, "Sync not required.");
    for (path, number) in &allowed {
        assert_eq!(worker.read(path).unwrap(), content("new", *number).as_bytes(), "{path}");
    }
    assert!(!worker.path("etc/rules/surplus.xml").exists());
    assert_eq!(fs::read_dir(worker.path("etc/rules")).unwrap().count(), 20);
    interrupted
}

/// The moment may be over before the kill arrives; not always, though.
fn killed_in_the_middle(now: impl Fn(&Home) -> bool) {
    assert!((0..5).any(|_| killed_when(&now)), "the update was over each time");
}

#[test]
fn killed_while_the_contents_are_staged() {
    killed_in_the_middle(|home| staged(home) > 100);
}

#[test]
fn killed_while_files_are_replaced() {
    let first_or_last = [name(1), name(COUNT - 1), name(999)];
    killed_in_the_middle(|home| first_or_last.iter().any(|path| home.path(path).exists()));
}

#[test]
fn killed_when_the_surplus_is_deleted() {
    killed_when(|home| !home.path("etc/rules/surplus.xml").exists());
}
