//! Notices changes of the master's files when they happen (`inotify(7)`), so that nobody waits for the next period.
//!
//! It only wakes the local integrity thread, which finds out what has changed. What the kernel does not tell of, such as
//! a change that another machine makes on a network file system, is found at the end of the period as ever.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};
use parking_lot::Mutex;

use crate::{
    files::Items,
    logging::{Scope, error, warn},
    system::thread::spawn,
};

/// How long nothing must happen before the files are looked at: who copies a ruleset is to have done it.
const QUIET: Duration = Duration::from_millis(50);

/// After which time they are looked at all the same.
const LONGEST: Duration = Duration::from_secs(1);

/// A file that is written and not closed yet is none of these: a half of it is not to travel.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_CREATE)
    .union(ITSELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// The directory is not where it was.
const ITSELF: AddWatchFlags = AddWatchFlags::IN_MOVE_SELF.union(AddWatchFlags::IN_DELETE_SELF);

/// The thread `file_watch` and what it watches; dropping this ends it.
pub(super) struct Watch {
    watched: Arc<Watched>,
    wake: Sender<()>,
    scope: Scope,
    /// Whether it was told that not all can be watched.
    told: bool,
    /// The thread ends with this.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

struct Watched {
    inotify: Inotify,
    items: Arc<Items>,
    /// Relative to the home, with a final slash. A directory may have several names here, by links and mounts; the kernel
    /// gives it one descriptor.
    directories: Mutex<HashMap<WatchDescriptor, Vec<String>>>,
}

impl Watch {
    /// Starts the thread, which watches nothing yet. `wake` gets a word after changes.
    ///
    /// # Errors
    /// When the system has no room for another watch or thread.
    pub(super) fn begin(items: Arc<Items>, wake: Sender<()>, scope: Scope) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let watched = Arc::new(Watched { inotify, items, directories: Mutex::default() });
        let (stop, stopped) = UnixStream::pair()?;
        let (theirs, tell, its) = (watched.clone(), wake.clone(), scope.clone());
        let thread = spawn("file_watch", move || {
            if let Err(error) = theirs.run(&stopped, &tell) {
                error!(its, "The files are not watched any more, only looked at in each period: {error}");
            }
        })?;
        Ok(Self { watched, wake, scope, told: false, stop: Some(stop), thread: Some(thread) })
    }

    /// Watches these directories below `home`, relative to it and with a final slash, and no others.
    pub(super) fn follow(&mut self, home: &Path, directories: &[String]) {
        let wanted: HashSet<&str> = directories.iter().map(String::as_str).collect();
        let known = self.watched.keep(&wanted);
        let is_first = known.is_empty();
        let (mut added, mut failed) = (false, None);
        let is_new = |directory: &&String| !known.contains(directory.as_str()) || self.watched.may_be_a_link(directory);
        for directory in directories.iter().filter(is_new) {
            match self.watched.inotify.add_watch(&home.join(directory), EVENTS) {
                Ok(descriptor) => added |= self.watched.note(descriptor, directory),
                // It has just gone, or may not be read; the scan tells of the latter.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if added && !is_first {
            // What was put there between the look at it and this.
            let _ = self.wake.try_send(());
        }
        let told = std::mem::replace(&mut self.told, failed.is_some());
        if let Some(error) = failed.filter(|_| !told) {
            warn!(
                self.scope,
                "Only {} of {} directories can be watched: {error}. Changes in the others are noticed at the end of each \
                 period; raise fs.inotify.max_user_watches (sysctl).",
                self.watched.directories.lock().values().map(Vec::len).sum::<usize>(),
                directories.len()
            );
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has ended the process.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Watched {
    fn run(&self, stopped: &UnixStream, wake: &Sender<()>) -> io::Result<()> {
        while let Some(true) = self.wait(stopped, None)? {
            let mut changed = self.read()?;
            let end = Instant::now() + LONGEST;
            while changed {
                let left = end.saturating_duration_since(Instant::now());
                match self.wait(stopped, Some(QUIET.min(left)))? {
                    Some(true) if !left.is_zero() => _ = self.read()?,
                    Some(_) => {
                        // A full channel means that a run has been ordered already.
                        let _ = wake.try_send(());
                        changed = false;
                    }
                    None => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Whether something happens within `limit`, if there is any; `None` when it is over.
    fn wait(&self, stopped: &UnixStream, limit: Option<Duration>) -> io::Result<Option<bool>> {
        let mut ends = [self.inotify.as_fd(), stopped.as_fd()].map(|end| PollFd::new(end, PollFlags::POLLIN));
        let limit = limit.and_then(|limit| PollTimeout::try_from(limit).ok());
        loop {
            match poll(&mut ends, limit) {
                Ok(_) if ends[1].any() == Some(true) => return Ok(None),
                Ok(count) => return Ok(Some(count > 0)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes what has happened; whether it may concern the items.
    fn read(&self) -> io::Result<bool> {
        match self.inotify.read_events() {
            // All are looked at: some make a directory unknown.
            Ok(events) => Ok(events.iter().filter(|event| self.concerns(event)).count() > 0),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn concerns(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.directories.lock().remove(&event.wd);
            return false;
        }
        if event.mask.intersects(ITSELF) {
            // Another one may take its name.
            self.forget(event.wd);
        }
        let name = event.name.as_ref().map(|name| name.to_string_lossy());
        let (Some(directories), Some(name)) = (self.directories.lock().get(&event.wd).cloned(), name) else {
            // One that is not known yet, or what happened to it; or so much has happened that the kernel lost count.
            return true;
        };
        if event.mask.contains(AddWatchFlags::IN_ISDIR) {
            return true;
        }
        let is_closed = !event.mask.contains(AddWatchFlags::IN_CREATE);
        let belongs = |path: &str| self.items.iter().any(|(id, _)| self.items.permits(id, path).is_ok());
        is_closed && directories.into_iter().any(|directory| belongs(&(directory + &name)))
    }

    /// Forgets the names that are not wanted, and gives those that are known.
    fn keep<'a>(&self, wanted: &HashSet<&'a str>) -> HashSet<&'a str> {
        let mut known = HashSet::new();
        self.retain(|name| wanted.get(name).is_some_and(|name| known.insert(*name)));
        known
    }

    /// Gives a directory this name, and nobody else; whether it did not have it.
    fn note(&self, descriptor: WatchDescriptor, name: &str) -> bool {
        if self.directories.lock().get(&descriptor).is_some_and(|names| names.iter().any(|known| known == name)) {
            return false;
        }
        if self.may_be_a_link(name) {
            self.retain(|other| other != name);
        }
        self.directories.lock().entry(descriptor).or_default().push(name.to_owned());
        true
    }

    /// The way to an item's own directory may lead over links, which may lead elsewhere now.
    fn may_be_a_link(&self, directory: &str) -> bool {
        self.items.id_of_key(directory).is_some()
    }

    fn retain(&self, mut stays: impl FnMut(&str) -> bool) {
        let mut nameless = Vec::new();
        for (descriptor, names) in &mut *self.directories.lock() {
            names.retain(|name| stays(name));
            nameless.extend(names.is_empty().then_some(*descriptor));
        }
        nameless.into_iter().for_each(|descriptor| self.forget(descriptor));
    }

    fn forget(&self, descriptor: WatchDescriptor) {
        self.directories.lock().remove(&descriptor);
        // The kernel has done it already if the directory is gone.
        let _ = self.inotify.rm_watch(descriptor);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::logging::scope;

    struct Place {
        home: tempfile::TempDir,
        watch: Watch,
        woken: Receiver<()>,
    }

    impl Place {
        fn new(directories: &[&str]) -> Self {
            let home = tempfile::tempdir().unwrap();
            let (wake, woken) = bounded(1);
            let watch = Watch::begin(Arc::new(Items::standard()), wake, scope("a", "b")).unwrap();
            let mut place = Self { home, watch, woken };
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
            self.woken.recv_timeout(Duration::from_secs(30)).expect("a change is noticed");
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
        assert!(place.woken.is_empty());
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
        let known = place.watch.watched.directories.lock().len();
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
            assert!(place.woken.is_empty(), "nothing is new");
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
        assert_eq!(place.watch.watched.directories.lock().len(), 1);
    }

    #[test]
    fn changes_that_never_end_are_looked_at_all_the_same() {
        let place = Place::new(&["etc/rules/"]);
        let end = Instant::now() + Duration::from_secs(60);
        while place.woken.try_recv().is_err() {
            assert!(Instant::now() < end, "never");
            place.write("etc/rules/a.xml");
        }
    }
}
