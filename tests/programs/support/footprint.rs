//! What a daemon takes of the system, before and after somebody is hostile to it.

use std::fs;

use clusterd::limits::HELD_BY_ONE;

use super::{Daemon, Home, Program, until};

/// Descriptors, threads and memory of a daemon that is at rest.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    descriptors: usize,
    threads: usize,
    /// Bytes in memory.
    memory: usize,
}

impl Footprint {
    /// What it takes now; the most memory is counted from here.
    pub fn of(daemon: &Daemon) -> Self {
        fs::write(format!("/proc/{}/clear_refs", daemon.pid()), "5").unwrap();
        let [descriptors, threads] = ["fd", "task"].map(|what| entries(daemon, what));
        Self { descriptors, threads, memory: status(daemon, "VmRSS:") }
    }

    /// The same of a node that has begun all that it does at rest: it watches its files and what is mounted, and both threads of its agent
    /// database have been asked, and have opened it.
    pub fn at_rest(daemon: &Daemon, home: &Home) -> Self {
        until("the descriptors of a node at rest", || {
            for request in ["global get-distinct-groups", "global sql SELECT 1"] {
                assert!(Program::database(home).ask(request).starts_with("ok"));
            }
            let counts = ["/global.db", "/global.db-wal", "/global.db-shm", "inotify", "/mountinfo"]
                .map(|name| open(daemon, name));
            (counts == [2, 2, 1, 1, 1]).then_some(())
        });
        Self::of(daemon)
    }

    /// Bytes that were more in memory since then, at the most.
    pub fn grown(&self, daemon: &Daemon) -> usize {
        most_memory(daemon).saturating_sub(self.memory)
    }

    /// Waits until it has no descriptor and no thread more than at rest.
    #[track_caller]
    pub fn is_free_again(&self, daemon: &Daemon) {
        for (what, before) in [("fd", self.descriptors), ("task", self.threads)] {
            until(&format!("{before} of /proc/PID/{what}"), || (entries(daemon, what) <= before).then_some(()));
        }
    }

    /// [`Footprint::is_free_again`] after one peer, which must not have taken more memory than it may, and as much again for
    /// the work on it.
    #[track_caller]
    pub fn is_had_again(&self, daemon: &Daemon) {
        self.is_free_again(daemon);
        let grown = self.grown(daemon);
        println!("{self:?}, and {} KiB more at the most", grown >> 10);
        assert!(grown < 2 * HELD_BY_ONE, "{} MiB more", grown >> 20);
    }
}

/// Bytes that the process has had in memory at the most.
pub fn most_memory(daemon: &Daemon) -> usize {
    status(daemon, "VmHWM:")
}

fn status(daemon: &Daemon, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Descriptors of what has a name with this end.
fn open(daemon: &Daemon, name: &str) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().flatten();
    let names = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    names.filter(|path| path.to_string_lossy().ends_with(name)).count()
}

fn entries(daemon: &Daemon, what: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).unwrap().count()
}
