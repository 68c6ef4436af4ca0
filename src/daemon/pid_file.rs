//! `var/run/wazuh-clusterd-<pid>.pid`, by which other programs see that the daemon runs (`spec/protocol.md` 15.4).

use std::{
    fs::{OpenOptions, remove_file},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::failed;

/// The file of this process; dropping it removes the file.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Removes the files of daemons that no longer run, and writes that of this process.
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
            .map_err(|error| failed("the pid file cannot be written to", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The next start removes what is left.
        let _ = remove_file(&self.0);
    }
}

fn remove_stale(directory: &Path) {
    let Ok(entries) = directory.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(pid_of) else { continue };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            let _ = remove_file(entry.path());
        }
    }
}

/// The process that a file name of the daemon, or of a helper of the original, names.
fn pid_of(name: &str) -> Option<u32> {
    let middle = name.strip_prefix("wazuh-clusterd")?.strip_suffix(".pid")?;
    middle.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_dead_daemons_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let names = [
            "wazuh-clusterd-4194999.pid".to_owned(),
            "wazuh-clusterd_child_1-4194999.pid".to_owned(),
            format!("wazuh-clusterd_child_1-{own}.pid"),
            "wazuh-remoted-4194999.pid".to_owned(),
        ];
        for name in &names {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let file = PidFile::write(directory.path()).unwrap();
        let exists = |name: &str| directory.path().join(name).exists();
        assert_eq!(names.iter().map(|name| exists(name)).collect::<Vec<_>>(), [false, false, true, true]);
        assert_eq!(std::fs::read_to_string(&file.0).unwrap(), format!("{own}\n"));
        drop(file);
        assert!(!exists(&format!("wazuh-clusterd-{own}.pid")));
    }
}
