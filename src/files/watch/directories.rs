//! The directories that are watched, by the names that lead to them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use nix::sys::inotify::{Inotify, WatchDescriptor};

/// What is watched. A directory may have several names, by links and mounts; the kernel gives it one descriptor.
///
/// Names are relative to the home, with a final slash.
#[derive(Default)]
pub(super) struct Directories {
    names: HashMap<WatchDescriptor, Vec<Arc<str>>>,
    descriptors: HashMap<Arc<str>, WatchDescriptor>,
}

impl Directories {
    /// The names of a directory; none if it is not watched.
    pub(super) fn names(&self, descriptor: WatchDescriptor) -> Option<&[Arc<str>]> {
        self.names.get(&descriptor).map(Vec::as_slice)
    }

    /// How many names lead to what is watched.
    pub(super) fn count(&self) -> usize {
        self.descriptors.len()
    }

    /// How many directories are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.names.len()
    }

    /// Gives this name to a directory, and takes it from any other.
    pub(super) fn note(&mut self, inotify: &Inotify, descriptor: WatchDescriptor, name: &str) {
        if self.descriptors.get(name) == Some(&descriptor) {
            return;
        }
        self.take(inotify, name);
        let name: Arc<str> = name.into();
        self.names.entry(descriptor).or_default().push(name.clone());
        self.descriptors.insert(name, descriptor);
    }

    /// Forgets the names that are not wanted.
    pub(super) fn keep(&mut self, inotify: &Inotify, wanted: &[String]) {
        let wanted: HashSet<&str> = wanted.iter().map(String::as_str).collect();
        let unwanted: Vec<Arc<str>> =
            self.descriptors.keys().filter(|name| !wanted.contains(&***name)).cloned().collect();
        unwanted.iter().for_each(|name| self.take(inotify, name));
    }

    /// The directory is not where it was, or the kernel does not watch it any more.
    pub(super) fn forget(&mut self, inotify: &Inotify, descriptor: WatchDescriptor) {
        for name in self.names.remove(&descriptor).unwrap_or_default() {
            self.descriptors.remove(&name);
        }
        // The kernel has done it already if the directory is gone.
        let _ = inotify.rm_watch(descriptor);
    }

    fn take(&mut self, inotify: &Inotify, name: &str) {
        let Some(descriptor) = self.descriptors.remove(name) else { return };
        let Some(names) = self.names.get_mut(&descriptor) else { return };
        names.retain(|other| **other != *name);
        if names.is_empty() {
            self.forget(inotify, descriptor);
        }
    }
}
