//! The directories that are watched, by the names that lead to them.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};
use parking_lot::Mutex;

use crate::files::Items;

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

/// What is watched.
pub(super) struct Watched {
    inotify: Inotify,
    items: Arc<Items>,
    /// Relative to the home, with a final slash. A directory may have several names here, by links and mounts; the kernel
    /// gives it one descriptor.
    directories: Mutex<HashMap<WatchDescriptor, Vec<String>>>,
}

impl Watched {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the system has no room for another watch.
    pub(super) fn new(items: Arc<Items>) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, items, directories: Mutex::default() })
    }

    /// Watches a directory below `home`; whether it was not watched under this name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(super) fn add(&self, home: &Path, directory: &str) -> Result<bool, Errno> {
        Ok(self.note(self.inotify.add_watch(&home.join(directory), EVENTS)?, directory))
    }

    /// How many names lead to what is watched.
    pub(super) fn names(&self) -> usize {
        self.directories.lock().values().map(Vec::len).sum()
    }

    /// How many directories are watched.
    #[cfg(test)]
    pub(super) fn directories(&self) -> usize {
        self.directories.lock().len()
    }

    /// Takes what has happened; whether it may concern the items.
    pub(super) fn read(&self) -> io::Result<bool> {
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
    pub(super) fn keep<'a>(&self, wanted: &HashSet<&'a str>) -> HashSet<&'a str> {
        let mut known = HashSet::new();
        self.retain(|name| wanted.get(name).is_some_and(|name| known.insert(*name)));
        known
    }

    /// Gives this name to a directory, and takes it from any other; whether the directory did not have it.
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
    pub(super) fn may_be_a_link(&self, directory: &str) -> bool {
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

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
