//! `var/run/wazuh-clusterd-<pid>.pid`, by which other programs see that the daemon runs (`spec/protocol.md` 15.4).

use std::{
    fs::{OpenOptions, remove_file},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::notes::failed;
use crate::logging::warn;

/// The file of this process; dropping it removes the file.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Removes the files of daemons that no longer run, and writes that of this process. A full disk is no reason not to
    /// serve: the control script of the manager does not find this process then.
    ///
    /// # Errors
    /// A sentence, when the directory may not be written.
    pub fn write(directory: &Path) -> Result<Self, String> {
        remove_stale(directory);
        let pid = std::process::id();
        let path = directory.join(format!("wazuh-clusterd-{pid}.pid"));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{pid}"))
            .or_else(|error| {
                let text = failed("the pid file cannot be written to", &path, &error);
                let is_full = error.kind() == ErrorKind::StorageFull;
                if is_full {
                    warn!("[Cluster] [Main]", "{text}. wazuh-control does not find this daemon; make room.");
                }
                if is_full { Ok(()) } else { Err(text) }
            })?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The next start removes what is left.
        let _ = remove_file(&self.0);
    }
}

/// Removes every file that names no cluster daemon. One that names a living process of somebody else is the worst of
/// them: the manager's control script would take that process for the daemon, and kill it.
fn remove_stale(directory: &Path) {
    let Ok(entries) = directory.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(pid_of) else { continue };
        if !is_cluster_daemon(pid) {
            let _ = remove_file(entry.path());
        }
    }
}

/// Whether this process runs, and its command line is that of a cluster daemon: of ours, or of the stock daemon, which
/// is a script of an interpreter.
fn is_cluster_daemon(pid: u32) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).take(2).any(|word| {
        let name = word.rsplit(|byte| *byte == b'/').next();
        matches!(name, Some(b"wazuh-clusterd" | b"wazuh_clusterd.py"))
    })
}

/// The process that a file name of the daemon, or of a helper of the stock daemon, names.
fn pid_of(name: &str) -> Option<u32> {
    let middle = name.strip_prefix("wazuh-clusterd")?.strip_suffix(".pid")?;
    middle.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_other_daemons_stay() {
        let directory = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // The words of its command line are those of the stock daemon: an interpreter and its script.
        let script = directory.path().join("wazuh_clusterd.py");
        std::fs::write(&script, "read -r line\n").unwrap();
        let mut original =
            std::process::Command::new("/bin/sh").arg(&script).stdin(std::process::Stdio::piped()).spawn().unwrap();
        // For an instant after its start it has no command line.
        while !is_cluster_daemon(original.id()) {
            assert!(original.try_wait().unwrap().is_none(), "it has ended");
            std::thread::yield_now();
        }
        let names = [
            ("wazuh-clusterd-4194999.pid".to_owned(), false),
            ("wazuh-clusterd_child_1-4194999.pid".to_owned(), false),
            (format!("wazuh-clusterd-{}.pid", std::os::unix::process::parent_id()), false),
            (format!("wazuh-clusterd_child_1-{}.pid", original.id()), true),
            ("wazuh-remoted-4194999.pid".to_owned(), true),
        ];
        for (name, _) in &names {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let file = PidFile::write(directory.path()).unwrap();
        for (name, stays) in &names {
            assert_eq!(directory.path().join(name).exists(), *stays, "{name}");
        }
        assert_eq!(std::fs::read_to_string(&file.0).unwrap(), format!("{own}\n"));
        drop(file);
        assert!(!directory.path().join(format!("wazuh-clusterd-{own}.pid")).exists());
        // Its input ends with this.
        drop(original.stdin.take());
        original.wait().unwrap();
    }
}
