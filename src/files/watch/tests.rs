use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::PathBuf,
    time::Duration,
};

use super::*;
use crate::{
    files::scan::{Scan, Scanner, WHOLE_EVERY},
    system::clock::FakeClock,
};

const SECOND: Duration = Duration::from_secs(1);

/// A home with a scanner that watches it; the stamps of its files are old.
struct Place {
    home: tempfile::TempDir,
    hand: FakeClock,
    watch: Arc<Watch>,
    scanner: Scanner,
}

impl Place {
    fn new(paths: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let items = Arc::new(Items::standard());
        let (clock, hand) = FakeClock::new();
        let watch = Arc::new(Watch::new(items.clone()).unwrap());
        let scanner = Scanner::new(home.path(), items).with_watch(watch.clone(), clock);
        let mut place = Self { home, hand, watch, scanner };
        for directory in ["etc/rules", "etc/shared", "etc/lists"] {
            fs::create_dir_all(place.path(directory)).unwrap();
        }
        for path in paths {
            fs::create_dir_all(place.path(path).parent().unwrap()).unwrap();
            place.write(path, "old");
        }
        place.scanner.scan(false);
        place
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).unwrap();
    }

    fn look(&mut self) -> Scan {
        self.scanner.look(Which::Every, false)
    }

    /// Looks, and shows that this found what a look at everything finds.
    #[track_caller]
    fn finds(&mut self, paths: &[&str]) {
        let found = self.look();
        let entries = |scan: &Scan| {
            let entries = scan.manifest.entries().iter();
            entries.map(|entry| (entry.path.to_string(), entry.sum)).collect::<Vec<_>>()
        };
        let mut fresh = Scanner::new(self.home.path(), Arc::new(Items::standard()));
        let everything = fresh.scan(false);
        assert_eq!(entries(&found), entries(&everything));
        assert_eq!(found.manifest.protected(), everything.manifest.protected());
        assert_eq!(entries(&found).iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), paths);
    }

    /// What is told since the last look.
    fn told(&self) -> Suspects {
        self.watch.take(Which::Every)
    }
}

