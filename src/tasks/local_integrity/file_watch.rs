//! The thread `file_watch`: wakes the local integrity thread when a file of the master has been changed, so that it is
//! noticed before the end of the period.
//!
//! What has changed is taken by the scan. A change that the kernel does not report, such as one that another machine makes
//! on a network file system, is found at the end of the period.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    files::Watch,
    logging::{Scope, error},
    system::{thread::spawn, wakeup::Wakeup},
};

/// From one look at what has happened to the next: whoever writes all the time wakes nobody all the time.
const REST: Duration = Duration::from_millis(5);

/// The thread; dropping this ends it.
pub(super) struct FileWatch {
    /// The thread ends with this.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    /// Starts the thread. It gives the `wakeup` after changes.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub(super) fn begin(watch: Arc<Watch>, wakeup: Wakeup, scope: Scope) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let thread = spawn("file_watch", move || {
            if let Err(error) = run(&watch, &stopped, &wakeup) {
                error!(scope, "The files are not watched any more, only looked at in each period: {error}");
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has ended the process.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(watch: &Watch, stopped: &UnixStream, wakeup: &Wakeup) -> io::Result<()> {
    let stopped = || PollFd::new(stopped.as_fd(), PollFlags::POLLIN);
    while !wait(&mut [stopped(), PollFd::new(watch.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)? {
        if watch.read()? {
            wakeup.wake();
        }
        if wait(&mut [stopped()], PollTimeout::try_from(REST).unwrap_or(PollTimeout::ZERO))? {
            break;
        }
    }
    Ok(())
}

/// Waits until something happens at one of the ends, or for so long; whether it did at the first.
fn wait(ends: &mut [PollFd<'_>], limit: PollTimeout) -> io::Result<bool> {
    loop {
        match poll(ends, limit) {
            Ok(_) => return Ok(ends[0].any() == Some(true)),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        files::{Items, Scanner},
        logging::scope,
        system::clock::Clock,
    };

    struct Place {
        home: tempfile::TempDir,
        scanner: Scanner,
        wakeup: Wakeup,
        _thread: FileWatch,
    }

    impl Place {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir_all(home.path().join("etc/rules")).unwrap();
            let (items, wakeup) = (Arc::new(Items::standard()), Wakeup::default());
            let watch = Arc::new(Watch::new(items.clone()).unwrap());
            let scanner = Scanner::new(home.path(), items).with_watch(watch.clone(), Clock::real());
            let thread = FileWatch::begin(watch, wakeup.clone(), scope("a", "b")).unwrap();
            let mut place = Self { home, scanner, wakeup, _thread: thread };
            place.scanner.scan(false);
            place
        }

        fn path(&self, path: &str) -> std::path::PathBuf {
            self.home.path().join(path)
        }

        #[track_caller]
        fn is_woken(&mut self) {
            self.wakeup.channel().recv_timeout(Duration::from_secs(30)).expect("a change is noticed");
            self.scanner.look(crate::files::Which::Finished, false);
            // It may have been given once more before that look.
            let _ = self.wakeup.channel().try_recv();
        }
    }

    fn write(path: &Path) {
        fs::write(path, "x").unwrap();
    }

    #[test]
    fn a_change_wakes_and_what_is_no_file_of_the_cluster_does_not() {
        let mut place = Place::new();
        // The last one shows that the others were seen and did nothing.
        for path in ["etc/ossec.conf", "etc/rules/a.swp", "etc/client.keys.tmp", "etc/rules/a.xml"] {
            write(&place.path(path));
        }
        place.is_woken();
        assert!(place.wakeup.channel().is_empty());
        fs::rename(place.path("etc/rules/a.xml"), place.path("etc/rules/b.xml")).unwrap();
        place.is_woken();
        fs::remove_file(place.path("etc/rules/b.xml")).unwrap();
        place.is_woken();
        write(&place.path("etc/client.keys"));
        place.is_woken();
        fs::create_dir(place.path("etc/rules/more")).unwrap();
        place.is_woken();
    }

    #[test]
    fn a_file_that_is_still_written_wakes_when_it_is_closed_and_is_not_looked_at_before() {
        let mut place = Place::new();
        let slow = "etc/rules/slow.xml";
        let file = fs::File::create(place.path(slow)).unwrap();
        write(&place.path("etc/rules/other.xml"));
        place.is_woken();
        assert!(place.scanner.manifest().find(slow).is_none());
        drop(file);
        place.is_woken();
        assert!(place.scanner.manifest().find(slow).is_some());
    }

    #[test]
    fn changes_that_never_end_are_looked_at_all_the_same() {
        let place = Place::new();
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while place.wakeup.channel().try_recv().is_err() {
            assert!(std::time::Instant::now() < end, "never");
            write(&place.path("etc/rules/a.xml"));
        }
    }
}
