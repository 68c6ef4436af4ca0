//! Watches the master's files (`inotify(7)`), so that a change is noticed before the end of the period.
//!
//! The watch only wakes the local integrity thread, which finds out what has changed. A change that the kernel does not
//! report, such as one that another machine makes on a network file system, is found at the end of the period.

mod watched;

use std::{
    collections::HashSet,
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    files::Items,
    logging::{Scope, error, warn},
    system::{thread::spawn, wakeup::Wakeup},
};
use watched::Watched;

/// How long nothing must happen before the files are scanned: the copying of a ruleset is to be finished.
const QUIET: Duration = Duration::from_millis(50);

/// After which time they are scanned all the same.
const LONGEST: Duration = Duration::from_secs(1);

/// The thread `file_watch` and what it watches; dropping this ends it.
pub(super) struct Watch {
    watched: Arc<Watched>,
    wakeup: Wakeup,
    scope: Scope,
    /// Whether the log has that not all can be watched.
    warned: bool,
    /// The thread ends with this.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread, which watches nothing yet. It gives the `wakeup` after changes.
    ///
    /// # Errors
    /// When the system has no room for another watch or thread.
    pub(super) fn begin(items: Arc<Items>, wakeup: Wakeup, scope: Scope) -> io::Result<Self> {
        let watched = Arc::new(Watched::new(items)?);
        let (stop, stopped) = UnixStream::pair()?;
        let (its_watched, its_wakeup, its_scope) = (watched.clone(), wakeup.clone(), scope.clone());
        let thread = spawn("file_watch", move || {
            if let Err(error) = run(&its_watched, &stopped, &its_wakeup) {
                error!(its_scope, "The files are not watched any more, only looked at in each period: {error}");
            }
        })?;
        Ok(Self { watched, wakeup, scope, warned: false, stop: Some(stop), thread: Some(thread) })
    }

    /// Watches these directories below `home`, relative to it and with a final slash, and no others.
    pub(super) fn follow(&mut self, home: &Path, directories: &[String]) {
        let wanted: HashSet<&str> = directories.iter().map(String::as_str).collect();
        let known = self.watched.keep(&wanted);
        let is_first = known.is_empty();
        let (mut added, mut failed) = (false, None);
        let is_new = |directory: &&String| !known.contains(directory.as_str()) || self.watched.may_be_a_link(directory);
        for directory in directories.iter().filter(is_new) {
            match self.watched.add(home, directory) {
                Ok(is_new) => added |= is_new,
                // It has just gone, or may not be read; the scan reports the latter.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if added && !is_first {
            // Files may have been put there between the scan and this.
            self.wakeup.wake();
        }
        let warned = std::mem::replace(&mut self.warned, failed.is_some());
        if let Some(error) = failed.filter(|_| !warned) {
            warn!(
                self.scope,
                "Only {} of {} directories can be watched: {error}. Changes in the others are noticed at the end of each \
                 period; raise fs.inotify.max_user_watches (sysctl).",
                self.watched.names(),
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

/// The thread: orders a run when nothing has happened for a while after a change.
fn run(watched: &Watched, stopped: &UnixStream, wakeup: &Wakeup) -> io::Result<()> {
    while let Some(true) = wait(watched, stopped, None)? {
        let mut changed = watched.read()?;
        let end = Instant::now() + LONGEST;
        while changed {
            let left = end.saturating_duration_since(Instant::now());
            match wait(watched, stopped, Some(QUIET.min(left)))? {
                Some(true) if !left.is_zero() => _ = watched.read()?,
                Some(_) => {
                    wakeup.wake();
                    changed = false;
                }
                None => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Whether something happens within `limit`, if there is any; `None` when it is over.
fn wait(watched: &Watched, stopped: &UnixStream, limit: Option<Duration>) -> io::Result<Option<bool>> {
    let mut ends = [watched.as_fd(), stopped.as_fd()].map(|end| PollFd::new(end, PollFlags::POLLIN));
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

#[cfg(test)]
mod tests;
