//! The machine that the figures were measured on, as far as it matters to them.

use std::{fs, path::Path};

/// One line on processors, memory and load.
pub fn facts() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_once(':').map(|(_, value)| value.trim().to_owned()));
        value.unwrap_or_else(|| "?".to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: f64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    let load = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    format!(
        "{cores} cores ({}), {:.0} GiB of memory, Linux {}, load {load}",
        field(&read("/proc/cpuinfo"), "model name"),
        kib / 1024.0 / 1024.0,
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// The type of the file system that holds `path`, `ext4`.
pub fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = ("", "?");
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(at), Some(kind)) = (fields.next(), fields.next()) {
            // Of two mounts at one place the later one is what is seen.
            if path.starts_with(at) && at.len() >= found.0.len() {
                found = (at, kind);
            }
        }
    }
    found.1.to_owned()
}
