//! `var/run/wazuh-clusterd-<pid>.pid`, by which other programs see that the daemon runs (`spec/protocol.md` 15.4).
//!
//! Whose sockets this daemon serves, of the stock manager's programs, has a file there too: before it executes anything,
//! the Wazuh server API looks there whether `wazuh-db` runs, and `wazuh-authd` before it adds an agent.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::notes::failed;
use crate::{config::Config, logging::warn, system::disk::Disk};

/// The mode of the files.
const MODE: u32 = 0o640;

/// The daemon itself.
const CLUSTER: &str = "wazuh-clusterd";

/// The files of this process; dropping them removes the files.
pub struct PidFiles(Vec<PathBuf>);

/// The programs that this process is, with this configuration.
pub fn programs(Config { home, settings, .. }: &Config) -> Vec<&'static str> {
    let choices = [(settings.agent_database, "wazuh-db"), (settings.registration, "wazuh-authd")];
    let embedded = choices.into_iter().filter(|(choice, program)| !choice.is_external(home, program));
    [CLUSTER].into_iter().chain(embedded.map(|(_, program)| program)).collect()
}

impl PidFiles {
    /// Removes the files of `programs` that no longer run, and writes those of this process. A full disk is no reason not
    /// to serve: the control script of the manager does not find this process then.
    ///
    /// # Errors
    /// A sentence, when the directory may not be written.
    pub fn write(directory: &Path, programs: &[&str]) -> Result<Self, String> {
        let mut written = Self(Vec::new());
        for program in programs {
            remove_stale(directory, program);
            let path = directory.join(format!("{program}-{}.pid", std::process::id()));
            match write(&path).map_err(io::Error::from) {
                Ok(()) => {}
                Err(error) => {
                    let text = failed("the pid file cannot be written to", &path, &error);
                    if error.kind() != ErrorKind::StorageFull {
                        return Err(text);
                    }
                    warn!("[Cluster] [Main]", "{text}. wazuh-control does not find this daemon; make room.");
                }
            }
            written.0.push(path);
        }
        Ok(written)
    }
}

impl Drop for PidFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // The next start removes what is left.
            let _ = Disk::new().remove_file_at(path);
        }
    }
}

/// Writes it anew; an earlier process with the same number may have left it.
fn write(path: &Path) -> Result<(), Errno> {
    let disk = Disk::new();
    let (directory, name) = disk.place(path)?;
    match disk.remove_file(&directory, name) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(directory, name)?;
    disk.set_mode(&file, MODE)?;
    disk.write(&file, format!("{}\n", std::process::id()).as_bytes())
}

/// Removes every file of `program` whose process is not that program. One that names a living process of somebody else is
/// the worst of them: the manager's control script would take that process for the daemon, and kill it.
fn remove_stale(directory: &Path, program: &str) {
    let Ok(entries) = directory.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| pid_of(program, name)) else { continue };
        if !is_running(pid, program) {
            let _ = Disk::new().remove_file_at(&entry.path());
        }
    }
}

/// Whether this process runs, and its command line is that of `program`: of ours, or of the stock one, which may be a
/// script of an interpreter.
fn is_running(pid: u32, program: &str) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let script = format!("{}.py", program.replace('-', "_"));
    words.split(|byte| *byte == 0).take(2).any(|word| {
        let name = word.rsplit(|byte| *byte == b'/').next();
        name == Some(program.as_bytes()) || name == Some(script.as_bytes())
    })
}

/// The process that a file name of `program`, or of a helper of the stock daemon, names.
fn pid_of(program: &str, name: &str) -> Option<u32> {
    let middle = name.strip_prefix(program)?.strip_suffix(".pid")?;
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
        while !is_running(original.id(), CLUSTER) {
            assert!(original.try_wait().unwrap().is_none(), "it has ended");
            std::thread::yield_now();
        }
        let names = [
            ("wazuh-clusterd-4194999.pid".to_owned(), false),
            ("wazuh-clusterd_child_1-4194999.pid".to_owned(), false),
            (format!("wazuh-clusterd-{}.pid", std::os::unix::process::parent_id()), false),
            (format!("wazuh-clusterd_child_1-{}.pid", original.id()), true),
            ("wazuh-remoted-4194999.pid".to_owned(), true),
            ("wazuh-db-4194999.pid".to_owned(), false),
            ("wazuh-authd-4194999.pid".to_owned(), true),
        ];
        for (name, _) in &names {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let files = PidFiles::write(directory.path(), &[CLUSTER, "wazuh-db"]).unwrap();
        for (name, stays) in &names {
            assert_eq!(directory.path().join(name).exists(), *stays, "{name}");
        }
        let own = [CLUSTER, "wazuh-db"].map(|program| directory.path().join(format!("{program}-{own}.pid")));
        for file in &own {
            assert_eq!(std::fs::read_to_string(file).unwrap(), format!("{}\n", std::process::id()));
        }
        drop(files);
        assert!(!own.iter().any(|file| file.exists()));
        // Its input ends with this.
        drop(original.stdin.take());
        original.wait().unwrap();
    }
}
