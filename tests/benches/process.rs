//! What the kernel says about a process.

use std::{fs, io, time::Duration};

use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Memory in MiB, and threads.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Pages that are resident, with those of the program's file.
    pub resident: f64,
    /// The same, shared pages counted in part.
    pub proportional: f64,
    /// Resident pages that belong to no file: what the process has allocated.
    pub anonymous: f64,
    /// The most that ever was resident.
    pub peak: f64,
    /// Threads.
    pub threads: f64,
}

/// The memory of a process now.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // Of a process that cannot be dumped only root may read this.
    let shares = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    let mib = |text: &str, name: &str| field(text, name) / 1024.0;
    Ok(Memory {
        resident: mib(&status, "VmRSS"),
        proportional: mib(&shares, "Pss"),
        anonymous: mib(&status, "RssAnon"),
        peak: mib(&status, "VmHWM"),
        threads: field(&status, "Threads"),
    })
}

/// Processor seconds that all threads of a process have used so far, also those that have ended.
pub fn processor_seconds(pid: u32) -> io::Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
    Ok(Duration::from(clock_gettime(clock)?).as_secs_f64())
}
