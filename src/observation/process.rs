//! What the system knows of this process, under the names that every exporter uses.

use std::fs;

use crate::metrics::text::{Kind, Text};

/// Appends it; what the system does not tell is left out.
pub(super) fn append(text: &mut Text) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    if let Some(kibibytes) = number("VmRSS:") {
        let help = "Memory of the daemon, in bytes.";
        text.single("process_resident_memory_bytes", Kind::Gauge, help, kibibytes * 1024);
    }
    if let Some(threads) = number("Threads:") {
        text.single("process_threads", Kind::Gauge, "Threads of the daemon.", threads);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        text.single(
            "process_open_fds",
            Kind::Gauge,
            "Files and connections that the daemon has open.",
            entries.count(),
        );
    }
}
