//! What a daemon takes of the system, before and after somebody is hostile to it.

use std::fs;

use clusterd::limits::HELD_BY_ONE;

use super::{Daemon, until};

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

    /// Bytes that were more in memory since then, at the most.
    pub fn grown(&self, daemon: &Daemon) -> usize {
        most_memory(daemon).saturating_sub(self.memory)
    }

    /// Waits until it has no descriptor and no thread more than at rest. Meanwhile one peer must not have taken more memory
    /// than it may, and as much again for the work on it.
    #[track_caller]
    pub fn is_had_again(&self, daemon: &Daemon) {
        for (what, before) in [("fd", self.descriptors), ("task", self.threads)] {
            until(&format!("{before} of /proc/PID/{what}"), || (entries(daemon, what) <= before).then_some(()));
        }
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

fn entries(daemon: &Daemon, what: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).unwrap().count()
}
