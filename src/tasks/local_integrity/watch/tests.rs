use std::fs;

use super::*;
use crate::logging::scope;

struct Place {
    home: tempfile::TempDir,
    watch: Watch,
    wakeup: Wakeup,
}

impl Place {
    fn new(directories: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let wakeup = Wakeup::default();
        let watch = Watch::begin(Arc::new(Items::standard()), wakeup.clone(), scope("a", "b")).unwrap();
        let mut place = Self { home, watch, wakeup };
        for directory in directories {
            fs::create_dir_all(place.home.path().join(directory)).unwrap();
        }
        place.follow(directories);
        place
    }

    fn follow(&mut self, directories: &[&str]) {
        let directories: Vec<String> = directories.iter().map(|one| (*one).to_owned()).collect();
        self.watch.follow(self.home.path(), &directories);
    }

    fn write(&self, path: &str) {
        fs::write(self.home.path().join(path), "x").unwrap();
    }

    #[track_caller]
    fn is_woken(&self) {
        self.wakeup.channel().recv_timeout(Duration::from_secs(30)).expect("a change is noticed");
    }
}

#[test]
fn a_change_wakes_and_what_is_no_file_of_the_cluster_does_not() {
    let place = Place::new(&["etc/", "etc/rules/"]);
    // The last one shows that the others were seen and did nothing.
    for path in ["etc/ossec.conf", "etc/rules/a.swp", "etc/client.keys.tmp"] {
        place.write(path);
    }
    place.write("etc/rules/a.xml");
    place.is_woken();
    assert!(place.wakeup.channel().is_empty());
    let (old, new) = (place.home.path().join("etc/rules/a.xml"), place.home.path().join("etc/rules/b.xml"));
    fs::rename(old, &new).unwrap();
    place.is_woken();
    fs::remove_file(new).unwrap();
    place.is_woken();
    place.write("etc/client.keys");
    place.is_woken();
    fs::create_dir(place.home.path().join("etc/rules/more")).unwrap();
    place.is_woken();
}

#[test]
fn a_file_that_is_still_written_wakes_when_it_is_closed() {
    let place = Place::new(&["etc/rules/"]);
    let file = fs::File::create(place.home.path().join("etc/rules/slow.xml")).unwrap();
    place.write("etc/rules/other.xml");
    place.is_woken();
    let before = Instant::now();
    drop(file);
    place.is_woken();
    assert!(before.elapsed() >= QUIET, "it waits for more");
}

#[test]
fn directories_come_go_and_are_replaced() {
    let mut place = Place::new(&["etc/shared/", "etc/shared/old/"]);
    fs::create_dir(place.home.path().join("etc/shared/new")).unwrap();
    place.is_woken();
    place.follow(&["etc/shared/", "etc/shared/new/"]);
    place.is_woken();
    place.write("etc/shared/new/agent.conf");
    place.is_woken();
    let known = place.watch.watched.directories();
    assert_eq!(known, 2, "the old one is not watched any more");

    // Another directory takes the name of the first.
    fs::rename(place.home.path().join("etc/shared/new"), place.home.path().join("etc/moved")).unwrap();
    place.is_woken();
    fs::create_dir(place.home.path().join("etc/shared/new")).unwrap();
    place.is_woken();
    place.follow(&["etc/shared/", "etc/shared/new/"]);
    place.is_woken();
    place.write("etc/shared/new/agent.conf");
    place.is_woken();
}

/// Case 6.4: `etc/lists` is a link to `etc/shared/lists`.
#[test]
fn two_names_of_one_directory_are_followed_and_idle() {
    let mut place = Place::new(&["etc/shared/", "etc/shared/lists/"]);
    let link = place.home.path().join("etc/lists");
    std::os::unix::fs::symlink("shared/lists", &link).unwrap();
    let both = ["etc/lists/", "etc/shared/", "etc/shared/lists/"];
    place.follow(&both);
    place.is_woken();
    for _ in 0..3 {
        place.follow(&both);
        assert!(place.wakeup.channel().is_empty(), "nothing is new");
    }
    place.write("etc/shared/lists/a");
    place.is_woken();
    place.write("etc/lists/b");
    place.is_woken();
    // The link leads elsewhere, and what it led to is watched under its other name.
    fs::create_dir(place.home.path().join("elsewhere")).unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("../elsewhere", &link).unwrap();
    place.follow(&both);
    place.is_woken();
    place.write("elsewhere/a");
    place.is_woken();
    place.write("etc/shared/lists/c");
    place.is_woken();
    place.follow(&["etc/shared/"]);
    assert_eq!(place.watch.watched.directories(), 1);
}

#[test]
fn changes_that_never_end_are_looked_at_all_the_same() {
    let place = Place::new(&["etc/rules/"]);
    let end = Instant::now() + Duration::from_secs(60);
    while place.wakeup.channel().try_recv().is_err() {
        assert!(Instant::now() < end, "never");
        place.write("etc/rules/a.xml");
    }
}