#[test]
fn a_look_finds_what_was_changed_and_looks_at_nothing_else() {
    let (a, b) = ("etc/rules/a.xml", "etc/rules/b.xml");
    let mut place = Place::new(&[a, "etc/shared/x/agent.conf"]);
    place.write(b, "new");
    place.finds(&[a, b, "etc/shared/x/agent.conf"]);
    fs::rename(place.path(b), place.path(a)).unwrap();
    place.finds(&[a, "etc/shared/x/agent.conf"]);
    fs::remove_file(place.path(a)).unwrap();
    place.write("etc/shared/x/agent.conf", "newer");
    place.finds(&["etc/shared/x/agent.conf"]);
    let watched = place.watch.clone();
    assert_eq!(watched.take(Which::Every), Suspects::default(), "nothing is told of what is only read");
    fs::set_permissions(place.path("etc/shared/x/agent.conf"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    assert_eq!(place.told().paths().collect::<Vec<_>>(), ["etc/shared/x/agent.conf"]);
}

#[test]
fn what_is_no_file_of_the_cluster_is_no_suspect_and_what_is_written_is_none_of_the_finished() {
    let place = Place::new(&["etc/rules/a.xml"]);
    for path in ["etc/ossec.conf", "etc/rules/a.swp", "etc/client.keys.tmp"] {
        place.write(path, "x");
    }
    assert_eq!(place.told(), Suspects::default());
    let mut slow = File::create(place.path("etc/rules/slow.xml")).unwrap();
    io::Write::write_all(&mut slow, b"half").unwrap();
    assert!(!place.watch.read().unwrap());
    place.write("etc/rules/a.xml", "x");
    assert!(place.watch.read().unwrap());
    assert_eq!(place.watch.take(Which::Finished).paths().collect::<Vec<_>>(), ["etc/rules/a.xml"]);
    assert_eq!(place.told().paths().collect::<Vec<_>>(), ["etc/rules/slow.xml"]);
    drop(slow);
    assert_eq!(place.watch.take(Which::Finished).paths().collect::<Vec<_>>(), ["etc/rules/slow.xml"]);
}

#[test]
fn directories_come_go_are_moved_and_replaced() {
    let mut place = Place::new(&["etc/shared/old/a", "etc/shared/old/below/b"]);
    fs::create_dir(place.path("etc/shared/new")).unwrap();
    place.write("etc/shared/new/agent.conf", "x");
    place.finds(&["etc/shared/new/agent.conf", "etc/shared/old/a", "etc/shared/old/below/b"]);
    place.write("etc/shared/new/agent.conf", "xy");
    place.finds(&["etc/shared/new/agent.conf", "etc/shared/old/a", "etc/shared/old/below/b"]);

    // Others take the names, with those below.
    fs::rename(place.path("etc/shared/old"), place.path("etc/moved")).unwrap();
    fs::create_dir_all(place.path("etc/shared/old/below")).unwrap();
    place.finds(&["etc/shared/new/agent.conf"]);
    place.write("etc/shared/old/below/b", "new");
    place.finds(&["etc/shared/new/agent.conf", "etc/shared/old/below/b"]);
    let watched = place.watch.state.lock().directories.watched();
    place.write("etc/moved/below/b", "nobody's");
    assert_eq!((place.told(), watched), (Suspects::default(), 7), "what was moved away is not watched any more");

    fs::remove_dir_all(place.path("etc/shared/old")).unwrap();
    place.finds(&["etc/shared/new/agent.conf"]);
    assert_eq!(place.watch.state.lock().directories.watched(), 5);
}

/// Case 6.4: `etc/lists` is a link to `etc/shared/lists`.
#[test]
fn two_names_of_one_directory_are_both_suspect() {
    let mut place = Place::new(&["etc/shared/lists/a"]);
    fs::remove_dir(place.path("etc/lists")).unwrap();
    symlink("shared/lists", place.path("etc/lists")).unwrap();
    place.finds(&["etc/lists/a", "etc/shared/lists/a"]);
    place.write("etc/shared/lists/b", "x");
    place.finds(&["etc/lists/a", "etc/lists/b", "etc/shared/lists/a", "etc/shared/lists/b"]);
    // The link leads elsewhere, which nobody is told; and what it led to is watched under its other name.
    fs::create_dir(place.path("elsewhere")).unwrap();
    place.write("elsewhere/c", "x");
    fs::remove_file(place.path("etc/lists")).unwrap();
    symlink("../elsewhere", place.path("etc/lists")).unwrap();
    place.told();
    place.finds(&["etc/lists/c", "etc/shared/lists/a", "etc/shared/lists/b"]);
    place.write("elsewhere/c", "xy");
    place.write("etc/shared/lists/a", "xy");
    place.finds(&["etc/lists/c", "etc/shared/lists/a", "etc/shared/lists/b"]);
}

#[test]
fn a_file_that_other_names_lead_to_is_looked_at_each_time() {
    let mut place = Place::new(&[]);
    place.write("outside", "old");
    symlink("../../outside", place.path("etc/rules/link.xml")).unwrap();
    place.write("other", "old");
    fs::hard_link(place.path("other"), place.path("etc/rules/name.xml")).unwrap();
    let both = ["etc/rules/link.xml", "etc/rules/name.xml"];
    place.finds(&both);
    place.write("outside", "new");
    place.write("other", "newer");
    assert_eq!(place.watch.state.lock().unfinished, Suspects::default());
    place.finds(&both);
    // A directory on the way becomes a link, which no walk follows.
    fs::create_dir(place.path("etc/rules/d")).unwrap();
    place.write("etc/rules/d/x", "x");
    place.finds(&["etc/rules/d/x", both[0], both[1]]);
    fs::rename(place.path("etc/rules/d"), place.path("d")).unwrap();
    symlink("../../d", place.path("etc/rules/d")).unwrap();
    place.told();
    place.scanner.suspect(["etc/rules/d/x"].into_iter());
    place.finds(&both);
}

#[test]
fn more_than_the_kernel_keeps_is_a_look_at_everything() {
    let mut place = Place::new(&["etc/rules/a.xml", "etc/rules/b.xml"]);
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if most > 100_000 {
        return; // a machine that keeps more than a test can do
    }
    // Two that alternate are not told as one.
    let [one, two] = ["one", "two"].map(|name| place.path(&format!("etc/rules/{name}.tmp")));
    for _ in 0..=most / 4 {
        [&one, &two].into_iter().for_each(|path| fs::write(path, "x").unwrap());
    }
    place.write("etc/rules/a.xml", "lost");
    place.finds(&["etc/rules/a.xml", "etc/rules/b.xml"]);
    assert!(place.watch.read().is_ok() && place.told().are_none());
}

#[test]
fn all_stamps_are_looked_at_now_and_then_and_each_time_where_not_all_is_told() {
    let mut place = Place::new(&["etc/rules/a.xml"]);
    place.write("etc/rules/a.xml", "first");
    place.told();
    let sum = |scan: &Scan| scan.manifest.entries()[0].sum;
    let before = sum(&place.look());
    // It is as if nobody had been told; the stamp is doubtful for some seconds, so that is forgotten, too.
    place.watch.state.lock().blind = false;
    place.hand.advance(WHOLE_EVERY - SECOND);
    place.write("etc/rules/b.xml", "new");
    place.told();
    assert_eq!(place.look().manifest.entries().len(), 1);
    place.hand.advance(SECOND);
    assert_eq!(place.look().manifest.entries().len(), 2);
    assert_eq!(sum(&place.look()), before);

    place.watch.state.lock().blind = true;
    place.write("etc/rules/c.xml", "new");
    assert_eq!(place.look().manifest.entries().len(), 3);
}

/// What cannot be looked at may be there again without a word.
#[test]
fn after_a_problem_all_files_are_looked_at() {
    let mut place = Place::new(&["etc/rules/a.xml"]);
    symlink("nothing", place.path("etc/rules/dangling.xml")).unwrap();
    assert_eq!(place.look().unreadable.len(), 1);
    place.write("etc/rules/b.xml", "new");
    place.told();
    let scan = place.look();
    assert_eq!((scan.unreadable.len(), scan.manifest.entries().len()), (1, 2));
}
