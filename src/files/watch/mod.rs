//! Which files may have changed since they were looked at, as the kernel tells it (`inotify(7)`).
//!
//! The kernel tells of a change before the call that makes it returns. So whoever takes what was told knows of all that was
//! done before, unless
//!
//! | what | then |
//! |---|---|
//! | more happened than the kernel keeps, or a directory came, went or was moved | all files are suspects |
//! | something was mounted or unmounted | all files are suspects (`mounts`) |
//! | a directory is not watched (`fs.inotify.max_user_watches`), or others may change its file system | all files are, each time |
//! | a file may be changed by another name: a link leads to it, or it is a mount of its own | the scan suspects it each time |
//! | a file is mapped into memory and written there | it is told when the file is closed |
//!
//! Whoever looks at suspects only looks at all files now and then all the same.

mod directories;
mod mounts;
mod suspects;
#[cfg(test)]
mod tests;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent},
};
use parking_lot::Mutex;

use self::{directories::Directories, mounts::Mounts};
use super::items::Items;

pub use suspects::Suspects;

const EVENTS: AddWatchFlags = FINISHED.union(UNFINISHED).union(ITSELF).union(AddWatchFlags::IN_ONLYDIR);

/// A file is as it is to be, or gone.
const FINISHED: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_DELETE);

/// A file is being written: a half of it need not travel.
const UNFINISHED: AddWatchFlags =
    AddWatchFlags::IN_CREATE.union(AddWatchFlags::IN_MODIFY).union(AddWatchFlags::IN_ATTRIB);

/// The directory is not where it was.
const ITSELF: AddWatchFlags = AddWatchFlags::IN_MOVE_SELF.union(AddWatchFlags::IN_DELETE_SELF);

/// Which suspects are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that nobody is writing.
    Finished,
    /// All of them.
    Every,
}

/// Watches the directories that a scanner enters.
pub struct Watch {
    inotify: Inotify,
    items: Arc<Items>,
    mounts: Mounts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    directories: Directories,
    finished: Suspects,
    unfinished: Suspects,
    /// Whether there is a directory of which not every change is told.
    blind: bool,
    /// Why a directory is not watched.
    refused: Option<Errno>,
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// When the system has no room for another watch (`fs.inotify.max_user_instances`).
    pub fn new(items: Arc<Items>) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, items, mounts: Mounts::new(), state: Mutex::default() })
    }

    /// Takes note of what has happened; whether a file that nobody is writing is a suspect.
    ///
    /// # Errors
    /// When the kernel does not tell. All files are suspects then.
    pub fn read(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        self.drain(&mut state)?;
        Ok(!state.finished.are_none())
    }

    /// Takes the suspects since they were last taken. Those who are being written stay if they are not wanted.
    pub fn take(&self, which: Which) -> Suspects {
        let mut state = self.state.lock();
        if self.drain(&mut state).is_err() || self.mounts.have_changed() || state.blind {
            state.finished = Suspects::all();
        }
        let mut suspects = std::mem::take(&mut state.finished);
        if which == Which::Every || suspects.are_all() {
            suspects.append(&std::mem::take(&mut state.unfinished));
        }
        suspects
    }

    /// All directories will be entered now; what was told before is forgotten.
    pub(super) fn begin(&self) {
        self.take(Which::Every);
        let mut state = self.state.lock();
        (state.blind, state.refused) = (false, None);
    }

    /// Watches this directory below `home`, relative to it and with a final slash, from now on. It has been opened, and is
    /// read afterwards.
    pub(super) fn enter(&self, home: &Path, directory: &str, opened: BorrowedFd<'_>) {
        let tells_all = mounts::tells_all(opened);
        let added = self.inotify.add_watch(&home.join(directory), EVENTS);
        let mut state = self.state.lock();
        state.blind |= !tells_all;
        match added {
            Ok(descriptor) => state.directories.note(&self.inotify, descriptor, directory),
            // It has just gone, or may not be watched.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => state.blind = true,
            Err(error) => (state.blind, state.refused) = (true, Some(error)),
        }
    }

    /// These are the directories that have been entered; no others are watched.
    pub(super) fn end(&self, directories: &[String]) {
        self.state.lock().directories.keep(&self.inotify, directories);
    }

    /// How many of the directories are watched, and why not all; nothing if they are.
    pub fn refused(&self) -> Option<(usize, io::Error)> {
        let state = self.state.lock();
        state.refused.map(|error| (state.directories.count(), error.into()))
    }

    fn drain(&self, state: &mut State) -> io::Result<()> {
        loop {
            match self.inotify.read_events() {
                Ok(events) => events.iter().for_each(|event| self.note(state, event)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    state.finished = Suspects::all();
                    return Err(error.into());
                }
            }
        }
    }

    fn note(&self, state: &mut State, event: &InotifyEvent) {
        let is = |mask| event.mask.intersects(mask);
        if is(AddWatchFlags::IN_IGNORED) {
            return state.directories.forget(&self.inotify, event.wd);
        }
        if is(ITSELF) {
            // Another one may take its name.
            state.directories.forget(&self.inotify, event.wd);
        }
        let State { directories, finished, unfinished, .. } = state;
        let name = event.name.as_ref().and_then(|name| name.to_str());
        let (Some(directories), Some(name)) = (directories.names(event.wd), name) else {
            // One that is not known any more, or what happened to it; or so much has happened that the kernel lost count.
            return *finished = Suspects::all();
        };
        if is(AddWatchFlags::IN_ISDIR) {
            return *finished = Suspects::all();
        }
        for path in directories.iter().map(|directory| format!("{directory}{name}")) {
            if self.items.owner(&path).is_none() {
                continue;
            }
            if is(FINISHED) {
                unfinished.remove(&path);
                finished.add(&path);
            } else {
                unfinished.add(&path);
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
